// Weights by pixel and by channel from mean and maximum.
//
// A maximum takes no account of NaN: a NaN reaches the result through the mean beside it.

MAMBASEG_INLINE Vec<float> larger(Vec<float> a, Vec<float> b) { return b > a ? b : a; }

constexpr float kLowest = -__builtin_inff();

// Lane i of the result is the largest lane of from[i].
MAMBASEG_INLINE Vec<float> lane_maxima(const Vec<float>* from) {
  constexpr int n = kLanes<float>;
  Vec<float> rows[n];
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) rows[i] = from[i];
#pragma GCC unroll 4
  for (int half = n / 2; half >= 1; half /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i)
      rows[i] = larger(interleave<float, false>(rows[i], rows[i + half]), interleave<float, true>(rows[i], rows[i + half]));
  }
  return rows[0];
}

// The start of row y of a plane; row 0 is the first one inside.
MAMBASEG_INLINE float* plane_row(const Planes& maps, int64_t batch, int64_t plane, int64_t y, int64_t height) {
  return maps.data + ((batch * maps.count + plane) * (height + 2 * maps.pad) + y + maps.pad) * maps.stride;
}

static void clear(float* to, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) to[i] = 0.0f;
}

// Writes zeros around row y of all planes: beside it, and beyond the first and the last row.
static void clear_borders(const Planes& maps, int64_t batch, int64_t y, int64_t height, int64_t width) {
  for (int64_t plane = 0; plane < maps.count; ++plane) {
    float* row = plane_row(maps, batch, plane, y, height);
    clear(row, 0, maps.pad);
    clear(row, maps.pad + width, maps.stride);
    if (y == 0) clear(row - maps.pad * maps.stride, 0, maps.pad * maps.stride);
    if (y + 1 == height) clear(row + maps.stride, 0, maps.pad * maps.stride);
  }
}

// Adds the products of a convolution's window over one plane, `size` x `size`, to N vectors of sums.
// from: the window's first value for lane 0.
template <int N>
MAMBASEG_INLINE void add_window(Vec<float>* sums, const float* from, int64_t stride, const float* weight, int size) {
  for (int dy = 0; dy < size; ++dy, from += stride)
    for (int dx = 0; dx < size; ++dx) {
      const float w = *weight++;
#pragma GCC unroll 4
      for (int i = 0; i < N; ++i) sums[i] += w * load(from + dx + i * kLanes<float>);
    }
}

static void spatial_maps(const SpatialArgs& args, int64_t item, float*) {
  const int64_t batch = item / args.height, y = item % args.height, channels = args.channels;
  clear_borders(args.maps, batch, y, args.height, args.width);
  float* means = plane_row(args.maps, batch, 0, y, args.height) + args.maps.pad;
  float* maxima = plane_row(args.maps, batch, 1, y, args.height) + args.maps.pad;
  const float share = 1.0f / static_cast<float>(channels);
  for (int64_t first = 0; first < args.width; first += kLanes<float>) {
    const int pixels = lanes_left(args.width, first);
    Vec<float> sums[kLanes<float>]{}, highest[kLanes<float>]{};
    for (int i = 0; i < pixels; ++i) {
      const int64_t pixel = item * args.width + first + i;
      const float* x = args.x + pixel * args.x_stride;
      const float* add = args.add ? args.add + pixel * channels : nullptr;
      Vec<float> sum{}, high = splat(kLowest);
      for_vectors<float>(channels, [&](int64_t c, int n) MAMBASEG_INLINE_LAMBDA {
        const Vec<float> value = add ? load_first(x + c, n) + load_first(add + c, n) : load_first(x + c, n);
        sum += value;
        high = larger(high, add ? load_or(x + c, n, kLowest) + load_first(add + c, n) : load_or(x + c, n, kLowest));
      });
      sums[i] = sum;
      highest[i] = high;
    }
    store_first(means + first, lane_sums<float>(sums) * share, pixels);
    store_first(maxima + first, lane_maxima(highest), pixels);
  }
}

static void spatial(const SpatialArgs& args, int64_t item, float* scratch) {
  const int64_t batch = item / args.height, y = item % args.height, channels = args.channels;
  const int64_t pad = args.maps.pad, stride = args.maps.stride;
  const float* means = plane_row(args.maps, batch, 0, y - pad, args.height);
  const float* maxima = plane_row(args.maps, batch, 1, y - pad, args.height);
  for (int64_t x = 0; x < args.width; x += 2 * kLanes<float>) {
    Vec<float> of_mean[2]{}, of_max[2]{};
    add_window<2>(of_mean, means + x, stride, args.weight, 7);
    add_window<2>(of_max, maxima + x, stride, args.weight + 49, 7);
    for (int i = 0; i < 2; ++i) store(scratch + x + i * kLanes<float>, activate<kSigmoid, float>(of_mean[i] + of_max[i]));
  }
  for (int64_t i = 0; i < args.width; ++i) {
    const int64_t pixel = item * args.width + i;
    const float* x = args.x + pixel * args.x_stride;
    const float* add = args.add ? args.add + pixel * channels : nullptr;
    const float weight = scratch[i];
    for_vectors<float>(channels, [&](int64_t c, int n) MAMBASEG_INLINE_LAMBDA {
      const Vec<float> value = add ? load_first(x + c, n) + load_first(add + c, n) : load_first(x + c, n);
      store_first(args.y + pixel * channels + c, value * weight, n);
    });
  }
}

