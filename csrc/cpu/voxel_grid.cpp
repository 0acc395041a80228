// Voxel grids from events on the CPU, also resized. Resizing holds one plane of full size at a time, which stays in the
// cache. A thread owns whole planes of the grid and adds to each cell in the order of the events, so the number of
// threads changes no bit. Events are read once for each of the two planes that they add to. One pass for both is no
// faster: it needs both planes in the cache.

#include <algorithm>
#include <memory>

#include "../checks.h"
#include "area_resize.h"

namespace mambaseg {
namespace {

constexpr int64_t kEventsAThread = 250'000;  // added in 1 to 2 ms
constexpr int64_t kAhead = 16;  // events between the touch of a cell's cache line and its use

struct EventColumns {
  const uint16_t *x, *y;
  const int64_t* t;  // not decreasing
  const int8_t* p;
  int64_t count;

  int64_t first_not_before(int64_t time) const { return std::lower_bound(t, t + count, time) - t; }
  int64_t first_after(int64_t time) const { return std::upper_bound(t, t + count, time) - t; }
};

struct Plane {
  float* cells;  // [H, W]
  int64_t height, width;

  void clear() const { std::fill_n(cells, height * width, 0.0f); }
};

// Events begin to end (exclusive) have tn = bin + ((t - origin) * steps - rest) / span.
struct Interval {
  int64_t begin, end, origin, rest;
};

// Division of time into bins of equal length, in exact integers.
struct Steps {
  int64_t first, last, steps, span;

  Steps(int64_t first_, int64_t last_, int64_t bins)
      : first(first_), last(last_), steps(bins - 1), span(std::max<int64_t>(last_ - first_, 1)) {}

  // bin * span / steps, whole part and remainder, without overflow
  int64_t whole(int64_t bin) const { return steps ? span / steps * bin + span % steps * bin / steps : 0; }
  int64_t rest(int64_t bin) const { return steps ? span % steps * bin % steps : 0; }

  int64_t begin(const EventColumns& events, int64_t bin) const {
    const int64_t end = events.first_after(last);
    return bin > steps ? end : std::min(end, events.first_not_before(first + whole(bin) + (rest(bin) > 0)));
  }

  Interval interval(const EventColumns& events, int64_t bin) const {
    return {begin(events, bin), begin(events, bin + 1), first + whole(bin), rest(bin)};
  }
};

// Adds the events of one bin's interval to the plane of that bin or of the next, each with its share.
template <bool kNext>
void add_bilinear(const EventColumns& e, const Interval& interval, const Steps& time, const Plane& plane) {
  const double scale = 1.0 / static_cast<double>(time.span);
  for (int64_t i = interval.begin; i < interval.end; ++i) {
    const int64_t ahead = std::min(i + kAhead, interval.end - 1);
    __builtin_prefetch(plane.cells + std::min<int64_t>(e.y[ahead], plane.height - 1) * plane.width + e.x[ahead], 1);
    if (e.x[i] >= plane.width || e.y[i] >= plane.height) continue;
    const int64_t part = (e.t[i] - interval.origin) * time.steps - interval.rest;
    const float sign = e.p[i], to_next = static_cast<float>(static_cast<double>(part) * scale) * sign;
    plane.cells[e.y[i] * plane.width + e.x[i]] += kNext ? to_next : sign - to_next;
  }
}

void bilinear(const EventColumns& events, const Steps& time, int64_t bin, const Plane& plane) {
  plane.clear();
  if (bin > 0) add_bilinear<true>(events, time.interval(events, bin - 1), time, plane);
  add_bilinear<false>(events, time.interval(events, bin), time, plane);
}

void binned(const EventColumns& e, const int64_t* edges, int64_t bin, const Plane& plane) {
  plane.clear();
  const int64_t stop = e.first_not_before(edges[bin + 1]);
  for (int64_t i = e.first_not_before(edges[bin]); i < stop; ++i)
    if (e.x[i] < plane.width && e.y[i] < plane.height) plane.cells[e.y[i] * plane.width + e.x[i]] += e.p[i];
}

void check_column(const char* op, const char* name, const Tensor& t, ScalarType type, const char* expected,
                  int64_t count) {
  MAMBASEG_CHECK(t.is_cpu() && t.scalar_type() == type && t.dim() == 1 && t.size(0) == count && t.is_contiguous(), op,
                 ": ", name, " has shape ", show(sizes_of(t)), ", expected contiguous ", expected, " [", count,
                 "] on the CPU");
}

// Checked arguments of an operator.
struct Job {
  EventColumns events;
  const int64_t* edges;
  int64_t bins;
  bool is_bilinear;
  Steps time;

