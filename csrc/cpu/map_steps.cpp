// Operators interleave_steps and merge_steps on the CPU: small maps of regions, so one thread.

#include "map_driver.h"

namespace mambaseg {
namespace {

Tensor interleave_steps(Tensor a, Tensor b, int64_t steps) {
  constexpr const char* op = "interleave_steps";
  MAMBASEG_CHECK(a.is_cpu() && a.scalar_type() == ScalarType::Float && a.dim() > 0, op,
                 ": a is not a float32 map on the CPU, which this kernel takes");
  check_tensor(op, "b", b, a, sizes_of(a));
  const int64_t channels = a.size(a.dim() - 1);
  MAMBASEG_CHECK(steps > 0 && channels > 0 && channels % steps == 0, op, ": a has ", channels, " channels and ", steps,
                 " steps, expected a multiple of the steps");
  const Tensor da = dense(a), db = dense(b);
  const int64_t positions = a.numel() / channels, width = channels / steps;
  Tensor y = fresh(a, {positions, width, 2 * steps});
  const float *from_a = input<float>(da), *from_b = input<float>(db);
  float* to = output<float>(y);
  for (int64_t n = 0; n < positions; ++n, from_a += channels, from_b += channels)
    for (int64_t c = 0; c < width; ++c)
      for (int64_t s = 0; s < steps; ++s) {
        *to++ = from_a[s * width + c];
        *to++ = from_b[s * width + c];
      }
  return y;
}

Tensor merge_steps(Tensor y) {
  constexpr const char* op = "merge_steps";
  check_dims(op, "y", y, 4);
  MAMBASEG_CHECK(y.is_cpu() && y.scalar_type() == ScalarType::Float, op,
                 ": y is not float32 on the CPU, which this kernel takes");
  const int64_t positions = y.size(0), width = y.size(2), length = y.size(3), steps = length / 2;
  MAMBASEG_CHECK(y.size(1) == 2 && length > 0 && length % 2 == 0, op, ": y has shape ", show(sizes_of(y)),
                 ", expected 2 directions and an even number of steps");
  const Tensor dy = dense(y);
  Tensor result = fresh(y, {2, positions, width * steps});
  const float* forth = input<float>(dy);
  float* to = output<float>(result);
  for (int64_t n = 0; n < positions; ++n, forth += 2 * width * length)
    for (int64_t c = 0; c < width; ++c)
      for (int64_t i = 0; i < length; ++i) {
        const float back = forth[(width + c + 1) * length - 1 - i];
        to[((i % 2 * positions + n) * steps + i / 2) * width + c] = forth[c * length + i] + back;
      }
  return result;
}

}  // namespace
}  // namespace mambaseg

MAMBASEG_LIBRARY_IMPL(mambaseg, CPU, m) {
  m.impl("interleave_steps", MAMBASEG_FUNCTION(&mambaseg::interleave_steps));
  m.impl("merge_steps", MAMBASEG_FUNCTION(&mambaseg::merge_steps));
}