static void weight_maps(const ThreeWeightsArgs& args, int64_t item, float*) {
  const int64_t batch = item / args.height, y = item % args.height, channels = args.channels;
  clear_borders(args.maps, batch, y, args.height, args.width);
  float* to[kWeightMaps];
  for (int64_t i = 0; i < kWeightMaps; ++i) to[i] = plane_row(args.maps, batch, i, y, args.height) + args.maps.pad;
  const float share = 1.0f / static_cast<float>(channels);
  for (int64_t first = 0; first < args.width; first += kLanes<float>) {
    const int pixels = lanes_left(args.width, first);
    Vec<float> sum_a[kLanes<float>]{}, sum_b[kLanes<float>]{}, high[3][kLanes<float>]{};
    for (int i = 0; i < pixels; ++i) {
      const float* a = args.a + (item * args.width + first + i) * channels;
      const float* b = args.b + (item * args.width + first + i) * channels;
      Vec<float> total_a{}, total_b{}, high_a = splat(kLowest), high_b = high_a, high_both = high_a;
      for_vectors<float>(channels, [&](int64_t c, int n) MAMBASEG_INLINE_LAMBDA {
        total_a += load_first(a + c, n);
        total_b += load_first(b + c, n);
        const Vec<float> value_a = load_or(a + c, n, kLowest), value_b = load_or(b + c, n, kLowest);
        high_a = larger(high_a, value_a);
        high_b = larger(high_b, value_b);
        high_both = larger(high_both, (value_a + value_b) * 0.5f);
      });
      sum_a[i] = total_a;
      sum_b[i] = total_b;
      high[0][i] = high_a;
      high[1][i] = high_b;
      high[2][i] = high_both;
    }
    const Vec<float> mean_a = lane_sums<float>(sum_a) * share, mean_b = lane_sums<float>(sum_b) * share;
    store_first(to[0] + first, mean_a, pixels);
    store_first(to[1] + first, lane_maxima(high[0]), pixels);
    store_first(to[2] + first, mean_b, pixels);
    store_first(to[3] + first, lane_maxima(high[1]), pixels);
    store_first(to[4] + first, (mean_a + mean_b) * 0.5f, pixels);
    store_first(to[5] + first, lane_maxima(high[2]), pixels);
  }
}

// Weights of 2 vectors of pixels, from the window's first value for lane 0 of the first plane.
MAMBASEG_INLINE void weigh_pixels(const ThreeWeightsArgs& args, const float* from, int64_t plane, float* to,
                                  int64_t to_stride) {
  constexpr int kTogether = 4;  // hidden maps
  Vec<float> logits[3][2];
  for (int k = 0; k < 3; ++k) logits[k][0] = logits[k][1] = splat(args.bias2[k]);
  for (int first = 0; first < kHidden; first += kTogether) {
    Vec<float> hidden[kTogether][2];
#pragma GCC unroll 4
    for (int o = 0; o < kTogether; ++o) hidden[o][0] = hidden[o][1] = splat(args.bias1[first + o]);
    const float* weight = args.conv1 + first * kWeightMaps * 9;
    for (int64_t row = 0; row < kWeightMaps * 3; ++row) {
      const float* at = from + row / 3 * plane + row % 3 * args.maps.stride;
#pragma GCC unroll 3
      for (int dx = 0; dx < 3; ++dx, ++weight) {
        const Vec<float> x0 = load(at + dx), x1 = load(at + dx + kLanes<float>);
#pragma GCC unroll 4
        for (int o = 0; o < kTogether; ++o) {
          hidden[o][0] += weight[o * kWeightMaps * 9] * x0;
          hidden[o][1] += weight[o * kWeightMaps * 9] * x1;
        }
      }
    }
    for (int o = 0; o < kTogether; ++o)
      for (int k = 0; k < 3; ++k)
        for (int i = 0; i < 2; ++i)
          logits[k][i] += args.conv2[k * kHidden + first + o] * positive_part<float>(hidden[o][i]);
  }
  for (int k = 0; k < 3; ++k)
    for (int i = 0; i < 2; ++i) store(to + k * to_stride + i * kLanes<float>, activate<kSigmoid, float>(logits[k][i]));
}

