// Operators selective_scan and bidirectional_scan on the CPU.

#include <tuple>

#include "driver.h"

namespace mambaseg {
namespace {

constexpr const char* kOp = "selective_scan";

template <class S>
ScanArgs<S> scan_args(const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
                      const std::optional<Tensor>& D, const std::optional<Tensor>& bias, bool softplus) {
  ScanArgs<S> args{};
  args.batch = u.size(0);
  args.groups = B.size(1);
  args.channels = u.size(1) / args.groups;
  args.length = u.size(2);
  args.state = A.size(1);
  args.softplus = softplus;
  args.u = input<S>(u);
  args.delta = input<S>(delta);
  args.b = input<S>(B);
  args.c = input<S>(C);
  args.group_stride = args.state * args.length;
  args.a = input<S>(A);
  args.skip = input<S>(D);
  args.bias = input<S>(bias);
  return args;
}

void check_scan(const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
                const std::optional<Tensor>& D, const std::optional<Tensor>& bias) {
  check_dims(kOp, "u", u, 3);
  check_dims(kOp, "A", A, 2);
  check_dims(kOp, "B", B, 4);
  const int64_t batch = u.size(0), channels = u.size(1), length = u.size(2), groups = B.size(1), state = A.size(1);
  MAMBASEG_CHECK(groups > 0 && channels % groups == 0, kOp, ": B has ", groups, " groups, u ", channels, " channels");
  check_tensor(kOp, "u", u, u, sizes_of(u));
  check_tensor(kOp, "delta", delta, u, sizes_of(u));
  check_tensor(kOp, "A", A, u, {channels, state});
  check_tensor(kOp, "B", B, u, {batch, groups, state, length});
  check_tensor(kOp, "C", C, u, {batch, groups, state, length});
  if (D.has_value()) check_tensor(kOp, "D", *D, u, {channels});
  if (bias.has_value()) check_tensor(kOp, "delta_bias", *bias, u, {channels});
}

// Sums [groups, slots, 2N, L] over the slots, in order, into two tensors [groups, N, L].
template <class S>
void sum_slots(const S* from, int64_t groups, int64_t slots, int64_t size, S* gb, S* gc) {
  parallel(groups * 2, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t group = item / 2, half = item % 2;
      S* to = (half ? gc : gb) + group * size;
      const S* part = from + group * slots * 2 * size + half * size;
      std::copy(part, part + size, to);
      for (int64_t slot = 1; slot < slots; ++slot)
        for (int64_t i = 0; i < size; ++i) to[i] += part[slot * 2 * size + i];
    }
  });
}

}  // namespace

