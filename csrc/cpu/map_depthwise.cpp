// Operators depthwise3x3 and norm_activation on the CPU.

#include "map_driver.h"

namespace mambaseg {
namespace {

Tensor depthwise3x3(Tensor x, Tensor weight, std::optional<Tensor> bias, int64_t activation) {
  constexpr const char* op = "depthwise3x3";
  check_map(op, "x", x);
  const int64_t batch = x.size(0), height = x.size(1), width = x.size(2), channels = x.size(3);
  check_tensor(op, "weight", weight, x, {9, channels});
  if (bias.has_value()) check_tensor(op, "bias", *bias, x, {channels});
  check_activation(op, activation);
  const Tensor dx = dense(x), dw = dense(weight);
  const std::optional<Tensor> dbias = dense(bias);
  Tensor y = fresh(x, sizes_of(x));
  const DepthwiseArgs args{height, width, channels, input<float>(dx), input<float>(dw), input<float>(dbias),
                           output<float>(y), static_cast<int>(activation)};
  run_items(batch * height, width * channels, 3 * (kTilePixels + 2) * channels, map_kernels().depthwise, args);
  return y;
}

Tensor norm_activation(Tensor x, Tensor weight, Tensor bias, double eps, int64_t activation) {
  constexpr const char* op = "norm_activation";
  MAMBASEG_CHECK(x.is_cpu() && x.scalar_type() == ScalarType::Float, op,
                 ": x is not float32 on the CPU, which this kernel takes");
  MAMBASEG_CHECK(x.dim() > 0 && x.size(x.dim() - 1) > 0, op, ": x has shape ", show(sizes_of(x)),
                 ", expected at least one channel in its last dimension");
  const int64_t channels = x.size(x.dim() - 1);
  check_tensor(op, "weight", weight, x, {channels});
  check_tensor(op, "bias", bias, x, {channels});
  check_activation(op, activation);
  const Tensor dx = dense(x), dw = dense(weight), dbias = dense(bias);
  Tensor y = fresh(x, sizes_of(x));
  const MapKernels& k = map_kernels();
  const Norm<float> norm{input<float>(dw), input<float>(dbias), static_cast<float>(eps)};
  const NormArgs args{x.numel() / channels, channels, input<float>(dx), norm, output<float>(y),
                      static_cast<int>(activation)};
  run_items(ceil_div(args.rows, k.lanes), k.lanes * channels, 0, k.norm, args);
  return y;
}

}  // namespace
}  // namespace mambaseg

MAMBASEG_LIBRARY_IMPL(mambaseg, CPU, m) {
  m.impl("depthwise3x3", MAMBASEG_FUNCTION(&mambaseg::depthwise3x3));
  m.impl("norm_activation", MAMBASEG_FUNCTION(&mambaseg::norm_activation));
}
