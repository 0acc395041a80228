// Depthwise 3x3 convolution and LayerNorm, each with an activation.

// All lanes of a vector.
struct Whole {
  MAMBASEG_INLINE_METHOD Vec<float> from(const float* x) const { return load(x); }
  MAMBASEG_INLINE_METHOD Vec<float> from(const float* x, float) const { return load(x); }
  MAMBASEG_INLINE_METHOD void to(float* y, Vec<float> value) const { store(y, value); }
};

// The first `count` lanes; the others are zero, or `rest`.
struct Part {
  int count;
  MAMBASEG_INLINE_METHOD Vec<float> from(const float* x) const { return load_first(x, count); }
  MAMBASEG_INLINE_METHOD Vec<float> from(const float* x, float rest) const {
    Vec<float> value = splat(rest);
    for (int i = 0; i < count; ++i) value[i] = x[i];
    return value;
  }
  MAMBASEG_INLINE_METHOD void to(float* y, Vec<float> value) const { store_first(y, value, count); }
};

// Calls f(c, lanes) for each vector of channels.
template <class F>
MAMBASEG_INLINE void each_vector(int64_t channels, const F& f) {
  int64_t c = 0;
  for (; c + kLanes<float> <= channels; c += kLanes<float>) f(c, Whole{});
  if (c < channels) f(c, Part{static_cast<int>(channels - c)});
}

// Pixels from `first` on, a vector of them at most.
MAMBASEG_INLINE int lanes_left(int64_t width, int64_t first) {
  return width - first < kLanes<float> ? static_cast<int>(width - first) : kLanes<float>;
}

