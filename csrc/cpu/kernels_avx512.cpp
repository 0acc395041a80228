// Compiled with AVX-512 F, BW, DQ and VL.
#define MAMBASEG_ISA avx512
#define MAMBASEG_VECTOR_BYTES 64
#include "isa_kernels.h"

namespace mambaseg {

extern const Kernels<float> avx512_float;
const Kernels<float> avx512_float = avx512::table<float>("avx512");

}  // namespace mambaseg
