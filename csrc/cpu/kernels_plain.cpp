// For any processor: 16-byte vectors, which every 64-bit processor has (SSE2, NEON).
#define MAMBASEG_ISA plain
#define MAMBASEG_VECTOR_BYTES 16
#include "isa_kernels.h"

namespace mambaseg {

extern const Kernels<float> plain_float;
const Kernels<float> plain_float = plain::table<float>("plain");

// float64 is for checking gradients, so one instruction set is enough.
extern const Kernels<double> plain_double;
const Kernels<double> plain_double = plain::table<double>("plain");

}  // namespace mambaseg
