// Matrix products fused with norm, bias, activation and residual: interface to the kernels of one instruction set.
#pragma once

#include <cstdint>

namespace mambaseg {

enum Activation : int { kNone, kRelu, kGelu, kSilu, kSigmoid };  // the codes of the fused operators; gelu by erf

// A packed weight: a header, then panels of kPanel output channels, each [depth, kPanel], the last padded with zeros.
constexpr int64_t kPanel = 16, kPackedHeader = 16;
constexpr double kPackedMagic = 16180;

// LayerNorm over the channels; `weight` is null without a norm, `bias` may be.
template <class S>
struct Norm {
  const S* weight;
  const S* bias;
  S eps;
};

template <class S>
struct DenseLayer {
  const S* panels;
  const S* bias;  // [outputs] or null
  int64_t depth, outputs;
  int activation;
};

// Rows [rows, depth]; the items divide them evenly.
template <class S>
struct LinearArgs {
  int64_t rows, items;
  const S* x;
  Norm<S> norm;
  DenseLayer<S> layer;
  const S* residual;  // [rows, outputs] or null
  S* y;
};

template <class S>
struct MlpArgs {
  int64_t rows, items;
  const S* x;
  Norm<S> norm;
  DenseLayer<S> first, second;
  bool residual;  // adds x
  S* y;
};

// Maps x [B, H, W, C] of any strides to y [B, H', W', outputs]; an item has `lines` rows of y, the last fewer.
template <class S>
struct ConvArgs {
  int64_t batch, height, width, channels, step, out_height, out_width, lines;
  const S* x;
  int64_t strides[4];
  DenseLayer<S> layer;  // depth 9 * C; its activation follows the norm
  Norm<S> norm;
  S* y;
};

template <class S>
struct DenseKernels {
  int64_t (*linear_scratch)(const LinearArgs<S>&);
  void (*linear)(const LinearArgs<S>&, int64_t item, S* scratch);
  int64_t (*mlp_scratch)(const MlpArgs<S>&);
  void (*mlp)(const MlpArgs<S>&, int64_t item, S* scratch);
  int64_t (*conv_scratch)(const ConvArgs<S>&);
  void (*conv)(const ConvArgs<S>&, int64_t item, S* scratch);  // items: B * ceil(H' / lines)
};

}  // namespace mambaseg
