// Depthwise 3x3 convolution and LayerNorm, each with an activation.

// Loads the first `count` lanes; the others are `rest`.
MAMBASEG_INLINE Vec<float> load_or(const float* from, int count, float rest) {
  if (__builtin_expect(count == kLanes<float>, 1)) return load(from);
  Vec<float> value = splat(rest);
  for (int i = 0; i < count; ++i) value[i] = from[i];
  return value;
}

// Pixels from `first` on, a vector of them at most.
MAMBASEG_INLINE int lanes_left(int64_t width, int64_t first) {
  return width - first < kLanes<float> ? static_cast<int>(width - first) : kLanes<float>;
}

// Convolves kTilePixels neighbors and stores the first `pixels`. rows: three rows from the pixel to the left on.
template <int kActivation, bool kAll>
static void depthwise_tile(const DepthwiseArgs& args, const float* const* rows, float* to, int64_t pixels) {
  const int64_t channels = args.channels;
  for_vectors<float>(channels, [&](int64_t c, int n) MAMBASEG_INLINE_LAMBDA {
    Vec<float> sums[kTilePixels];
    const Vec<float> start = args.bias ? load_first(args.bias + c, n) : Vec<float>{};
#pragma GCC unroll 4
    for (int i = 0; i < kTilePixels; ++i) sums[i] = start;
#pragma GCC unroll 1  // so that all vectors of a row stay in registers
    for (int row = 0; row < 3; ++row) {
      const float* weight = args.weight + row * 3 * channels + c;
      const Vec<float> w0 = load_first(weight, n), w1 = load_first(weight + channels, n),
                       w2 = load_first(weight + 2 * channels, n);
      Vec<float> x[kTilePixels + 2];
#pragma GCC unroll 6
      for (int i = 0; i < kTilePixels + 2; ++i) x[i] = load_first(rows[row] + i * channels + c, n);
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
      if (kAll || i < pixels) store_first(to + i * channels + c, sums[i], n);
  });
}

// Copies the window of a tile at a border to scratch, with zeros outside the map.
static void depthwise_window(const DepthwiseArgs& args, const float* map, int64_t y, int64_t x, float* scratch) {
  const int64_t channels = args.channels;
  for (int64_t row = y - 1; row <= y + 1; ++row)
    for (int64_t column = x - 1; column <= x + kTilePixels; ++column, scratch += channels) {
      const bool inside = row >= 0 && row < args.height && column >= 0 && column < args.width;
      const float* from = map + (row * args.width + column) * channels;
      for_vectors<float>(channels, [&](int64_t c, int n) MAMBASEG_INLINE_LAMBDA {
        store_first(scratch + c, inside ? load_first(from + c, n) : Vec<float>{}, n);
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

template <int kActivation>
static void activate_all(float* values, int64_t count) {
  for_vectors<float>(count, [&](int64_t i, int n) MAMBASEG_INLINE_LAMBDA {
    store_first(values + i, activate<kActivation, float>(load_first(values + i, n)), n);
  });
}

static void norm(const NormArgs& args, int64_t item, float*) {
  const int64_t first = item * kLanes<float>, at = first * args.channels;
  const int rows = lanes_left(args.rows, first);
  normalize_some<float>(args.x + at, rows, args.channels, args.norm, args.y + at, args.channels);
  switch (args.activation) {
    case kRelu: return activate_all<kRelu>(args.y + at, rows * args.channels);
    case kGelu: return activate_all<kGelu>(args.y + at, rows * args.channels);
    case kSilu: return activate_all<kSilu>(args.y + at, rows * args.channels);
    case kSigmoid: return activate_all<kSigmoid>(args.y + at, rows * args.channels);
    default: return;
  }
}
