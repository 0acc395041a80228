// Vector of the instruction set that the including file is compiled for, and the few functions that a scan needs.
//
// Included once per instruction set, inside its own namespace. Nothing here may call an inline function of another
// header: the linker keeps one copy of such functions, perhaps the one with instructions that this machine lacks.

template <class S>
struct VecOf;
template <>
struct VecOf<float> {
  typedef float type __attribute__((vector_size(MAMBASEG_VECTOR_BYTES)));
  typedef int32_t bits __attribute__((vector_size(MAMBASEG_VECTOR_BYTES)));
  typedef float loose __attribute__((vector_size(MAMBASEG_VECTOR_BYTES), aligned(4), may_alias));
};
template <>
struct VecOf<double> {
  typedef double type __attribute__((vector_size(MAMBASEG_VECTOR_BYTES)));
  typedef int64_t bits __attribute__((vector_size(MAMBASEG_VECTOR_BYTES)));
  typedef double loose __attribute__((vector_size(MAMBASEG_VECTOR_BYTES), aligned(8), may_alias));
};
template <class S>
using Vec = typename VecOf<S>::type;
template <class S>
constexpr int kLanes = MAMBASEG_VECTOR_BYTES / static_cast<int>(sizeof(S));

#if defined(__clang__)
#define MAMBASEG_INLINE static inline __attribute__((always_inline))
#else
#define MAMBASEG_INLINE static inline __attribute__((always_inline, artificial))
#endif

#define MAMBASEG_INLINE_METHOD inline __attribute__((always_inline))
#define MAMBASEG_INLINE_LAMBDA __attribute__((always_inline))

template <class S>
MAMBASEG_INLINE Vec<S> splat(S value) {
  return Vec<S>{} + value;
}

template <class S>
MAMBASEG_INLINE Vec<S> load(const S* from) {
  return *reinterpret_cast<const typename VecOf<S>::loose*>(from);
}

template <class S>
MAMBASEG_INLINE void store(S* to, Vec<S> value) {
  *reinterpret_cast<typename VecOf<S>::loose*>(to) = value;
}

// The first lanes in one instruction. These instruction sets have float kernels only; AddressSanitizer does not see
// the accesses, so its build goes without.
#if defined(__SANITIZE_ADDRESS__)
#define MAMBASEG_MASKED 0
#elif MAMBASEG_VECTOR_BYTES == 64
#define MAMBASEG_MASKED 1
MAMBASEG_INLINE Vec<float> masked_load(const float* from, int count) {
  return (Vec<float>)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
}
MAMBASEG_INLINE void masked_store(float* to, Vec<float> value, int count) {
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), (__m512)value);
}
#elif MAMBASEG_VECTOR_BYTES == 32
#define MAMBASEG_MASKED 1
MAMBASEG_INLINE __m256i first_bits(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
MAMBASEG_INLINE Vec<float> masked_load(const float* from, int count) {
  return (Vec<float>)_mm256_maskload_ps(from, first_bits(count));
}
MAMBASEG_INLINE void masked_store(float* to, Vec<float> value, int count) {
  _mm256_maskstore_ps(to, first_bits(count), (__m256)value);
}
#else
#define MAMBASEG_MASKED 0
#endif

// The first `count` lanes; the others are zero.
template <class S>
MAMBASEG_INLINE Vec<S> first_lanes(Vec<S> value, int count) {
  if (__builtin_expect(count == kLanes<S>, 1)) return value;
  typename VecOf<S>::bits lane;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes<S>; ++i) lane[i] = i;
  return lane < count ? value : Vec<S>{};
}

// Loads the first `count` lanes; the others are zero.
template <class S>
MAMBASEG_INLINE Vec<S> load_first(const S* from, int count) {
  if (__builtin_expect(count == kLanes<S>, 1)) return load(from);
#if MAMBASEG_MASKED
  return masked_load(from, count);
#else
  Vec<S> value{};
  for (int i = 0; i < count; ++i) value[i] = from[i];
  return value;
#endif
}

