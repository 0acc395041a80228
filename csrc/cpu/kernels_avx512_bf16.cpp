// Compiled with AVX-512 F, BW, DQ, VL and BF16.
#define MAMBASEG_ISA avx512_bf16
#define MAMBASEG_FACTORS "factors_pairs.h"
#include "isa_bfloat16.h"

namespace mambaseg {

extern const Bfloat16Kernels avx512_bf16_products;
const Bfloat16Kernels avx512_bf16_products = avx512_bf16::kBfloat16Dense;

}  // namespace mambaseg
