// Operators fused_linear, fused_mlp and fused_conv3x3 on the CPU.

#include <cstring>

#include "driver.h"

namespace mambaseg {
namespace {

using Sizes = std::vector<int64_t>;

constexpr int64_t kRowsAnItem = 48;           // with their norm and hidden layer they stay in the L2 cache
constexpr int64_t kHalfRowsAnItem = 96, kMostRowsAnItem = 192;  // of products with bfloat16 factors
constexpr int64_t kTinyWeight = 8 * 1024;     // numbers: such a product is soon done, and its item has the most rows
constexpr int64_t kWindowRows = 320, kWindows = 48 * 1024;  // their convolutions copy each window: rows, numbers
constexpr int64_t kLeastRows = 12;            // a block of AVX-512
constexpr int64_t kSmallWeight = 64 * 1024;   // numbers: reading these again for an item costs little
constexpr int64_t kProductsAThread = 1'000'000;  // multiply-adds, 10 to 20 us: less is not worth waking a thread

int64_t count_of(const Sizes& sizes) {
  int64_t count = 1;
  for (int64_t size : sizes) count *= size;
  return count;
}

// Items of equal size, for any number of threads, but so that two or four of them share the work evenly.
template <class S, class W>
int64_t items_of(int64_t rows, int64_t weight) {
  const int64_t half = weight > kTinyWeight ? kHalfRowsAnItem : kMostRowsAnItem;
  const int64_t items = ceil_div(rows, sizeof(W) < sizeof(S) ? half : kRowsAnItem), even = weight > kSmallWeight ? 2 : 4;
  return std::min(ceil_div(items, even) * even, std::max<int64_t>(items, rows / kLeastRows));
}

// Rows of a convolution's item, of which it takes whole lines.
template <class S, class W>
int64_t conv_rows(int64_t depth) {
  if constexpr (sizeof(W) == sizeof(S)) return kRowsAnItem;
  return std::max(kHalfRowsAnItem, std::min(kWindowRows, kWindows / depth));
}

// Work of products, in multiply-adds of float32. With tiles a fifth of them is left, and what each number read or written
// costs (norm, rounding, activation): 0.3 ns, as 24 multiply-adds.
template <class S, class W>
int64_t work_of(int64_t products, int64_t numbers) {
  return sizeof(W) < sizeof(S) && bfloat16_at_once() > 2 ? products / 5 + 24 * numbers : products;
}

int64_t least_items(int64_t products, int64_t items) {
  return std::max<int64_t>(1, kProductsAThread * items / std::max<int64_t>(1, products));
}

void check_activation(const char* op, int64_t activation) {
  MAMBASEG_CHECK(activation >= kNone && activation <= kSigmoid, op, ": activation is ", activation,
                 ", expected 0 (none), 1 (relu), 2 (gelu), 3 (silu) or 4 (sigmoid)");
}

void check_optional(const char* op, const char* name, const std::optional<Tensor>& t, const Tensor& like,
                    const Sizes& expected) {
  if (t.has_value()) check_tensor(op, name, *t, like, expected);
}

template <class S>
Norm<S> norm_of(const char* op, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps,
                const Tensor& like, int64_t channels) {
  MAMBASEG_CHECK(weight.has_value() || !bias.has_value(), op,
                 ": norm_bias is given without norm_weight; give both, the weight alone, or neither");
  check_optional(op, "norm_weight", weight, like, {channels});
  check_optional(op, "norm_bias", bias, like, {channels});
  return {input<S>(weight), input<S>(bias), static_cast<S>(eps)};
}

// Calls f(S, W) with a zero of the features' dtype and one of the packed weights'.
template <class F>
void by_dtypes(const char* op, const Tensor& x, const Tensor& packed, const F& f) {
  if (packed.scalar_type() != ScalarType::BFloat16) return by_dtype(op, x, [&](auto zero) { f(zero, zero); });
  MAMBASEG_CHECK(x.scalar_type() == ScalarType::Float, op,
                 ": packed is bfloat16 and x is not float32; give float32 features, or pack in their dtype");
  f(float{}, Bfloat16{});
}

template <class S, class W>
const DenseKernels<S, W>& kernels_of() {
  if constexpr (sizeof(W) < sizeof(S)) return bfloat16_kernels();
  else return kernels<S>().dense;
}

template <class S, class W>
DenseLayer<S, W> layer_of(const char* op, const Tensor& packed, const std::optional<Tensor>& bias, const Tensor& like,
                          int64_t outputs, int64_t inputs, int64_t taps, int64_t activation) {
  constexpr bool half = sizeof(W) < sizeof(S);
  constexpr int64_t header = kPackedHeader * (half ? 2 : 1);  // in numbers of the weight
  MAMBASEG_CHECK(outputs > 0, op, ": the number of outputs is ", outputs, ", expected 1 or more");
  check_activation(op, activation);
  const int64_t depth = inputs * taps;
  const int64_t size = header + ceil_div(outputs, kPanel) * kPanel * (half ? padded_depth(depth) : depth);
  if (half) {
    MAMBASEG_CHECK(packed.scalar_type() == ScalarType::BFloat16, op,
                   ": one layer is packed in bfloat16 and the other is not; pack both in one dtype");
  }
  check_tensor(op, "packed", packed, half ? packed : like, {size});
  S numbers[4];
  std::memcpy(numbers, packed.data_ptr(), sizeof(numbers));
  const S expected[4] = {S(kPackedMagic), S(outputs), S(inputs), S(taps)};
  MAMBASEG_CHECK(std::equal(expected, expected + 4, numbers), op, ": packed has the header [", numbers[0], ", ",
                 numbers[1], ", ", numbers[2], ", ", numbers[3], "], expected [", expected[0], ", ", expected[1], ", ",
                 expected[2], ", ", expected[3], "]; pack this layer's weight by ",
                 taps == 1 ? "pack_linear" : "pack_conv3x3");
  check_optional(op, "bias", bias, like, {outputs});
  return {input<W>(packed) + header, input<S>(bias), depth, outputs, static_cast<int>(activation)};
}

Sizes rows_of(const char* op, const Tensor& x) {
  MAMBASEG_CHECK(x.dim() >= 1, op, ": x has shape [], expected [..., C]");
  return sizes_of(x);
}

}  // namespace

Tensor fused_linear(const Tensor& x, const Tensor& packed, const std::optional<Tensor>& bias, int64_t out_features,
                    const std::optional<Tensor>& norm_weight, const std::optional<Tensor>& norm_bias, double eps,
                    int64_t activation, const std::optional<Tensor>& residual) {
  constexpr const char* op = "fused_linear";
  Sizes sizes = rows_of(op, x);
  const int64_t channels = sizes.back();
  check_tensor(op, "x", x, x, sizes);
  sizes.back() = out_features;
  const Tensor dx = dense(x), weight = dense(packed);
  const auto offset = dense(bias), scale = dense(norm_weight), shift = dense(norm_bias), added = dense(residual);
  Tensor y;
  by_dtypes(op, x, packed, [&](auto feature, auto factor) {
    using S = decltype(feature);
    using W = decltype(factor);
    LinearArgs<S, W> args{};
    args.layer = layer_of<S, W>(op, weight, offset, x, out_features, channels, 1, activation);
    args.norm = norm_of<S>(op, scale, shift, eps, x, channels);
    check_optional(op, "residual", residual, x, sizes);
    y = fresh(x, sizes);
    args.rows = count_of(sizes) / out_features;
    args.items = items_of<S, W>(args.rows, channels * out_features);
    args.x = input<S>(dx);
    args.residual = input<S>(added);
    args.y = output<S>(y);
    const DenseKernels<S, W>& k = kernels_of<S, W>();
    const int64_t work = work_of<S, W>(args.rows * channels * out_features, args.rows * (channels + out_features));
    const int64_t least = least_items(work, args.items);
    if (args.items) run<S>(args.items, k.linear_scratch(args), k.linear, args, least);
  });
  return y;
}

Tensor fused_mlp(const Tensor& x, const std::optional<Tensor>& norm_weight, const std::optional<Tensor>& norm_bias,
                 double eps, const Tensor& packed1, const std::optional<Tensor>& bias1, int64_t hidden,
                 const Tensor& packed2, const std::optional<Tensor>& bias2, int64_t activation, bool residual) {
  constexpr const char* op = "fused_mlp";
  const Sizes sizes = rows_of(op, x);
  const int64_t channels = sizes.back();
  check_tensor(op, "x", x, x, sizes);
  const Tensor dx = dense(x), weight1 = dense(packed1), weight2 = dense(packed2);
  const auto offset1 = dense(bias1), offset2 = dense(bias2), scale = dense(norm_weight), shift = dense(norm_bias);
  Tensor y;
  by_dtypes(op, x, packed1, [&](auto feature, auto factor) {
    using S = decltype(feature);
    using W = decltype(factor);
    MlpArgs<S, W> args{};
    args.first = layer_of<S, W>(op, weight1, offset1, x, hidden, channels, 1, activation);
    args.second = layer_of<S, W>(op, weight2, offset2, x, channels, hidden, 1, kNone);
    args.norm = norm_of<S>(op, scale, shift, eps, x, channels);
    y = fresh(x, sizes);
    args.rows = count_of(sizes) / channels;
    args.items = items_of<S, W>(args.rows, 2 * channels * hidden);
    args.x = input<S>(dx);
    args.residual = residual;
    args.y = output<S>(y);
    const DenseKernels<S, W>& k = kernels_of<S, W>();
    const int64_t work = work_of<S, W>(2 * args.rows * channels * hidden, args.rows * (2 * channels + hidden));
    const int64_t least = least_items(work, args.items);
    if (args.items) run<S>(args.items, k.mlp_scratch(args), k.mlp, args, least);
  });
  return y;
}

Tensor fused_conv3x3(const Tensor& x, const Tensor& packed, const std::optional<Tensor>& bias, int64_t out_channels,
                     int64_t stride, const std::optional<Tensor>& norm_weight, const std::optional<Tensor>& norm_bias,
                     double eps, int64_t activation) {
  constexpr const char* op = "fused_conv3x3";
  check_dims(op, "x", x, 4);
  check_tensor(op, "x", x, x, sizes_of(x));
  MAMBASEG_CHECK(stride == 1 || stride == 2, op, ": stride is ", stride, ", expected 1 or 2");
  const Tensor weight = dense(packed);
  const auto offset = dense(bias), scale = dense(norm_weight), shift = dense(norm_bias);
  Tensor y;
  by_dtypes(op, x, packed, [&](auto feature, auto factor) {
    using S = decltype(feature);
    using W = decltype(factor);
    ConvArgs<S, W> args{};
    args.batch = x.size(0);
    args.height = x.size(1);
    args.width = x.size(2);
    args.channels = x.size(3);
    args.step = stride;
    args.layer = layer_of<S, W>(op, weight, offset, x, out_channels, args.channels, 9, activation);
    args.norm = norm_of<S>(op, scale, shift, eps, x, out_channels);
    args.out_height = ceil_div(args.height, stride);
    args.out_width = ceil_div(args.width, stride);
    y = fresh(x, {args.batch, args.out_height, args.out_width, out_channels});
    const int64_t pixels = args.batch * args.out_height * args.out_width;
    if (pixels == 0) return;
    args.lines = std::max<int64_t>(1, std::min(conv_rows<S, W>(args.layer.depth) / args.out_width, args.out_height));
    args.x = input<S>(x);
    for (int i = 0; i < 4; ++i) args.strides[i] = x.stride(i);
    args.y = output<S>(y);
    const DenseKernels<S, W>& k = kernels_of<S, W>();
    const int64_t items = args.batch * ceil_div(args.out_height, args.lines);
    const int64_t work =
        work_of<S, W>(pixels * args.layer.depth * out_channels, pixels * (args.layer.depth + out_channels));
    const int64_t least = least_items(work, items);
    run<S>(items, k.conv_scratch(args), k.conv, args, least);
  });
  return y;
}

}  // namespace mambaseg

MAMBASEG_LIBRARY_IMPL(mambaseg, CPU, m) {
  m.impl("fused_linear", MAMBASEG_FUNCTION(&mambaseg::fused_linear));
  m.impl("fused_mlp", MAMBASEG_FUNCTION(&mambaseg::fused_mlp));
  m.impl("fused_conv3x3", MAMBASEG_FUNCTION(&mambaseg::fused_conv3x3));
}

MAMBASEG_LIBRARY_IMPL(mambaseg, CompositeExplicitAutograd, m) {
  m.impl("bfloat16_at_once", MAMBASEG_FUNCTION(&mambaseg::bfloat16_at_once));
}
