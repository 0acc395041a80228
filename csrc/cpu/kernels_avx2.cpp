// Compiled with -mavx2 -mfma.
#define MAMBASEG_ISA avx2
#define MAMBASEG_VECTOR_BYTES 32
#include "isa_kernels.h"

namespace mambaseg {

extern const Kernels<float> avx2_float;
const Kernels<float> avx2_float = avx2::table<float>("avx2");

}  // namespace mambaseg