static void three_weights(const ThreeWeightsArgs& args, int64_t item, float* scratch) {
  const int64_t batch = item / args.height, y = item % args.height, channels = args.channels;
  const int64_t stride = args.maps.stride, plane = (args.height + 2 * args.maps.pad) * stride;
  const float* from = plane_row(args.maps, batch, 0, y - args.maps.pad, args.height);
  for (int64_t x = 0; x < args.width; x += 2 * kLanes<float>)
    weigh_pixels(args, from + x, plane, scratch + x, stride);
  for (int64_t i = 0; i < args.width; ++i) {
    const int64_t pixel = item * args.width + i;
    const float* a = args.a + pixel * channels;
    const float* b = args.b + pixel * channels;
    float* to = args.y + pixel * 3 * channels;
    const float of_a = scratch[i], of_b = scratch[stride + i], of_both = 0.5f * scratch[2 * stride + i];
    for_vectors<float>(channels, [&](int64_t c, int n) MAMBASEG_INLINE_LAMBDA {
      const Vec<float> value_a = load_first(a + c, n), value_b = load_first(b + c, n);
      store_first(to + c, value_a * of_a, n);
      store_first(to + channels + c, value_b * of_b, n);
      store_first(to + 2 * channels + c, (value_a + value_b) * of_both, n);
    });
  }
}

// Sums and maxima over a slot's positions, summed up in runs, so that rounding errors stay small.
static void channel_parts(const ChannelArgs& args, int64_t item, float*) {
  constexpr int64_t kRun = 64;
  const int64_t channels = args.channels, maps = args.b ? 2 : 1, slot = item % args.slots;
  const int64_t map = item / args.slots % maps, batch = item / args.slots / maps;
  const int64_t begin = slot * args.positions / args.slots, end = (slot + 1) * args.positions / args.slots;
  const float* from = (map ? args.b : args.a) + batch * args.positions * channels;
  float* sums = args.parts + item * 2 * channels;
  float* maxima = sums + channels;
  clear(sums, 0, channels);
  for (int64_t c = 0; c < channels; ++c) maxima[c] = kLowest;
  for (int64_t first = begin; first < end; first += kRun) {
    const int64_t last = end - first < kRun ? end : first + kRun;
    for_vectors<float>(channels, [&](int64_t c, int n) MAMBASEG_INLINE_LAMBDA {
      Vec<float> sum{}, highest = load_first(maxima + c, n);
      for (int64_t i = first; i < last; ++i) {
        const Vec<float> value = load_first(from + i * channels + c, n);
        sum += value;
        highest = larger(highest, value);
      }
      store_first(sums + c, load_first(sums + c, n) + sum, n);
      store_first(maxima + c, highest, n);
    });
  }
}

static float dot(const float* a, const float* b, int64_t count) {
  Vec<float> sum{};
  int64_t i = 0;
  for (; i + kLanes<float> <= count; i += kLanes<float>) sum += load(a + i) * load(b + i);
  float total = 0.0f;
  for (; i < count; ++i) total += a[i] * b[i];
  for (int lane = 0; lane < kLanes<float>; ++lane) total += sum[lane];
  return total;
}

template <int kActivation>
static void channel_weights_of(const ChannelArgs& args, int64_t item, float* scratch) {
  const int64_t channels = args.channels, maps = args.b ? 2 : 1, all = maps * channels;
  float *means = scratch, *maxima = means + all, *hidden = maxima + all;
  for (int64_t i = 0; i < all; ++i) {
    const float* part = args.parts + (item * maps + i / channels) * args.slots * 2 * channels + i % channels;
    float sum = 0.0f, highest = kLowest;
    for (int64_t slot = 0; slot < args.slots; ++slot, part += 2 * channels) {
      sum += part[0];
      highest = part[channels] > highest ? part[channels] : highest;
    }
    means[i] = sum / static_cast<float>(args.positions);
    maxima[i] = highest;
  }
  for (int64_t r = 0; r < 2 * args.hidden; ++r) {
    const float value = dot(args.fc1 + r % args.hidden * all, r < args.hidden ? means : maxima, all);
    hidden[r] = activate<kActivation, float>(splat(value))[0];
  }
  for (int64_t i = 0; i < all; ++i) {
    const float* weight = args.fc2 + i * args.hidden;
    const float value = dot(weight, hidden, args.hidden) + dot(weight, hidden + args.hidden, args.hidden);
    args.y[item * all + i] = activate<kSigmoid, float>(splat(value))[0];
  }
}

static void channel_weights(const ChannelArgs& args, int64_t item, float* scratch) {
  switch (args.activation) {
    case kRelu: return channel_weights_of<kRelu>(args, item, scratch);
    case kGelu: return channel_weights_of<kGelu>(args, item, scratch);
    case kSilu: return channel_weights_of<kSilu>(args, item, scratch);
    case kSigmoid: return channel_weights_of<kSigmoid>(args, item, scratch);
    default: return channel_weights_of<kNone>(args, item, scratch);
  }
}
