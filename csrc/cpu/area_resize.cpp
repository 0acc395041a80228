// Planes to fewer rows and columns by the mean over windows, as torch's adaptive average pooling has them: window i of n
// over a length is floor(i * length / n) to ceil((i + 1) * length / n), so windows may share a row or column.
//
// A row of the result is the sum of its window's rows, summed over the windows of columns: each number is read once or
// twice and in order, and an output row depends on no other, so the number of threads changes no bit.

#include <algorithm>

#include "../checks.h"

namespace mambaseg {
namespace {

constexpr const char* kOp = "area_resize";
constexpr int64_t kCellsAThread = 4'000'000;  // read in 1 to 2 ms

struct Span {
  int64_t begin, end;  // exclusive
};

std::vector<Span> windows_of(int64_t length, int64_t count) {
  std::vector<Span> windows(count);
  for (int64_t i = 0; i < count; ++i) windows[i] = {i * length / count, ((i + 1) * length + count - 1) / count};
  return windows;
}

struct Planes {
  const float* cells;  // [T, H, W], the last dimension dense
  int64_t plane_stride, row_stride;

  const float* row(int64_t plane, int64_t y) const { return cells + plane * plane_stride + y * row_stride; }
};

// Into sums[x], the rows of a window.
void add_rows(const Planes& planes, int64_t plane, const Span& window, std::vector<float>& to) {
  const int64_t width = to.size();
  float* __restrict sums = to.data();
  std::copy_n(planes.row(plane, window.begin), width, sums);
  for (int64_t y = window.begin + 1; y < window.end; ++y) {
    const float* __restrict row = planes.row(plane, y);
    for (int64_t x = 0; x < width; ++x) sums[x] += row[x];
  }
}

// Windows of one width, which the compiler can unroll and vectorise.
template <int kWidth>
void mean_equal(const float* __restrict sums, int64_t count, float rows, float* __restrict to) {
  const float share = 1.0f / (rows * kWidth);
  for (int64_t i = 0; i < count; ++i) {
    float sum = sums[i * kWidth];
    for (int k = 1; k < kWidth; ++k) sum += sums[i * kWidth + k];
    to[i] = sum * share;
  }
}

void mean_any(const float* sums, const std::vector<Span>& windows, float rows, float* to) {
  for (const Span& window : windows) {
    float sum = 0;
    for (int64_t x = window.begin; x < window.end; ++x) sum += sums[x];
    *to++ = sum / (rows * static_cast<float>(window.end - window.begin));
  }
}

void mean_columns(const std::vector<float>& sums, const std::vector<Span>& windows, float rows, float* to) {
  const int64_t count = windows.size(), width = sums.size();
  switch (width % count ? 0 : width / count) {
    case 1: return mean_equal<1>(sums.data(), count, rows, to);
    case 2: return mean_equal<2>(sums.data(), count, rows, to);
    case 3: return mean_equal<3>(sums.data(), count, rows, to);
    case 4: return mean_equal<4>(sums.data(), count, rows, to);
    default: return mean_any(sums.data(), windows, rows, to);
  }
}

}  // namespace

Tensor area_resize(Tensor grid, int64_t height, int64_t width) {
  check_dims(kOp, "grid", grid, 3);
  MAMBASEG_CHECK(grid.is_cpu() && grid.scalar_type() == ScalarType::Float, kOp,
                 ": grid is not float32 on the CPU, which this kernel takes");
  MAMBASEG_CHECK(grid.size(1) > 0 && grid.size(2) > 0, kOp, ": grid has shape ", show(sizes_of(grid)),
                 ", expected at least one row and column");
  MAMBASEG_CHECK(height > 0 && width > 0, kOp, ": the size is [", height, ", ", width, "], expected 1 or more");
  if (grid.stride(2) != 1) grid = dense(grid);
  const std::vector<Span> rows = windows_of(grid.size(1), height), columns = windows_of(grid.size(2), width);
  const Planes planes{input<float>(grid), grid.stride(0), grid.stride(1)};
  Tensor result = fresh(grid, {grid.size(0), height, width});
  float* to = output<float>(result);
  const auto resize = [&](int64_t begin, int64_t end) {
    std::vector<float> sums(grid.size(2));
    for (int64_t i = begin; i < end; ++i) {
      const Span& window = rows[i % height];
      add_rows(planes, i / height, window, sums);
      mean_columns(sums, columns, static_cast<float>(window.end - window.begin), to + i * width);
    }
  };
  const int64_t cells_a_row = std::max<int64_t>(1, grid.size(1) * grid.size(2) / height);
  parallel(grid.size(0) * height, resize, std::max<int64_t>(1, kCellsAThread / cells_a_row));
  return result;
}

}  // namespace mambaseg

MAMBASEG_LIBRARY_IMPL(mambaseg, CPU, m) { m.impl("area_resize", MAMBASEG_FUNCTION(&mambaseg::area_resize)); }