// Convolves kTilePixels neighbors and stores the first `pixels`. rows: three rows from the pixel to the left on.
template <int kActivation, bool kAll>
static void depthwise_tile(const DepthwiseArgs& args, const float* const* rows, float* to, int64_t pixels) {
  const int64_t channels = args.channels;
  each_vector(channels, [&](int64_t c, auto lanes) MAMBASEG_INLINE_LAMBDA {
    Vec<float> sums[kTilePixels];
    const Vec<float> start = args.bias ? lanes.from(args.bias + c) : Vec<float>{};
#pragma GCC unroll 4
    for (int i = 0; i < kTilePixels; ++i) sums[i] = start;
#pragma GCC unroll 1  // so that all vectors of a row stay in registers
    for (int row = 0; row < 3; ++row) {
      const float* weight = args.weight + row * 3 * channels + c;
      const Vec<float> w0 = lanes.from(weight), w1 = lanes.from(weight + channels), w2 = lanes.from(weight + 2 * channels);
      Vec<float> x[kTilePixels + 2];
#pragma GCC unroll 6
      for (int i = 0; i < kTilePixels + 2; ++i) x[i] = lanes.from(rows[row] + i * channels + c);
#pragma GCC unroll 4
      for (int i = 0; i < kTilePixels; ++i) {
        sums[i] += w0 * x[i];
        sums[i] += w1 * x[i + 1];
        sums[i] += w2 * x[i + 2];
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kTilePixels; ++i) sums[i] = activate<kActivation, float>(sums[i]);
#pragma GCC unroll 4
    for (int i = 0; i < kTilePixels; ++i)
      if (kAll || i < pixels) lanes.to(to + i * channels + c, sums[i]);
  });
}

// Copies the window of a tile at a border to scratch, with zeros outside the map.
static void depthwise_window(const DepthwiseArgs& args, const float* map, int64_t y, int64_t x, float* scratch) {
  const int64_t channels = args.channels;
  for (int64_t row = y - 1; row <= y + 1; ++row)
    for (int64_t column = x - 1; column <= x + kTilePixels; ++column, scratch += channels) {
      const bool inside = row >= 0 && row < args.height && column >= 0 && column < args.width;
      const float* from = map + (row * args.width + column) * channels;
      each_vector(channels, [&](int64_t c, auto lanes) MAMBASEG_INLINE_LAMBDA {
        lanes.to(scratch + c, inside ? lanes.from(from + c) : Vec<float>{});
      });
    }
}

template <int kActivation>
static void depthwise_row(const DepthwiseArgs& args, int64_t item, float* scratch) {
  const int64_t channels = args.channels, line = args.width * channels, y = item % args.height;
  const float* map = args.x + (item - y) * line;
  const bool between = y > 0 && y + 1 < args.height;
  for (int64_t x = 0; x < args.width; x += kTilePixels) {
    const int64_t left = args.width - x, size = (kTilePixels + 2) * channels;
    const float* rows[3] = {scratch, scratch + size, scratch + 2 * size};
    if (between && x > 0 && left > kTilePixels) {
      for (int i = 0; i < 3; ++i) rows[i] = map + (y - 1 + i) * line + (x - 1) * channels;
    } else {
      depthwise_window(args, map, y, x, scratch);
    }
    float* to = args.y + item * line + x * channels;
    if (left >= kTilePixels) {
      depthwise_tile<kActivation, true>(args, rows, to, kTilePixels);
    } else {
      depthwise_tile<kActivation, false>(args, rows, to, left);
    }
  }
}

static void depthwise(const DepthwiseArgs& args, int64_t item, float* scratch) {
  switch (args.activation) {
    case kRelu: return depthwise_row<kRelu>(args, item, scratch);
    case kGelu: return depthwise_row<kGelu>(args, item, scratch);
    case kSilu: return depthwise_row<kSilu>(args, item, scratch);
    case kSigmoid: return depthwise_row<kSigmoid>(args, item, scratch);
    default: return depthwise_row<kNone>(args, item, scratch);
  }
}

// Sums of `count` rows in the lanes; term(c, lanes, row) is what is added up of each vector.
template <class Term>
MAMBASEG_INLINE Vec<float> row_sums(int64_t channels, int count, const Term& term) {
  Vec<float> sums[kLanes<float>]{};
  for (int i = 0; i < count; ++i) {
    Vec<float> sum{};
    each_vector(channels, [&](int64_t c, auto lanes) MAMBASEG_INLINE_LAMBDA { sum += term(c, lanes, i); });
    sums[i] = sum;
  }
  return lane_sums<float>(sums);
}

template <int kActivation>
static void norm_rows(const NormArgs& args, int64_t item) {
  const int64_t channels = args.channels, first = item * kLanes<float>;
  const int count = lanes_left(args.rows, first);
  const float* from = args.x + first * channels;
  float* to = args.y + first * channels;
  const float share = 1.0f / static_cast<float>(channels);
  const Vec<float> mean = row_sums(channels, count, [&](int64_t c, auto lanes, int row) MAMBASEG_INLINE_LAMBDA {
                            return lanes.from(from + row * channels + c);
                          }) * share;
  const Vec<float> variance = row_sums(channels, count, [&](int64_t c, auto lanes, int row) MAMBASEG_INLINE_LAMBDA {
                                const Vec<float> off = lanes.from(from + row * channels + c, mean[row]) - mean[row];
                                return off * off;
                              }) * share;
  for (int i = 0; i < count; ++i) {
    const float rate = 1.0f / __builtin_sqrtf(variance[i] + args.eps), offset = mean[i];
    each_vector(channels, [&](int64_t c, auto lanes) MAMBASEG_INLINE_LAMBDA {
      const Vec<float> normal = (lanes.from(from + i * channels + c) - offset) * rate;
      const Vec<float> y = normal * lanes.from(args.weight + c) + lanes.from(args.bias + c);
      lanes.to(to + i * channels + c, activate<kActivation, float>(y));
    });
  }
}

static void norm(const NormArgs& args, int64_t item, float*) {
  switch (args.activation) {
    case kRelu: return norm_rows<kRelu>(args, item);
    case kGelu: return norm_rows<kGelu>(args, item);
    case kSilu: return norm_rows<kSilu>(args, item);
    case kSigmoid: return norm_rows<kSigmoid>(args, item);
    default: return norm_rows<kNone>(args, item);
  }
}
