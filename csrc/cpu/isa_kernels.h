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
#include "map_kernels.h"

namespace mambaseg {
namespace MAMBASEG_ISA {
namespace {

#include "vec.h"
//
#include "activation.h"
#include "row_norm.h"
//
#include "tile.h"
//
#include "dense_kernel.h"
#include "factors_float.h"
//
#include "dense_bfloat16_kernel.h"
#include "scan_kernel.h"
#include "ss2d_kernel.h"
//
#include "map_depthwise_kernel.h"
//
#include "map_attention_kernel.h"
//
#include "map_channel_kernel.h"
#include "map_resize_kernel.h"

constexpr MapKernels kMaps = {
    kLanes<float>, &depthwise,     &norm,            &spatial_maps, &spatial,     &weight_maps,
    &three_weights, &channel_parts, &channel_weights, &region,       &add_resized, &mask,
};

template <class S>
constexpr Kernels<S> table(const char* name) {
  return {name,         kLanes<S>,       &scan_scratch<S>, &scan<S>, &scan_backward<S>,
          &ss2d_scratch<S>, &ss2d<S>, &ss2d_backward<S>, dense_table<S>(), &kBfloat16Dense, &kMaps};
}

}  // namespace
}  // namespace MAMBASEG_ISA
}  // namespace mambaseg