template <class S>
MAMBASEG_INLINE void store_first(S* to, Vec<S> value, int count) {
  if (__builtin_expect(count == kLanes<S>, 1)) return store(to, value);
#if MAMBASEG_MASKED
  masked_store(to, value, count);
#else
  for (int i = 0; i < count; ++i) to[i] = value[i];
#endif
}

// ---- exponentials ------------------------------------------------------------------------------------------------

// 2^r on [-1/2, 1/2], relative error 9e-8. The constant term is exactly 1, so that slow decays (r near 0) do not drift.
MAMBASEG_INLINE Vec<float> exp2_fraction(Vec<float> r) {
  Vec<float> p = splat(0.001326472719f);
  p = p * r + 0.00967151264f;
  p = p * r + 0.05550733743f;
  p = p * r + 0.2402224209f;
  p = p * r + 0.6931469776f;
  return p * r + 1.0f;
}

// Taylor series of exp(r ln 2), |r| <= 1/2: the first term left out is below 1e-17.
MAMBASEG_INLINE Vec<double> exp2_fraction(Vec<double> r) {
  const Vec<double> x = r * 0.69314718055994530942;
  Vec<double> p = splat(1.0);
  for (int i = 14; i >= 1; --i) p = p * x * (1.0 / i) + 1.0;
  return p;
}

// Adding 1.5 * 2^(mantissa bits) leaves the nearest integer in the low bits.
template <class S>
struct Rounding;
template <>
struct Rounding<float> {
  static constexpr float magic = 12582912.0f, low = -127.0f, high = 128.0f;
  static constexpr int bias = 127, mantissa = 23;
};
template <>
struct Rounding<double> {
  static constexpr double magic = 6755399441055744.0, low = -1023.0, high = 1024.0;
  static constexpr int bias = 1023, mantissa = 52;
};

template <class S>
MAMBASEG_INLINE Vec<S> exp2_portable(Vec<S> x) {
  using Bits = typename VecOf<S>::bits;
  using R = Rounding<S>;
  x = x < R::low ? splat(R::low) : x;  // a NaN fails both comparisons and stays
  x = x > R::high ? splat(R::high) : x;
  const Vec<S> shifted = x + R::magic;
  const Vec<S> r = x - (shifted - R::magic);
  const Bits integer = (Bits)shifted - (Bits)splat(R::magic);
  const Vec<S> scale = (Vec<S>)((integer + R::bias) << R::mantissa);
  return exp2_fraction(r) * scale;
}

#if defined(__AVX512DQ__) && MAMBASEG_VECTOR_BYTES == 64
MAMBASEG_INLINE Vec<float> exp2(Vec<float> x) {
  const Vec<float> r = (Vec<float>)_mm512_reduce_ps((__m512)x, 0);  // x minus the nearest integer
  return (Vec<float>)_mm512_scalef_ps((__m512)exp2_fraction(r), (__m512)(x - r));
}
#else
MAMBASEG_INLINE Vec<float> exp2(Vec<float> x) { return exp2_portable<float>(x); }
#endif
MAMBASEG_INLINE Vec<double> exp2(Vec<double> x) { return exp2_portable<double>(x); }

constexpr double kLog2E = 1.44269504088896340736;

// log(1 + z) for z in 0..1. The polynomial approximates log(1 + z) / z: relative error 4e-8, and no division.
MAMBASEG_INLINE Vec<float> log1p_unit(Vec<float> z) {
  Vec<float> p = splat(0.005364826185f);
  p = p * z - 0.03006579971f;
  p = p * z + 0.07920454761f;
  p = p * z - 0.1375380336f;
  p = p * z + 0.1915365541f;
  p = p * z - 0.2485716379f;
  p = p * z + 0.3332132263f;
  p = p * z - 0.4999964796f;
  return (p * z + 1.0f) * z;
}

