// Interface between the operators on channels-last maps and their kernels, float32. All pointers are to contiguous
// memory, but for `SpatialArgs::x`. An item is a row of the result unless stated otherwise; items are independent.
//
// Alphabet: B batch, C channels, H and W the map's size; `scratch` holds as many floats as stated at the kernel.
#pragma once

#include <cstdint>

#include "dense.h"

namespace mambaseg {

constexpr int64_t kTilePixels = 4;   // pixels of a depthwise tile
constexpr int64_t kMaxClasses = 256;
constexpr int64_t kWeightMaps = 6, kHidden = 16;  // of three_weights

struct DepthwiseArgs {
  int64_t height, width, channels;
  const float *x, *weight, *bias;  // [B, H, W, C], [9, C], [C] or null
  float* y;
  int activation;
};

struct NormArgs {
  int64_t rows, channels;
  const float* x;  // [rows, C]
  Norm<float> norm;
  float* y;
  int activation;
};

// Planes of a map with zeros around it, `pad` rows and columns: [B, planes, H + 2 pad, stride].
struct Planes {
  int64_t count, pad, stride;
  float* data;
};

struct SpatialArgs {
  int64_t height, width, channels;
  const float* x;      // pixels `x_stride` apart
  int64_t x_stride;
  const float* add;    // [B, H, W, C] or null
  const float* weight; // [2, 7, 7]
  Planes maps;         // mean, maximum
  float* y;
};

struct ThreeWeightsArgs {
  int64_t height, width, channels;
  const float *a, *b;                         // [B, H, W, C]
  const float *conv1, *bias1, *conv2, *bias2; // [16, 6, 3, 3], [16], [3, 16], [3]
  Planes maps;                                // mean and maximum of a, of b, of their mean
  float* y;                                   // [B, H, W, 3C]
};

struct ChannelArgs {
  int64_t positions, channels, slots;  // H*W; a slot is a part of the positions
  const float *a, *b;                  // [B, H*W, C]; b may be null
  float* parts;                        // [B, maps, slots, 2, C]: sum, maximum
  int64_t hidden;
  const float *fc1, *fc2;              // [R, maps*C], [maps*C, R]
  float* y;                            // [B, maps*C]
  int activation;
};

struct RegionArgs {
  int64_t height, width, channels, rows, columns;
  const float *x, *scale;  // scale [B, C] or null
  float* y;
};

// Bilinear: position i of the result lies between `low[i]` and `high[i]` of the source, at `share[i]` of the way.
struct Between {
  const int32_t *low, *high;
  const float* share;
};

struct ResizeArgs {
  int64_t height, width, channels, from_height, from_width;
  Between rows, columns;  // columns padded to whole vectors
  const float* small;     // [B, h, w, C]
  bool same;              // nothing is resized
  const float *x, *scale; // add_resized
  float* y;
  int activation;
  uint8_t* ids;           // logits_to_mask
  float *confidence, *finite;  // finite: [B * H]
};

struct MapKernels {
  int lanes;
  void (*depthwise)(const DepthwiseArgs&, int64_t item, float* scratch);  // scratch: 3 * (kTilePixels + 2) * C
  void (*norm)(const NormArgs&, int64_t item, float* scratch);            // items: blocks of `lanes` rows
  void (*spatial_maps)(const SpatialArgs&, int64_t item, float* scratch);
  void (*spatial)(const SpatialArgs&, int64_t item, float* scratch);      // scratch: stride of the planes
  void (*weight_maps)(const ThreeWeightsArgs&, int64_t item, float* scratch);
  void (*three_weights)(const ThreeWeightsArgs&, int64_t item, float* scratch);  // scratch: 3 * stride of the planes
  void (*channel_parts)(const ChannelArgs&, int64_t item, float* scratch);       // items: B * maps * slots
  void (*channel_weights)(const ChannelArgs&, int64_t item, float* scratch);     // items: B; 2 * (maps*C + R)
  void (*region)(const RegionArgs&, int64_t item, float* scratch);               // items: B * rows
  void (*add_resized)(const ResizeArgs&, int64_t item, float* scratch);          // scratch: w * C
  void (*mask)(const ResizeArgs&, int64_t item, float* scratch);                 // scratch: w * C in whole vectors
};

}  // namespace mambaseg
