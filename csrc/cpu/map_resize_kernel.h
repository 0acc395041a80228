// Bilinear resizing with what follows it, and means over regions.

// Window i of n along a length, as in adaptive pooling.
MAMBASEG_INLINE int64_t window_begin(int64_t i, int64_t count, int64_t length) { return i * length / count; }
MAMBASEG_INLINE int64_t window_end(int64_t i, int64_t count, int64_t length) {
  return ((i + 1) * length + count - 1) / count;
}

static void region(const RegionArgs& args, int64_t item, float*) {
  const int64_t batch = item / args.rows, row = item % args.rows, channels = args.channels;
  const int64_t top = window_begin(row, args.rows, args.height), bottom = window_end(row, args.rows, args.height);
  for (int64_t column = 0; column < args.columns; ++column) {
    const int64_t left = window_begin(column, args.columns, args.width);
    const int64_t right = window_end(column, args.columns, args.width);
    const float share = 1.0f / static_cast<float>((bottom - top) * (right - left));
    for_vectors<float>(channels, [&](int64_t c, int n) MAMBASEG_INLINE_LAMBDA {
      Vec<float> total{};
      for (int64_t y = top; y < bottom; ++y) {
        const float* from = args.x + (batch * args.height + y) * args.width * channels + c;
        Vec<float> sum{};
        for (int64_t x = left; x < right; ++x) sum += load_first(from + x * channels, n);
        total += sum;
      }
      total *= share;
      if (args.scale) total *= load_first(args.scale + batch * channels + c, n);
      store_first(args.y + (item * args.columns + column) * channels + c, total, n);
    });
  }
}

// Writes a row between two rows of `small`, [w, C], with pixels `stride` apart.
MAMBASEG_INLINE void row_between(const ResizeArgs& args, int64_t batch, int64_t y, float* to, int64_t stride) {
  const int64_t channels = args.channels, line = args.from_width * channels;
  const float* map = args.small + batch * args.from_height * line;
  const float *low = map + args.rows.low[y] * line, *high = map + args.rows.high[y] * line;
  const float share = args.rows.share[y], rest = 1.0f - share;
  for (int64_t x = 0; x < args.from_width; ++x, to += stride, low += channels, high += channels)
    for_vectors<float>(channels, [&](int64_t c, int n) MAMBASEG_INLINE_LAMBDA {
      store_first(to + c, load_first(low + c, n) * rest + load_first(high + c, n) * share, n);
    });
}

template <int kActivation>
static void add_resized_row(const ResizeArgs& args, int64_t item, float* scratch) {
  const int64_t batch = item / args.height, y = item % args.height, channels = args.channels;
  if (!args.same) row_between(args, batch, y, scratch, channels);
  const float* scale = args.scale ? args.scale + batch * channels : nullptr;
  for (int64_t x = 0; x < args.width; ++x) {
    const int64_t at = (item * args.width + x) * channels;
    const float *low = args.small + at, *high = low;
    if (!args.same) low = scratch + args.columns.low[x] * channels, high = scratch + args.columns.high[x] * channels;
    const float share = args.same ? 0.0f : args.columns.share[x], rest = 1.0f - share;
    for_vectors<float>(channels, [&](int64_t c, int n) MAMBASEG_INLINE_LAMBDA {
      Vec<float> value = load_first(args.x + at + c, n);
      if (scale) value *= load_first(scale + c, n);
      const Vec<float> near = load_first(low + c, n);
      value += args.same ? near : near * rest + load_first(high + c, n) * share;
      store_first(args.y + at + c, activate<kActivation, float>(value), n);
    });
  }
}

static void add_resized(const ResizeArgs& args, int64_t item, float* scratch) {
  switch (args.activation) {
    case kRelu: return add_resized_row<kRelu>(args, item, scratch);
    case kGelu: return add_resized_row<kGelu>(args, item, scratch);
    case kSilu: return add_resized_row<kSilu>(args, item, scratch);
    case kSigmoid: return add_resized_row<kSigmoid>(args, item, scratch);
    default: return add_resized_row<kNone>(args, item, scratch);
  }
}

// Resizes the logits of kLanes pixels: logits[k] has class k of all of them. row: [w, stride].
MAMBASEG_INLINE void logits_between(const ResizeArgs& args, const float* row, int64_t stride, int64_t x,
                                    Vec<float>* logits) {
  const int32_t *low = args.columns.low + x, *high = args.columns.high + x;
  for (int64_t k = 0; k < stride; k += kLanes<float>) {
    Vec<float> pixels[kLanes<float>];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes<float>; ++i) {
      const float share = args.columns.share[x + i];
      pixels[i] = load(row + low[i] * stride + k) * (1.0f - share) + load(row + high[i] * stride + k) * share;
    }
    transpose<float>(pixels);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes<float>; ++i) logits[k + i] = pixels[i];
  }
}

static void mask(const ResizeArgs& args, int64_t item, float* scratch) {
  using Bits = VecOf<float>::bits;
  const int64_t classes = args.channels, stride = (classes + kLanes<float> - 1) / kLanes<float> * kLanes<float>;
  clear(scratch, 0, args.from_width * stride);
  row_between(args, item / args.height, item % args.height, scratch, stride);
  Vec<float> spoiled{};  // NaN where a logit is not finite
  for (int64_t x = 0; x < args.width; x += kLanes<float>) {
    Vec<float> logits[kMaxClasses];
    logits_between(args, scratch, stride, x, logits);
    Vec<float> highest = logits[0], sum{};
    Bits ids{};
    for (int64_t k = 0; k < classes; ++k) {
      spoiled += logits[k] - logits[k];
      const Bits above = logits[k] > highest;
      highest = larger(highest, logits[k]);
      ids = (above & static_cast<int32_t>(k)) | (~above & ids);
    }
    for (int64_t k = 0; k < classes; ++k) sum += exp2((logits[k] - highest) * static_cast<float>(kLog2E));
    const int pixels = lanes_left(args.width, x);
    store_first(args.confidence + item * args.width + x, 1.0f / sum, pixels);
    for (int i = 0; i < pixels; ++i) args.ids[item * args.width + x + i] = static_cast<uint8_t>(ids[i]);
  }
  float total = 0.0f;
  for (int i = 0; i < kLanes<float>; ++i) total += spoiled[i];
  args.finite[item] = total == 0.0f ? 1.0f : 0.0f;
}
