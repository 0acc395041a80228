// bfloat16 factors in memory as such. Included after vec.h, with AVX512-BF16.

struct HalfFactors {
  using Left = Bfloat16;

  static MAMBASEG_INLINE_METHOD void put(Left* to, Vec<float> value, int count) {
    const __m256i half = (__m256i)_mm512_cvtneps_pbh((__m512)value);
    if (__builtin_expect(count == kLanes<float>, 1)) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), half);
#if MAMBASEG_MASKED
    _mm256_mask_storeu_epi16(to, static_cast<__mmask16>((1u << count) - 1), half);
#else
    alignas(32) Left all[kLanes<float>];
    _mm256_store_si256(reinterpret_cast<__m256i*>(all), half);
    for (int i = 0; i < count; ++i) to[i] = all[i];
#endif
  }
};
