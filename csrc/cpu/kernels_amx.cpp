// Compiled with AVX-512 F, BW, DQ, VL and BF16, and AMX-BF16.
#define MAMBASEG_ISA amx
#define MAMBASEG_FACTORS "factors_tiles.h"
#include "isa_bfloat16.h"

namespace mambaseg {

extern const Bfloat16Kernels amx_products;
const Bfloat16Kernels amx_products = amx::kBfloat16Dense;

}  // namespace mambaseg
