// Operators spatial_attention, three_weights and channel_attention on the CPU.

#include "map_driver.h"

namespace mambaseg {
namespace {

constexpr int64_t kChannelSlots = 8;  // fixed, so that the number of threads changes no bit

// Planes with zeros around maps of x's size, wide enough for rows that are read two vectors at a time.
std::pair<Tensor, Planes> planes_for(const Tensor& x, int64_t count, int64_t pad) {
  const int64_t step = 2 * map_kernels().lanes, stride = ceil_div(x.size(2), step) * step + 2 * pad;
  Tensor memory = fresh(x, {x.size(0), count, x.size(1) + 2 * pad, stride});
  return {memory, Planes{count, pad, stride, output<float>(memory)}};
}

// Distance of x's pixels, where its channels are those of a wider map; 0 if they are not.
int64_t pixel_stride(const Tensor& x) {
  if (x.size(3) > 1 && x.stride(3) != 1) return 0;
  int64_t pixels = 1, found = 0;
  for (int64_t i = 2; i >= 0; pixels *= x.size(i--)) {
    if (x.size(i) <= 1) continue;
    if (!found && x.stride(i) % pixels == 0) found = x.stride(i) / pixels;
    if (x.stride(i) != found * pixels) return 0;
  }
  return found ? found : x.size(3);
}

Tensor spatial_attention(Tensor x, std::optional<Tensor> y, Tensor weight) {
  constexpr const char* op = "spatial_attention";
  check_map(op, "x", x);
  if (y.has_value()) check_tensor(op, "y", *y, x, sizes_of(x));
  check_tensor(op, "weight", weight, x, {1, 2, 7, 7});
  const int64_t batch = x.size(0), height = x.size(1), width = x.size(2), channels = x.size(3);
  int64_t stride = pixel_stride(x);
  const Tensor dx = stride ? x : dense(x), dw = dense(weight);
  const std::optional<Tensor> dy = dense(y);
  Tensor result = fresh(x, sizes_of(x));
  const auto [memory, maps] = planes_for(x, 2, 3);
  const SpatialArgs args{height, width, channels, input<float>(dx), stride ? stride : channels, input<float>(dy),
                         input<float>(dw), maps, output<float>(result)};
  const MapKernels& k = map_kernels();
  run_items(batch * height, width * channels, 0, k.spatial_maps, args);
  run_items(batch * height, width * channels, maps.stride, k.spatial, args);
  return result;
}

Tensor three_weights(Tensor a, Tensor b, Tensor conv1, Tensor bias1, Tensor conv2, Tensor bias2) {
  constexpr const char* op = "three_weights";
  check_map(op, "a", a);
  check_tensor(op, "b", b, a, sizes_of(a));
  check_tensor(op, "conv1", conv1, a, {kHidden, kWeightMaps, 3, 3});
  check_tensor(op, "bias1", bias1, a, {kHidden});
  check_tensor(op, "conv2", conv2, a, {3, kHidden, 1, 1});
  check_tensor(op, "bias2", bias2, a, {3});
  const int64_t batch = a.size(0), height = a.size(1), width = a.size(2), channels = a.size(3);
  const Tensor da = dense(a), db = dense(b), dw1 = dense(conv1), db1 = dense(bias1), dw2 = dense(conv2),
               db2 = dense(bias2);
  Tensor y = fresh(a, {batch, height, width, 3 * channels});
  const auto [memory, maps] = planes_for(a, kWeightMaps, 1);
  const ThreeWeightsArgs args{height, width, channels, input<float>(da), input<float>(db), input<float>(dw1),
                              input<float>(db1), input<float>(dw2), input<float>(db2), maps, output<float>(y)};
  const MapKernels& k = map_kernels();
  run_items(batch * height, width * channels, 0, k.weight_maps, args);
  run_items(batch * height, 3 * width * channels, 3 * maps.stride, k.three_weights, args);
  return y;
}

Tensor channel_attention(Tensor a, std::optional<Tensor> b, Tensor fc1, Tensor fc2, int64_t activation) {
  constexpr const char* op = "channel_attention";
  check_map(op, "a", a);
  if (b.has_value()) check_tensor(op, "b", *b, a, sizes_of(a));
  check_dims(op, "fc1", fc1, 2);
  const int64_t batch = a.size(0), positions = a.size(1) * a.size(2), channels = a.size(3);
  const int64_t maps = b.has_value() ? 2 : 1, hidden = fc1.size(0);
  check_tensor(op, "fc1", fc1, a, {hidden, maps * channels});
  check_tensor(op, "fc2", fc2, a, {maps * channels, hidden});
  check_activation(op, activation);
  const Tensor da = dense(a), dw1 = dense(fc1), dw2 = dense(fc2);
  const std::optional<Tensor> db = dense(b);
  const int64_t slots = std::min(kChannelSlots, positions);
  const Tensor parts = fresh(a, {batch, maps, slots, 2, channels});
  Tensor y = fresh(a, {batch, 1, 1, maps * channels});
  const ChannelArgs args{positions, channels, slots, input<float>(da), input<float>(db), output<float>(parts),
                         hidden, input<float>(dw1), input<float>(dw2), output<float>(y), static_cast<int>(activation)};
  const MapKernels& k = map_kernels();
  run_items(batch * maps * slots, positions * channels / slots, 0, k.channel_parts, args);
  run_items(batch, hidden * maps * channels, 2 * (maps * channels + hidden), k.channel_weights, args);
  return y;
}

}  // namespace
}  // namespace mambaseg

MAMBASEG_LIBRARY_IMPL(mambaseg, CPU, m) {
  m.impl("spatial_attention", MAMBASEG_FUNCTION(&mambaseg::spatial_attention));
  m.impl("three_weights", MAMBASEG_FUNCTION(&mambaseg::three_weights));
  m.impl("channel_attention", MAMBASEG_FUNCTION(&mambaseg::channel_attention));
}
