// Activations of a vector. Included per instruction set, after vec.h. A NaN stays NaN in all of them.

// max(x, -126), from which on 2^x is a normal number: those below cost AVX-512 a hundred cycles. A NaN stays.
template <class S>
MAMBASEG_INLINE Vec<S> normal_exponent(Vec<S> x) {
  return x < S(-126) ? splat(S(-126)) : x;
}

// P(|x| > t) / 2 for a standard normal x: erfc(t / sqrt(2)) / 2, t >= 0. Its logarithm is smooth; the polynomial
// approximates log2(erfc(t / sqrt(2))) / t on [0, 5.6] and falls beyond. Absolute error 3e-8, relative error 6e-6.
MAMBASEG_INLINE Vec<float> normal_tail(Vec<float> t) {
  Vec<float> p = splat(-3.491759415e-08f);
  p = p * t + 9.931413842e-07f;
  p = p * t - 1.217201316e-05f;
  p = p * t + 8.209420776e-05f;
  p = p * t - 2.943667059e-04f;
  p = p * t + 2.116416726e-05f;
  p = p * t + 6.931407377e-03f;
  p = p * t - 5.243685842e-02f;
  p = p * t - 4.592206776e-01f;
  p = p * t - 1.151104331f;
  const Vec<float> exponent = p * t;
  return exponent < -125.0f ? Vec<float>{} : exp2(normal_exponent<float>(exponent)) * 0.5f;
}

MAMBASEG_INLINE Vec<double> normal_tail(Vec<double> t) {
  for (int i = 0; i < kLanes<double>; ++i) t[i] = 0.5 * __builtin_erfc(t[i] * 0.70710678118654752440);
  return t;
}

template <class S>
MAMBASEG_INLINE Vec<S> sigmoid(Vec<S> x) {
  return S(1) / (S(1) + exp2(normal_exponent<S>(x * S(-kLog2E))));
}

// x (1 + erf(x / sqrt(2))) / 2.
template <class S>
MAMBASEG_INLINE Vec<S> gelu(Vec<S> x) {
  const Vec<S> tail = normal_tail(-minus_magnitude<S>(x));
  return x * (x > S(0) ? S(1) - tail : tail);
}

template <int kActivation, class S>
MAMBASEG_INLINE Vec<S> activate(Vec<S> x) {
  if constexpr (kActivation == kRelu) return positive_part<S>(x);
  if constexpr (kActivation == kGelu) return gelu<S>(x);
  if constexpr (kActivation == kSilu) return x * sigmoid<S>(x);
  if constexpr (kActivation == kSigmoid) return sigmoid<S>(x);
  return x;
}