Tensor selective_scan(Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, std::optional<Tensor> D,
                      std::optional<Tensor> delta_bias, bool delta_softplus) {
  check_scan(u, delta, A, B, C, D, delta_bias);
  const Tensor du = dense(u), dd = dense(delta), da = dense(A), db = dense(B), dc = dense(C);
  const std::optional<Tensor> dskip = dense(D), dbias = dense(delta_bias);
  Tensor y = fresh(u, sizes_of(u));
  by_dtype(kOp, u, [&](auto zero) {
    using S = decltype(zero);
    ScanArgs<S> args = scan_args<S>(du, dd, da, db, dc, dskip, dbias, delta_softplus);
    args.y = output<S>(y);
    const Kernels<S>& k = kernels<S>();
    run<S>(args.batch * args.groups * ceil_div(args.channels, k.lanes), k.scan_scratch(args), k.scan, args);
  });
  return y;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> selective_scan_backward(
    Tensor gy, Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, std::optional<Tensor> D,
    std::optional<Tensor> delta_bias, bool delta_softplus) {
  check_scan(u, delta, A, B, C, D, delta_bias);
  check_tensor(kOp, "the gradient of y", gy, u, sizes_of(u));
  const Tensor dgy = dense(gy), du = dense(u), dd = dense(delta), da = dense(A), db = dense(B), dc = dense(C);
  const std::optional<Tensor> dskip = dense(D), dbias = dense(delta_bias);
  const int64_t batch = u.size(0), channels = u.size(1), state = A.size(1);
  const Tensor gu = fresh(u, sizes_of(u)), gdelta = fresh(u, sizes_of(u));
  const Tensor gB = fresh(u, sizes_of(B)), gC = fresh(u, sizes_of(B)), gA = fresh(u, {batch, channels, state});
  const Tensor gD = fresh(u, {batch, channels}), gbias = fresh(u, {batch, channels});
  by_dtype(kOp, u, [&](auto zero) {
    using S = decltype(zero);
    ScanArgs<S> args = scan_args<S>(du, dd, da, db, dc, dskip, dbias, delta_softplus);
    const Kernels<S>& k = kernels<S>();
    const int64_t groups = args.batch * args.groups, size = args.state * args.length;
    args.slots = std::min(kMaxSlots, std::max<int64_t>(1, ceil_div(args.channels, k.lanes)));
    const Tensor slots = fresh(u, {groups, args.slots, 2, size});
    args.gy = input<S>(dgy);
    args.gu = output<S>(gu);
    args.gdelta = output<S>(gdelta);
    args.gbc = output<S>(slots);
    args.ga = output<S>(gA);
    args.gskip = output<S>(gD);
    args.gbias = output<S>(gbias);
    run<S>(groups * args.slots, k.scan_scratch(args), k.scan_backward, args);
    sum_slots(args.gbc, groups, args.slots, size, output<S>(gB), output<S>(gC));
  });
  return {gu, gdelta, gA, gB, gC, gD, gbias};
}

Tensor bidirectional_scan(Tensor x, Tensor proj, Tensor dt_projs_weight, Tensor dt_projs_bias, Tensor A, Tensor D) {
  constexpr const char* op = "bidirectional_scan";
  check_dims(op, "x", x, 3);
  check_dims(op, "A", A, 2);
  check_dims(op, "dt_projs_weight", dt_projs_weight, 3);
  const int64_t batch = x.size(0), channels = x.size(1), length = x.size(2), state = A.size(1),
                rank = dt_projs_weight.size(2);
  check_tensor(op, "proj", proj, x, {batch, 2, rank + 2 * state, length});
  check_tensor(op, "dt_projs_weight", dt_projs_weight, x, {2, channels, rank});
  check_tensor(op, "dt_projs_bias", dt_projs_bias, x, {2, channels});
  check_tensor(op, "A", A, x, {2 * channels, state});
  check_tensor(op, "D", D, x, {2 * channels});
  const Tensor dx = dense(x), dp = dense(proj), dw = dense(dt_projs_weight), dbias = dense(dt_projs_bias),
               da = dense(A), dskip = dense(D);
  Tensor y = fresh(x, {batch, 2, channels, length});
  by_dtype(op, x, [&](auto zero) {
    using S = decltype(zero);
    ScanArgs<S> args{};
    args.batch = batch;
    args.groups = 2;
    args.channels = channels;
    args.length = length;
    args.state = state;
    args.rank = rank;
    args.softplus = args.shared = true;
    args.u = input<S>(dx);
    args.low = input<S>(dp);
    args.b = args.low + rank * length;
    args.c = args.b + state * length;
    args.group_stride = (rank + 2 * state) * length;
    args.low_weight = input<S>(dw);
    args.a = input<S>(da);
    args.skip = input<S>(dskip);
    args.bias = input<S>(dbias);
    args.y = output<S>(y);
    const Kernels<S>& k = kernels<S>();
    run<S>(batch * 2 * ceil_div(channels, k.lanes), k.scan_scratch(args), k.scan, args);
  });
  return y;
}

}  // namespace mambaseg

MAMBASEG_LIBRARY_IMPL(mambaseg, CPU, m) {
  m.impl("selective_scan", MAMBASEG_FUNCTION(&mambaseg::selective_scan));
  m.impl("selective_scan_backward", MAMBASEG_FUNCTION(&mambaseg::selective_scan_backward));
  m.impl("bidirectional_scan", MAMBASEG_FUNCTION(&mambaseg::bidirectional_scan));
}
