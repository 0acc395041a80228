// Fewer rows and columns by the mean over windows, those of torch's adaptive average pooling: window i of n along a
// length runs from floor(i * length / n) to ceil((i + 1) * length / n), so windows may share a row or column.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace mambaseg {

struct Span {
  int64_t begin, end;  // exclusive
};

inline std::vector<Span> windows_of(int64_t length, int64_t count) {
  std::vector<Span> windows(count);
  for (int64_t i = 0; i < count; ++i) windows[i] = {i * length / count, ((i + 1) * length + count - 1) / count};
  return windows;
}

// Adds up a window's rows, which begin `stride` apart, into sums[x].
inline void add_rows(const float* plane, int64_t stride, const Span& window, std::vector<float>& to) {
  const int64_t width = to.size();
  float* __restrict sums = to.data();
  std::copy_n(plane + window.begin * stride, width, sums);
  for (int64_t y = window.begin + 1; y < window.end; ++y) {
    const float* __restrict row = plane + y * stride;
    for (int64_t x = 0; x < width; ++x) sums[x] += row[x];
  }
}

// Windows of one width, which the compiler can unroll and vectorize.
template <int kWidth>
void mean_equal(const float* __restrict sums, int64_t count, float rows, float* __restrict to) {
  const float share = 1.0f / (rows * kWidth);
  for (int64_t i = 0; i < count; ++i) {
    float sum = sums[i * kWidth];
    for (int k = 1; k < kWidth; ++k) sum += sums[i * kWidth + k];
    to[i] = sum * share;
  }
}

inline void mean_any(const float* sums, const std::vector<Span>& windows, float rows, float* to) {
  for (const Span& window : windows) {
    float sum = 0;
    for (int64_t x = window.begin; x < window.end; ++x) sum += sums[x];
    *to++ = sum / (rows * static_cast<float>(window.end - window.begin));
  }
}

inline void mean_columns(const std::vector<float>& sums, const std::vector<Span>& windows, float rows, float* to) {
  const int64_t count = windows.size(), width = sums.size();
  switch (width % count ? 0 : width / count) {
    case 1: return mean_equal<1>(sums.data(), count, rows, to);
    case 2: return mean_equal<2>(sums.data(), count, rows, to);
    case 3: return mean_equal<3>(sums.data(), count, rows, to);
    case 4: return mean_equal<4>(sums.data(), count, rows, to);
    default: return mean_any(sums.data(), windows, rows, to);
  }
}

// Resizes a plane [H, W] to rows of [h, w]. The rows of a window are added up first, then the windows of columns, so
// each number is read in order, once or twice.
class AreaResize {
 public:
  AreaResize(int64_t height, int64_t width, int64_t to_height, int64_t to_width)
      : rows_(windows_of(height, to_height)), columns_(windows_of(width, to_width)), width_(width) {}

  // Writes rows begin to end (exclusive) of the result; `to` has all its rows. The plane's rows begin `stride` apart.
  void operator()(const float* plane, int64_t stride, int64_t begin, int64_t end, float* to) const {
    std::vector<float> sums(width_);
    for (int64_t y = begin; y < end; ++y) {
      add_rows(plane, stride, rows_[y], sums);
      mean_columns(sums, columns_, static_cast<float>(rows_[y].end - rows_[y].begin), to + y * columns_.size());
    }
  }

 private:
  const std::vector<Span> rows_, columns_;
  const int64_t width_;
};

}  // namespace mambaseg
