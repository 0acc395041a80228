// Depthwise 3x3 convolution and LayerNorm, each with an activation.

// Loads the first `count` lanes; the others are `rest`.
MAMBASEG_INLINE Vec<float> load_or(const float* from, int count, float rest) {
  if (__builtin_expect(count == kLanes<float>, 1)) return load(from);
  Vec<float> value = splat(rest);
  for (int i = 0; i < count; ++i) value[i] = from[i];
  return value;
}

MAMBASEG_INLINE int lanes_left(int64_t channels, int64_t c) {
  return channels - c < kLanes<float> ? static_cast<int>(channels - c) : kLanes<float>;
}

// Convolves kTilePixels neighbors and stores the first `pixels`. rows: three rows from the pixel to the left on.
template <int kActivation>
static void depthwise_tile(const DepthwiseArgs& args, const float* const* rows, float* to, int64_t pixels) {
  const int64_t channels = args.channels;
  for (int64_t c = 0; c < channels; c += kLanes<float>) {
    const int count = lanes_left(channels, c);
    Vec<float> sums[kTilePixels];
    const Vec<float> start = args.bias ? load_first(args.bias + c, count) : Vec<float>{};
#pragma GCC unroll 4
    for (int i = 0; i < kTilePixels; ++i) sums[i] = start;
#pragma GCC unroll 3
    for (int row = 0; row < 3; ++row) {
      const float* weight = args.weight + row * 3 * channels + c;
      const Vec<float> w0 = load_first(weight, count), w1 = load_first(weight + channels, count),
                       w2 = load_first(weight + 2 * channels, count);
      Vec<float> x[kTilePixels + 2];
#pragma GCC unroll 6
      for (int i = 0; i < kTilePixels + 2; ++i) x[i] = load_first(rows[row] + i * channels + c, count);
#pragma GCC unroll 4
      for (int i = 0; i < kTilePixels; ++i) {
        sums[i] += w0 * x[i];
        sums[i] += w1 * x[i + 1];
        sums[i] += w2 * x[i + 2];
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kTilePixels; ++i)
      if (i < pixels) store_first(to + i * channels + c, activate<kActivation, float>(sums[i]), count);
  }
}

// Copies the window of a tile at a border to scratch, with zeros outside the map.
static void depthwise_window(const DepthwiseArgs& args, const float* map, int64_t y, int64_t x, float* scratch) {
  const int64_t channels = args.channels;
  for (int64_t row = y - 1; row <= y + 1; ++row)
    for (int64_t column = x - 1; column <= x + kTilePixels; ++column, scratch += channels) {
      const bool inside = row >= 0 && row < args.height && column >= 0 && column < args.width;
      const float* from = map + (row * args.width + column) * channels;
      for (int64_t c = 0; c < channels; ++c) scratch[c] = inside ? from[c] : 0.0f;
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
    depthwise_tile<kActivation>(args, rows, args.y + item * line + x * channels, left < kTilePixels ? left : kTilePixels);
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

// Sums of `count` rows, `stride` apart, in the lanes; term(vector, row, lanes) is what is added up of each vector.
template <class Term>
MAMBASEG_INLINE Vec<float> row_sums(const float* from, int64_t stride, int64_t channels, int count, const Term& term) {
  Vec<float> sums[kLanes<float>];
  for (int i = 0; i < kLanes<float>; ++i) {
    sums[i] = Vec<float>{};
    if (i >= count) continue;
    for (int64_t c = 0; c < channels; c += kLanes<float>) {
      const int lanes = lanes_left(channels, c);
      sums[i] += term(from + i * stride + c, i, lanes);
    }
  }
  return lane_sums<float>(sums);
}

template <int kActivation>
static void norm_rows(const NormArgs& args, int64_t item) {
  const int64_t channels = args.channels, first = item * kLanes<float>, left = args.rows - first;
  const int count = left < kLanes<float> ? static_cast<int>(left) : kLanes<float>;
  const float* from = args.x + first * channels;
  float* to = args.y + first * channels;
  const float share = 1.0f / static_cast<float>(channels);
  const Vec<float> mean =
      row_sums(from, channels, channels, count,
               [](const float* x, int, int lanes) { return load_first(x, lanes); }) * share;
  const Vec<float> variance =
      row_sums(from, channels, channels, count, [&](const float* x, int row, int lanes) {
        const Vec<float> difference = load_or(x, lanes, mean[row]) - mean[row];
        return difference * difference;
      }) * share;
  for (int i = 0; i < count; ++i) {
    const float rate = 1.0f / __builtin_sqrtf(variance[i] + args.eps), offset = mean[i];
    for (int64_t c = 0; c < channels; c += kLanes<float>) {
      const int lanes = lanes_left(channels, c);
      const Vec<float> normal = (load_first(from + i * channels + c, lanes) - offset) * rate;
      const Vec<float> y = normal * load_first(args.weight + c, lanes) + load_first(args.bias + c, lanes);
      store_first(to + i * channels + c, activate<kActivation, float>(y), lanes);
    }
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
