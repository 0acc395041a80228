// Operator ss2d on the CPU.

#include <tuple>

#include "driver.h"

namespace mambaseg {
namespace {

constexpr const char* kOp = "ss2d";

template <class S>
Ss2dArgs<S> map_args(const Tensor& x, const Tensor& proj, const Tensor& weight, const Tensor& bias, const Tensor& A,
                     const Tensor& D) {
  Ss2dArgs<S> args{};
  args.batch = x.size(0);
  args.height = x.size(1);
  args.width = x.size(2);
  args.channels = x.size(3);
  args.state = A.size(1);
  args.rank = weight.size(2);
  args.x = input<S>(x);
  args.proj = input<S>(proj);
  args.low_weight = input<S>(weight);
  args.bias = input<S>(bias);
  args.a = input<S>(A);
  args.skip = input<S>(D);
  return args;
}

void check_map(const Tensor& x, const Tensor& proj, const Tensor& weight, const Tensor& bias, const Tensor& A,
               const Tensor& D) {
  check_dims(kOp, "x", x, 4);
  check_dims(kOp, "A", A, 2);
  check_dims(kOp, "dt_projs_weight", weight, 3);
  const int64_t channels = x.size(3), state = A.size(1), rank = weight.size(2);
  check_tensor(kOp, "x", x, x, sizes_of(x));
  check_tensor(kOp, "proj", proj, x, {x.size(0), x.size(1), x.size(2), 4, rank + 2 * state});
  check_tensor(kOp, "dt_projs_weight", weight, x, {4, channels, rank});
  check_tensor(kOp, "dt_projs_bias", bias, x, {4, channels});
  check_tensor(kOp, "A", A, x, {4 * channels, state});
  check_tensor(kOp, "D", D, x, {4 * channels});
}

// Sums [B, slots, 4, 2N, L], each direction in the order of its walk, over the slots into the B and C of
// gproj [B, H*W, 4, R + 2N]. The rank part is 0; the caller fills it.
template <class S>
void sum_slots(const Ss2dArgs<S>& args, S* gproj) {
  const int64_t h = args.height, w = args.width, length = h * w, rows = 2 * args.state;
  const int64_t part = args.rank + rows, slot_size = 4 * rows * length;
  parallel(args.batch * 4 * h, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t b = item / (4 * h), k = item / h % 4, y = item % h;
      for (int64_t x = 0; x < w; ++x) {
        const int64_t there = k % 2 ? x * h + y : y * w + x, t = k < 2 ? there : length - 1 - there;
        S* to = gproj + ((b * length + y * w + x) * 4 + k) * part;
        for (int64_t r = 0; r < args.rank; ++r) to[r] = S(0);
        for (int64_t j = 0; j < rows; ++j) {
          const S* from = args.gbc + b * args.slots * slot_size + (k * rows + j) * length + t;
          S sum = 0;
          for (int64_t slot = 0; slot < args.slots; ++slot) sum += from[slot * slot_size];
          to[args.rank + j] = sum;
        }
      }
    }
  });
}

}  // namespace

Tensor ss2d(Tensor x, Tensor proj, Tensor dt_projs_weight, Tensor dt_projs_bias, Tensor A, Tensor D) {
  check_map(x, proj, dt_projs_weight, dt_projs_bias, A, D);
  const Tensor dx = dense(x), dp = dense(proj), dw = dense(dt_projs_weight), db = dense(dt_projs_bias), da = dense(A),
               dd = dense(D);
  Tensor y = fresh(x, sizes_of(x));
  by_dtype(kOp, x, [&](auto zero) {
    using S = decltype(zero);
    Ss2dArgs<S> args = map_args<S>(dx, dp, dw, db, da, dd);
    args.y = output<S>(y);
    const Kernels<S>& k = kernels<S>();
    run<S>(args.batch * ceil_div(args.channels, k.lanes), k.ss2d_scratch(args), k.ss2d, args);
  });
  return y;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> ss2d_backward(Tensor gy, Tensor x, Tensor proj, Tensor dt_projs_weight,
                                                         Tensor dt_projs_bias, Tensor A, Tensor D) {
  check_map(x, proj, dt_projs_weight, dt_projs_bias, A, D);
  check_tensor(kOp, "the gradient of y", gy, x, sizes_of(x));
  const Tensor dgy = dense(gy), dx = dense(x), dp = dense(proj), dw = dense(dt_projs_weight),
               db = dense(dt_projs_bias), da = dense(A), dd = dense(D);
  const int64_t batch = x.size(0), length = x.size(1) * x.size(2), channels = x.size(3), state = A.size(1);
  const Tensor gx = fresh(x, sizes_of(x)), gproj = fresh(x, sizes_of(proj));
  const Tensor gdelta = fresh(x, {batch, 4, length, channels}), gA = fresh(x, {batch, 4 * channels, state});
  by_dtype(kOp, x, [&](auto zero) {
    using S = decltype(zero);
    Ss2dArgs<S> args = map_args<S>(dx, dp, dw, db, da, dd);
    const Kernels<S>& k = kernels<S>();
    args.slots = std::min(kMaxSlots, std::max<int64_t>(1, ceil_div(channels, k.lanes)));
    const Tensor slots = fresh(x, {batch, args.slots, 4, 2 * state, length});
    args.gy = input<S>(dgy);
    args.gx = output<S>(gx);
    args.gdelta = output<S>(gdelta);
    args.gbc = output<S>(slots);
    args.ga = output<S>(gA);
    run<S>(batch * args.slots, k.ss2d_scratch(args), k.ss2d_backward, args);
    sum_slots<S>(args, output<S>(gproj));
  });
  return {gx, gproj, gdelta, gA};
}

int64_t vector_lanes() { return float_kernels().lanes; }

}  // namespace mambaseg

MAMBASEG_LIBRARY_IMPL(mambaseg, CompositeExplicitAutograd, m) {
  m.impl("vector_lanes", MAMBASEG_FUNCTION(&mambaseg::vector_lanes));
}

MAMBASEG_LIBRARY_IMPL(mambaseg, CPU, m) {
  m.impl("ss2d", MAMBASEG_FUNCTION(&mambaseg::ss2d));
  m.impl("ss2d_backward", MAMBASEG_FUNCTION(&mambaseg::ss2d_backward));
}
