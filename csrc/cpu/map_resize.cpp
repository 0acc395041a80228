// Operators add_resized, region_means and logits_to_mask on the CPU.

#include <cmath>
#include <tuple>

#include "map_driver.h"

namespace mambaseg {
namespace {

// Neighbors of each position of a resized length, as torch computes them for corners that are not aligned.
struct Neighbors {
  Neighbors(int64_t from, int64_t to, int64_t padded) : low(padded), high(padded), share(padded) {
    const float scale = static_cast<float>(from) / static_cast<float>(to);
    for (int64_t i = 0; i < padded; ++i) {
      const float at = std::max(0.0f, scale * (static_cast<float>(std::min(i, to - 1)) + 0.5f) - 0.5f);
      const int64_t below = std::min(static_cast<int64_t>(std::floor(at)), from - 1);
      low[i] = static_cast<int32_t>(below);
      high[i] = static_cast<int32_t>(std::min(below + 1, from - 1));
      share[i] = std::min(std::max(at - static_cast<float>(below), 0.0f), 1.0f);
    }
  }
  Between view() const { return {low.data(), high.data(), share.data()}; }

  std::vector<int32_t> low, high;
  std::vector<float> share;
};

Tensor add_resized(Tensor x, std::optional<Tensor> scale, Tensor small, int64_t activation) {
  constexpr const char* op = "add_resized";
  check_map(op, "x", x);
  check_map(op, "small", small);
  const int64_t batch = x.size(0), height = x.size(1), width = x.size(2), channels = x.size(3);
  if (scale.has_value()) check_tensor(op, "scale", *scale, x, {batch, 1, 1, channels});
  const int64_t from_height = small.size(1), from_width = small.size(2);
  check_tensor(op, "small", small, x, {batch, from_height, from_width, channels});
  check_activation(op, activation);
  const Tensor dx = dense(x), dsmall = dense(small);
  const std::optional<Tensor> dscale = dense(scale);
  Tensor y = fresh(x, sizes_of(x));
  const Neighbors rows(from_height, height, height), columns(from_width, width, width);
  ResizeArgs args{height, width, channels, from_height, from_width, rows.view(), columns.view()};
  args.small = input<float>(dsmall);
  args.same = from_height == height && from_width == width;
  args.x = input<float>(dx);
  args.scale = input<float>(dscale);
  args.y = output<float>(y);
  args.activation = static_cast<int>(activation);
  run_items(batch * height, width * channels, from_width * channels, map_kernels().add_resized, args);
  return y;
}

Tensor region_means(Tensor x, std::optional<Tensor> scale, int64_t rows, int64_t columns) {
  constexpr const char* op = "region_means";
  check_map(op, "x", x);
  const int64_t batch = x.size(0), height = x.size(1), width = x.size(2), channels = x.size(3);
  if (scale.has_value()) check_tensor(op, "scale", *scale, x, {batch, 1, 1, channels});
  MAMBASEG_CHECK(rows > 0 && columns > 0, op, ": the grid is [", rows, ", ", columns, "], expected 1 or more");
  const Tensor dx = dense(x);
  const std::optional<Tensor> dscale = dense(scale);
  Tensor y = fresh(x, {batch, rows, columns, channels});
  const RegionArgs args{height, width, channels, rows, columns, input<float>(dx), input<float>(dscale),
                        output<float>(y)};
  run_items(batch * rows, height * width * channels / rows, 0, map_kernels().region, args);
  return y;
}

std::tuple<Tensor, Tensor, Tensor> logits_to_mask(Tensor logits, int64_t height, int64_t width) {
  constexpr const char* op = "logits_to_mask";
  check_map(op, "logits", logits);
  MAMBASEG_CHECK(logits.size(3) <= kMaxClasses, op, ": logits has ", logits.size(3), " classes, expected ",
                 kMaxClasses, " at most: ids are uint8");
  MAMBASEG_CHECK(height > 0 && width > 0, op, ": the size is [", height, ", ", width, "], expected 1 or more");
  const int64_t batch = logits.size(0), from_height = logits.size(1), from_width = logits.size(2);
  const MapKernels& k = map_kernels();
  const Tensor dlogits = dense(logits);
  Tensor ids = fresh(logits, {batch, height, width}, ScalarType::Byte);
  Tensor confidence = fresh(logits, {batch, height, width});
  Tensor rows_finite = fresh(logits, {batch, height}), finite = fresh(logits, {1});
  const Neighbors rows(from_height, height, height), columns(from_width, width, ceil_div(width, k.lanes) * k.lanes);
  ResizeArgs args{height, width, logits.size(3), from_height, from_width, rows.view(), columns.view()};
  args.small = input<float>(dlogits);
  args.ids = output<uint8_t>(ids);
  args.confidence = output<float>(confidence);
  args.finite = output<float>(rows_finite);
  const int64_t scratch = from_width * ceil_div(args.channels, k.lanes) * k.lanes;
  run_items(batch * height, width * args.channels, scratch, k.mask, args);
  const float* each = input<float>(rows_finite);
  *output<float>(finite) = std::all_of(each, each + batch * height, [](float row) { return row == 1.0f; });
  return {ids, confidence, finite};
}

}  // namespace
}  // namespace mambaseg

MAMBASEG_LIBRARY_IMPL(mambaseg, CPU, m) {
  m.impl("add_resized", MAMBASEG_FUNCTION(&mambaseg::add_resized));
  m.impl("region_means", MAMBASEG_FUNCTION(&mambaseg::region_means));
  m.impl("logits_to_mask", MAMBASEG_FUNCTION(&mambaseg::logits_to_mask));
}
