// Interface between the operators and the kernels of one instruction set. All pointers are to contiguous memory.
//
// Alphabet: K groups (directions), C channels of one group, N states, L tokens, R rank of the step size.
#pragma once

#include <cstdint>

#include "dense.h"

namespace mambaseg {

constexpr int kTile = 64;         // steps per tile; a tile stays in the L1 cache
constexpr int64_t kMaxSlots = 8;  // parts of a channel-wise sum; fixed, so that the thread count changes no bit

// Sequences with time last: u, y [B, K, C, L].
template <class S>
struct ScanArgs {
  int64_t batch, groups, channels, length, state, rank;
  bool softplus;
  bool shared;          // one u [B, C, L] for all groups; odd groups read it (and B, C, low) from the end
  const S* u;
  const S* delta;       // [B, K, C, L], or null if it comes from `low`
  const S* low;         // low-rank step sizes of group g = b*K + k: low + g*group_stride, [R, L]
  const S* low_weight;  // [K, C, R]
  const S* b;           // [N, L] at b + g*group_stride; c likewise
  const S* c;
  int64_t group_stride;
  const S* a;           // [K, C, N]
  const S* skip;        // D [K, C] or null
  const S* bias;        // [K, C] or null
  S* y;
  // backward
  const S* gy;
  S *gu, *gdelta;       // [B, K, C, L]
  S* gbc;               // [B, K, slots, 2N, L]: gradients of B and C, summed over the channels of a slot
  S* ga;                // [B, K, C, N]
  S *gskip, *gbias;     // [B, K, C]
  int64_t slots;
};

// A map, channels last: x, y [B, H*W, C]; K = 4 directions.
template <class S>
struct Ss2dArgs {
  int64_t batch, height, width, channels, state, rank;
  const S* x;
  const S* proj;        // [B, H*W, 4, R + 2N]
  const S* low_weight;  // [4, C, R]
  const S* bias;        // [4, C]
  const S* a;           // [4, C, N]
  const S* skip;        // [4, C]
  S* y;
  // backward
  const S* gy;
  S* gx;                // [B, H*W, C]
  S* gdelta;            // [B, 4, H*W, C], before the softplus
  S* gbc;               // [B, slots, 4, 2N, L] in the order of each walk
  S* ga;                // [B, 4, C, N]
  int64_t slots;
};

struct MapKernels;

// Work items are independent. `scratch` holds as many scalars as the matching *_scratch function returns.
template <class S>
struct Kernels {
  const char* name;
  int lanes;
  int64_t (*scan_scratch)(const ScanArgs<S>&);
  void (*scan)(const ScanArgs<S>&, int64_t item, S* scratch);           // items: B * K * blocks of lanes channels
  void (*scan_backward)(const ScanArgs<S>&, int64_t item, S* scratch);  // items: B * K * slots
  int64_t (*ss2d_scratch)(const Ss2dArgs<S>&);
  void (*ss2d)(const Ss2dArgs<S>&, int64_t item, S* scratch);           // items: B * blocks
  void (*ss2d_backward)(const Ss2dArgs<S>&, int64_t item, S* scratch);  // items: B * slots
  DenseKernels<S> dense;
  const Bfloat16Kernels* bfloat16;  // float32 features, bfloat16 factors
  const MapKernels* maps;           // float32
};

// The best kernels that this processor runs; MAMBASEG_ISA=plain|avx2|avx512|avx512_bf16|amx selects others. The last
// two are avx512 but for the products with bfloat16 factors.
const Kernels<float>& float_kernels();
const Kernels<double>& double_kernels();
const Bfloat16Kernels& bfloat16_kernels();
int64_t bfloat16_at_once();  // numbers of a row that one instruction multiplies and adds up: 1, 2 (pairs), 32 (tiles)

}  // namespace mambaseg
