// Body of kernels_{plain,avx2,avx512}.cpp. MAMBASEG_ISA is the namespace, MAMBASEG_VECTOR_BYTES the size of a vector.

#include <cstddef>
#include <cstdint>
#if defined(__x86_64__)
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns about its own undefined_ps
#endif
#include <immintrin.h>
#endif

#include "kernels.h"

namespace mambaseg {
namespace MAMBASEG_ISA {
namespace {

#include "vec.h"
//
#include "activation.h"
#include "tile.h"
//
#include "scan_kernel.h"
#include "ss2d_kernel.h"

template <class S>
constexpr Kernels<S> table(const char* name) {
  return {name,         kLanes<S>,       &scan_scratch<S>, &scan<S>, &scan_backward<S>,
          &ss2d_scratch<S>, &ss2d<S>, &ss2d_backward<S>};
}

}  // namespace
}  // namespace MAMBASEG_ISA
}  // namespace mambaseg
