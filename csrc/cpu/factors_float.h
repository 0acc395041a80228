// bfloat16 factors held and multiplied as float32, for processors without instructions for them. Included per
// instruction set, after vec.h.

typedef uint32_t WordBits __attribute__((vector_size(MAMBASEG_VECTOR_BYTES)));

// The nearest bfloat16 of each lane, ties to even. A NaN stays one.
MAMBASEG_INLINE Vec<float> rounded(Vec<float> x) {
  const WordBits bits = (WordBits)x, nearest = bits + 0x7fff + (bits >> 16 & 1);
  return (Vec<float>)((x == x ? nearest : bits | 0x400000) & 0xffff0000);
}

#include "factors_rows.h"

struct Factors {
  using Left = float;

  static MAMBASEG_INLINE_METHOD void put(Left* to, Vec<float> value, int count) {
    store_first(to, rounded(value), count);
  }

  // `rows` rows times the panels at `weight` and, with Panels = 2, at `next`: sums [rows, 2 * kPanel].
  template <int Panels>
  static void multiply(const Left* a, int64_t stride, int rows, const Bfloat16* weight, const Bfloat16* next,
                       int64_t depth, float* sums) {
    for (int i = 0; i < rows; i += kBlock) {
      const int count = rows - i < kBlock ? rows - i : kBlock;
      for (int c = 0; c < kPanel; c += kLanes<float>) {
        const Bfloat16 *left = weight + 2 * c, *right = next + 2 * c;
        block_of_rows<Factors, Panels>(a + i * stride, stride, count, left, right, depth, sums + i * 2 * kPanel + c);
      }
    }
  }

  struct Session {};

  static constexpr int kBlock = MAMBASEG_VECTOR_BYTES == 64 ? 12 : 6;

  template <int Panels, int Rows>
  static void block(const Left* a, int64_t stride, const Bfloat16* left, const Bfloat16* right, int64_t depth,
                    float* sums) {
    Vec<float> sum[Rows][Panels];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < Panels; ++j) sum[i][j] = Vec<float>{};
    }
    for (int64_t k = 0; k < depth; k += 2, left += 2 * kPanel, right += 2 * kPanel) {
      const WordBits w0 = words(left), w1 = Panels == 2 ? words(right) : w0;
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const Vec<float> u0 = half ? (Vec<float>)(w0 & 0xffff0000) : (Vec<float>)(w0 << 16);
        const Vec<float> u1 = half ? (Vec<float>)(w1 & 0xffff0000) : (Vec<float>)(w1 << 16);
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
          const float value = a[i * stride + k + half];
          sum[i][0] += u0 * value;
          if constexpr (Panels == 2) sum[i][1] += u1 * value;
        }
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < Panels; ++j) store(sums + i * 2 * kPanel + j * kPanel, sum[i][j]);
    }
  }

  static MAMBASEG_INLINE_METHOD WordBits words(const Bfloat16* from) {
    return (WordBits)load(reinterpret_cast<const float*>(from));
  }
};
