// Body of kernels_{avx512_bf16,amx}.cpp. MAMBASEG_ISA is the namespace, MAMBASEG_FACTORS the header of `Factors`.
#define MAMBASEG_VECTOR_BYTES 64

#include <cstddef>
#include <cstdint>
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns about its own undefined_ps
#endif
#include <immintrin.h>

#include "kernels.h"

namespace mambaseg {
namespace MAMBASEG_ISA {
namespace {

#include "vec.h"
//
#include "activation.h"
#include "row_norm.h"
//
#include "dense_kernel.h"
//
#include "factors_half.h"
//
#include MAMBASEG_FACTORS
//
#include "dense_bfloat16_kernel.h"

}  // namespace
}  // namespace MAMBASEG_ISA
}  // namespace mambaseg