  Job(const char* op, const Tensor& grid, const Tensor& x, const Tensor& y, const Tensor& t_ns, const Tensor& p,
      const Tensor& edges_ns, bool is_bilinear_)
      : is_bilinear(is_bilinear_), time(0, 0, 1) {
    check_dims(op, "grid", grid, 3);
    MAMBASEG_CHECK(grid.is_cpu() && grid.scalar_type() == ScalarType::Float && grid.is_contiguous() && grid.size(0) > 0,
                   op, ": grid has shape ", show(sizes_of(grid)), ", expected contiguous float32 [T, H, W] on the CPU");
    const int64_t count = t_ns.dim() == 1 ? t_ns.size(0) : -1;
    bins = grid.size(0);
    check_column(op, "t_ns", t_ns, ScalarType::Long, "int64", count);
    check_column(op, "x", x, ScalarType::UInt16, "uint16", count);
    check_column(op, "y", y, ScalarType::UInt16, "uint16", count);
    check_column(op, "p", p, ScalarType::Char, "int8", count);
    check_column(op, "edges_ns", edges_ns, ScalarType::Long, "int64", is_bilinear ? 2 : bins + 1);
    events = {input<uint16_t>(x), input<uint16_t>(y), input<int64_t>(t_ns), input<int8_t>(p), count};
    edges = input<int64_t>(edges_ns);
    const uint64_t span = static_cast<uint64_t>(edges[1]) - static_cast<uint64_t>(edges[0]);
    MAMBASEG_CHECK(!is_bilinear || (edges[0] <= edges[1] && span <= (uint64_t{1} << 62) / bins), op, ": edges_ns is [",
                   edges[0], ", ", edges[1], "], expected a first and a last time, not more than 2**62 ns / T apart");
    if (is_bilinear) time = Steps(edges[0], edges[1], bins);
  }

  void fill(int64_t bin, const Plane& plane) const {
    is_bilinear ? bilinear(events, time, bin, plane) : binned(events, edges, bin, plane);
  }

  // Calls f(begin, end) for all bins, on as many threads as have enough work.
  template <class F>
  void over_bins(const F& f) const {
    parallel(bins, f, std::max<int64_t>(1, bins * kEventsAThread / std::max<int64_t>(1, events.count)));
  }
};

}  // namespace

void voxel_grid_(Tensor grid, Tensor x, Tensor y, Tensor t_ns, Tensor p, Tensor edges_ns, bool is_bilinear) {
  const Job job("voxel_grid_", grid, x, y, t_ns, p, edges_ns, is_bilinear);
  const int64_t height = grid.size(1), width = grid.size(2);
  float* cells = output<float>(grid);
  job.over_bins([&](int64_t begin, int64_t end) {
    for (int64_t bin = begin; bin < end; ++bin) job.fill(bin, {cells + bin * height * width, height, width});
  });
}

void voxel_grid_resized_(Tensor grid, Tensor x, Tensor y, Tensor t_ns, Tensor p, Tensor edges_ns, bool is_bilinear,
                         int64_t rows, int64_t columns) {
  const Job job("voxel_grid_resized_", grid, x, y, t_ns, p, edges_ns, is_bilinear);
  MAMBASEG_CHECK(rows > 0 && columns > 0 && grid.numel() > 0, "voxel_grid_resized_: a view of [", rows, ", ", columns,
                 "] for a grid of shape ", show(sizes_of(grid)), ", expected at least one row and column of each");
  const int64_t height = grid.size(1), width = grid.size(2);
  const AreaResize resize(rows, columns, height, width);
  float* to = output<float>(grid);
  job.over_bins([&](int64_t begin, int64_t end) {
    const std::unique_ptr<float[]> plane(new float[rows * columns]);
    for (int64_t bin = begin; bin < end; ++bin) {
      job.fill(bin, {plane.get(), rows, columns});
      resize(plane.get(), columns, 0, height, to + bin * height * width);
    }
  });
}

}  // namespace mambaseg

MAMBASEG_LIBRARY_IMPL(mambaseg, CPU, m) {
  m.impl("voxel_grid_", MAMBASEG_FUNCTION(&mambaseg::voxel_grid_));
  m.impl("voxel_grid_resized_", MAMBASEG_FUNCTION(&mambaseg::voxel_grid_resized_));
}
