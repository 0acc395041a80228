// Resizes planes [T, H, W] to [T, h, w]. Rows of the result are independent, so the number of threads changes no bit.

#include "area_resize.h"

#include "../checks.h"

namespace mambaseg {
namespace {

constexpr const char* kOp = "area_resize";
constexpr int64_t kCellsAThread = 4'000'000;  // read in 1 to 2 ms

}  // namespace

Tensor area_resize(Tensor grid, int64_t height, int64_t width) {
  check_dims(kOp, "grid", grid, 3);
  MAMBASEG_CHECK(grid.is_cpu() && grid.scalar_type() == ScalarType::Float, kOp,
                 ": grid is not float32 on the CPU, which this kernel takes");
  MAMBASEG_CHECK(grid.size(1) > 0 && grid.size(2) > 0, kOp, ": grid has shape ", show(sizes_of(grid)),
                 ", expected at least one row and column");
  MAMBASEG_CHECK(height > 0 && width > 0, kOp, ": the size is [", height, ", ", width, "], expected 1 or more");
  if (grid.stride(2) != 1) grid = dense(grid);
  Tensor result = fresh(grid, {grid.size(0), height, width});
  const float* from = input<float>(grid);
  float* to = output<float>(result);
  const int64_t plane_stride = grid.stride(0), row_stride = grid.stride(1);
  const AreaResize resize(grid.size(1), grid.size(2), height, width);
  const int64_t cells_a_row = std::max<int64_t>(1, grid.size(1) * grid.size(2) / height);
  const auto rows = [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin / height; plane * height < end; ++plane) {
      const int64_t first = std::max(begin - plane * height, int64_t{0}), last = std::min(end - plane * height, height);
      resize(from + plane * plane_stride, row_stride, first, last, to + plane * height * width);
    }
  };
  parallel(grid.size(0) * height, rows, std::max<int64_t>(1, kCellsAThread / cells_a_row));
  return result;
}

}  // namespace mambaseg

MAMBASEG_LIBRARY_IMPL(mambaseg, CPU, m) { m.impl("area_resize", MAMBASEG_FUNCTION(&mambaseg::area_resize)); }
