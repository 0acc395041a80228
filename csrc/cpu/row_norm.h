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

// How a number of a normalized row is stored.
template <class S>
struct AsItIs {
  using Number = S;
  static MAMBASEG_INLINE_METHOD void put(S* to, Vec<S> value, int count) { store_first(to, value, count); }
};

// Normalizes `count` <= kLanes rows [C]: one vector holds the means of all, another the deviations. `to` may be `from`.
template <class S, class Stored = AsItIs<S>>
static void normalize_some(const S* from, int count, int64_t channels, const Norm<S>& norm,
                           typename Stored::Number* to, int64_t to_stride) {
  const S *weight = norm.weight, *bias = norm.bias;
  Vec<S> sums[kLanes<S>];
  for (int i = count; i < kLanes<S>; ++i) sums[i] = Vec<S>{};
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
      Vec<S> y = (load_first(row + c, n) - middle) * factor * load_first(weight + c, n);
      if (bias) y += load_first(bias + c, n);
      Stored::put(to + i * to_stride + c, y, n);
    });
  }
}

template <class S, class Stored = AsItIs<S>>
static void normalize(const S* from, int64_t rows, int64_t channels, const Norm<S>& norm,
                      typename Stored::Number* to, int64_t to_stride) {
  for (int64_t i = 0; i < rows; i += kLanes<S>) {
    const int count = rows - i < kLanes<S> ? static_cast<int>(rows - i) : kLanes<S>;
    normalize_some<S, Stored>(from + i * channels, count, channels, norm, to + i * to_stride, to_stride);
  }
}
