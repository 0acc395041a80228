// What the operators on maps share: checks of their arguments, planes, and rows on torch's threads.
#pragma once

#include "driver.h"
#include "map_kernels.h"

namespace mambaseg {

constexpr int64_t kFloatsAThread = 32'768;  // of the result: some ten microseconds of work

// x [B, H, W, C], the first argument of an operator.
inline void check_map(const char* op, const char* name, const Tensor& x) {
  check_dims(op, name, x, 4);
  MAMBASEG_CHECK(x.is_cpu() && x.scalar_type() == ScalarType::Float, op, ": ", name,
                 " is not float32 on the CPU, which this kernel takes");
  MAMBASEG_CHECK(x.size(1) > 0 && x.size(2) > 0 && x.size(3) > 0, op, ": ", name, " has shape ", show(sizes_of(x)),
                 ", expected at least one row, column and channel");
}

inline void check_activation(const char* op, int64_t activation) {
  MAMBASEG_CHECK(activation >= 0 && activation <= 4, op, ": activation is ", activation,
                 ", expected 0 (none), 1 (relu), 2 (gelu), 3 (silu) or 4 (sigmoid); choose one");
}

inline const MapKernels& map_kernels() { return *float_kernels().maps; }

// Runs items that write `floats` numbers each.
template <class Args>
void run_items(int64_t items, int64_t floats, int64_t scratch, void (*kernel)(const Args&, int64_t, float*),
               const Args& args) {
  const int64_t least = std::max<int64_t>(1, kFloatsAThread / std::max<int64_t>(1, floats));
  run<float>(items, scratch, kernel, args, least);
}

}  // namespace mambaseg