// 2 atanh(s), s = z / (2 + z) <= 1/3, as its Taylor series to s^35.
MAMBASEG_INLINE Vec<double> log1p_unit(Vec<double> z) {
  const Vec<double> s = z / (z + 2.0), q = s * s;
  Vec<double> p = splat(1.0 / 35);
  for (int i = 33; i >= 1; i -= 2) p = p * q + 1.0 / i;
  return 2.0 * s * p;
}

// -|x|.
template <class S>
MAMBASEG_INLINE Vec<S> minus_magnitude(Vec<S> x) {
  using Bits = typename VecOf<S>::bits;
  return (Vec<S>)((Bits)x | (Bits)(-Vec<S>{}));
}

// max(x, 0); a NaN stays.
template <class S>
MAMBASEG_INLINE Vec<S> positive_part(Vec<S> x) {
#if defined(__AVX512F__) && MAMBASEG_VECTOR_BYTES == 64
  if constexpr (sizeof(S) == 4) return (Vec<S>)_mm512_max_ps(_mm512_setzero_ps(), (__m512)x);
#endif
  return x < S(0) ? Vec<S>{} : x;
}

// log(1 + exp(x)); x above 20, as in torch (in float32 the sum rounds to x there).
template <class S>
MAMBASEG_INLINE Vec<S> softplus(Vec<S> x) {
  const Vec<S> soft = positive_part<S>(x) + log1p_unit(exp2(minus_magnitude<S>(x) * S(kLog2E)));
  return sizeof(S) == 4 ? soft : (x > S(20) ? x : soft);
}

// d softplus / dx.
template <class S>
MAMBASEG_INLINE Vec<S> softplus_slope(Vec<S> x) {
  const Vec<S> slope = S(1) / (S(1) + exp2(x * S(-kLog2E)));
  return x > S(20) ? splat(S(1)) : slope;
}

// ---- rows and columns --------------------------------------------------------------------------------------------

template <class S, bool High>
MAMBASEG_INLINE Vec<S> interleave(Vec<S> a, Vec<S> b) {
  constexpr int n = kLanes<S>, h = High ? n / 2 : 0;
#if defined(__clang__)
  if constexpr (n == 16)
    return __builtin_shufflevector(a, b, h, n + h, h + 1, n + h + 1, h + 2, n + h + 2, h + 3, n + h + 3, h + 4,
                                   n + h + 4, h + 5, n + h + 5, h + 6, n + h + 6, h + 7, n + h + 7);
  else if constexpr (n == 8)
    return __builtin_shufflevector(a, b, h, n + h, h + 1, n + h + 1, h + 2, n + h + 2, h + 3, n + h + 3);
  else if constexpr (n == 4)
    return __builtin_shufflevector(a, b, h, n + h, h + 1, n + h + 1);
  else
    return __builtin_shufflevector(a, b, h, n + h);
#else
  typename VecOf<S>::bits order;
  for (int i = 0; i < n; ++i) order[i] = i / 2 + h + (i % 2) * n;
  return __builtin_shuffle(a, b, order);
#endif
}

// Transposes kLanes rows into kLanes columns: log2(kLanes) perfect shuffles.
template <class S>
MAMBASEG_INLINE void transpose(Vec<S>* rows) {
  constexpr int n = kLanes<S>;
  Vec<S> next[n];
#pragma GCC unroll 4
  for (int stage = n; stage > 1; stage /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < n / 2; ++i) {
      next[2 * i] = interleave<S, false>(rows[i], rows[i + n / 2]);
      next[2 * i + 1] = interleave<S, true>(rows[i], rows[i + n / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) rows[i] = next[i];
  }
}

// Lane i of the result is the sum over the lanes of rows[i].
template <class S>
MAMBASEG_INLINE Vec<S> lane_sums(const Vec<S>* from) {
  constexpr int n = kLanes<S>;
  Vec<S> rows[n];
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) rows[i] = from[i];
#pragma GCC unroll 4
  for (int half = n / 2; half >= 1; half /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i)
      rows[i] = interleave<S, false>(rows[i], rows[i + half]) + interleave<S, true>(rows[i], rows[i + half]);
  }
  return rows[0];
}
