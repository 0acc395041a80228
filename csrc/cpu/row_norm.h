// LayerNorm of rows. Included per instruction set, after vec.h.

// Calls f(first, count) for each vector of a row; count is less than kLanes only for the last.
template <class S, class F>
MAMBASEG_INLINE void for_vectors(int64_t channels, const F& f) {
  int64_t c = 0;
  for (; c + kLanes<S> <= channels; c += kLanes<S>) f(c, kLanes<S>);
  if (c < channels) f(c, static_cast<int>(channels - c));
}

MAMBASEG_INLINE float square_root(float x) { return __builtin_sqrtf(x); }
MAMBASEG_INLINE double square_root(double x) { return __builtin_sqrt(x); }

// Normalizes `count` <= kLanes rows [C]: one vector holds the means of all, another the deviations. Calls
// put(row, channel, values, count of channels), which may write into `from` at that place.
template <class S, class Put>
static void normalize_some(const S* from, int count, int64_t channels, const Norm<S>& norm, const Put& put) {
  Vec<S> sums[kLanes<S>] = {};
  S mean[kLanes<S>], scale[kLanes<S>];
  for (int i = 0; i < count; ++i) {
    const S* row = from + i * channels;
    Vec<S> sum{};
    for_vectors<S>(channels, [&](int64_t c, int n) { sum += load_first(row + c, n); });
    sums[i] = sum;
  }
  store(mean, lane_sums<S>(sums) / S(channels));
  for (int i = 0; i < count; ++i) {
    const S* row = from + i * channels;
    const S middle = mean[i];
    Vec<S> sum{};
    for_vectors<S>(channels, [&](int64_t c, int n) {
      const Vec<S> centered = first_lanes<S>(load_first(row + c, n) - middle, n);
      sum += centered * centered;
    });
    sums[i] = sum;
  }
  store(scale, lane_sums<S>(sums) / S(channels) + norm.eps);
  // NaN where the squares overflow: with a scale of 0 the row would be the bias, as if nothing were wrong
  for (int i = 0; i < kLanes<S>; ++i) scale[i] = S(1) / square_root(scale[i]) + (scale[i] - scale[i]);
  for (int i = 0; i < count; ++i) {
    const S* row = from + i * channels;
    const S middle = mean[i], factor = scale[i];
    for_vectors<S>(channels, [&](int64_t c, int n) {
      Vec<S> y = (load_first(row + c, n) - middle) * factor * load_first(norm.weight + c, n);
      if (norm.bias) y += load_first(norm.bias + c, n);
      put(i, c, y, n);
    });
  }
}

template <class S, class Put>
static void normalize_rows(const S* from, int64_t rows, int64_t channels, const Norm<S>& norm, const Put& put) {
  for (int64_t i = 0; i < rows; i += kLanes<S>) {
    const int count = rows - i < kLanes<S> ? static_cast<int>(rows - i) : kLanes<S>;
    normalize_some<S>(from + i * channels, count, channels, norm,
                      [&](int64_t row, int64_t c, Vec<S> y, int n) { put(i + row, c, y, n); });
  }
}

// `to` may be `from`.
template <class S>
static void normalize(const S* from, int64_t rows, int64_t channels, const Norm<S>& norm, S* to) {
  normalize_rows<S>(from, rows, channels, norm,
                    [&](int64_t row, int64_t c, Vec<S> y, int n) { store_first(to + row * channels + c, y, n); });
}
