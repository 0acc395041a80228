// bfloat16 factors multiplied in pairs by AVX512-BF16. Included after factors_half.h.

#include "factors_rows.h"

struct Factors : HalfFactors {
  // `rows` rows times the panels at `weight` and, with Panels = 2, at `next`: sums [rows, 2 * kPanel].
  template <int Panels>
  static void multiply(const Left* a, int64_t stride, int rows, const Bfloat16* weight, const Bfloat16* next,
                       int64_t depth, float* sums) {
    for (int i = 0; i < rows; i += kBlock) {
      const int count = rows - i < kBlock ? rows - i : kBlock;
      block_of_rows<Factors, Panels>(a + i * stride, stride, count, weight, next, depth, sums + i * 2 * kPanel);
    }
  }

  struct Session {};

  static constexpr int kBlock = 12;

  template <int Panels, int Rows>
  static void block(const Left* a, int64_t stride, const Bfloat16* left, const Bfloat16* right, int64_t depth,
                    float* sums) {
    __m512 sum[Rows][Panels];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < Panels; ++j) sum[i][j] = _mm512_setzero_ps();
    }
    for (int64_t k = 0; k < depth; k += 2, left += 2 * kPanel, right += 2 * kPanel) {
      const __m512bh w0 = (__m512bh)_mm512_loadu_si512(left);
      const __m512bh w1 = Panels == 2 ? (__m512bh)_mm512_loadu_si512(right) : w0;
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) {
        int pair;
        __builtin_memcpy(&pair, a + i * stride + k, sizeof(pair));
        const __m512bh values = (__m512bh)_mm512_set1_epi32(pair);
        sum[i][0] = _mm512_dpbf16_ps(sum[i][0], values, w0);
        if constexpr (Panels == 2) sum[i][1] = _mm512_dpbf16_ps(sum[i][1], values, w1);
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < Panels; ++j) _mm512_storeu_ps(sums + i * 2 * kPanel + j * kPanel, sum[i][j]);
    }
  }
};
