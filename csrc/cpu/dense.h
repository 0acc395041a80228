// Matrix products fused with norm, bias, activation and residual: interface to the kernels of one instruction set.
#pragma once

#include <cstdint>

namespace mambaseg {

enum Activation : int { kNone, kRelu, kGelu, kSilu, kSigmoid };  // the codes of the fused operators; gelu by erf

// A packed weight: a header, then panels of kPanel output channels, each [depth, kPanel], the last padded with zeros.
constexpr int64_t kPanel = 16, kPackedHeader = 16;
constexpr double kPackedMagic = 16180;

// In bfloat16 panels are [depth / 2, kPanel, 2], the depth padded with zeros to a multiple of kBfloat16Depth; the
// header is the same kPackedHeader numbers of float32.
using Bfloat16 = uint16_t;
constexpr int64_t kBfloat16Depth = 32;

inline constexpr int64_t padded_depth(int64_t depth) {
  return (depth + kBfloat16Depth - 1) / kBfloat16Depth * kBfloat16Depth;
}

// LayerNorm over the channels; `weight` is null without a norm, `bias` may be.
template <class S>
struct Norm {
  const S* weight;
  const S* bias;
  S eps;
};

// S: features, biases and sums. W: packed weights; the rows of the left factor are rounded to it.
template <class S, class W = S>
struct DenseLayer {
  const W* panels;
  const S* bias;  // [outputs] or null
  int64_t depth, outputs;
  int activation;
};

// Rows [rows, depth]; the items divide them evenly.
template <class S, class W = S>
struct LinearArgs {
  int64_t rows, items;
  const S* x;
  Norm<S> norm;
  DenseLayer<S, W> layer;
  const S* residual;  // [rows, outputs] or null
  S* y;
};

template <class S, class W = S>
struct MlpArgs {
  int64_t rows, items;
  const S* x;
  Norm<S> norm;
  DenseLayer<S, W> first, second;
  bool residual;  // adds x
  S* y;
};

// Maps x [B, H, W, C] of any strides to y [B, H', W', outputs]; an item has `lines` rows of y, the last fewer.
template <class S, class W = S>
struct ConvArgs {
  int64_t batch, height, width, channels, step, out_height, out_width, lines;
  const S* x;
  int64_t strides[4];
  DenseLayer<S, W> layer;  // depth 9 * C; its activation follows the norm
  Norm<S> norm;
  S* y;
};

template <class S, class W = S>
struct DenseKernels {
  int64_t (*linear_scratch)(const LinearArgs<S, W>&);
  void (*linear)(const LinearArgs<S, W>&, int64_t item, S* scratch);
  int64_t (*mlp_scratch)(const MlpArgs<S, W>&);
  void (*mlp)(const MlpArgs<S, W>&, int64_t item, S* scratch);
  int64_t (*conv_scratch)(const ConvArgs<S, W>&);
  void (*conv)(const ConvArgs<S, W>&, int64_t item, S* scratch);  // items: B * ceil(H' / lines)
};

using Bfloat16Kernels = DenseKernels<float, Bfloat16>;

}  // namespace mambaseg
