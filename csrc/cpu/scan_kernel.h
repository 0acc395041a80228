// The scan over sequences with time last. Included per instruction set, after tile.h.

// Loads `steps` steps of `count` rows, `stride` apart, as vectors over the rows; the last step first if `reversed`.
template <class S>
static void load_rows(Vec<S>* to, const S* from, int64_t stride, int count, int steps, bool reversed) {
  constexpr int lanes = kLanes<S>;
  const int ahead = reversed ? -kTile : kTile;  // more streams than the hardware prefetcher follows
  int t = 0;
  for (; t + lanes <= steps; t += lanes) {
    Vec<S> rows[lanes];
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
      rows[i] = i < count ? load(from + i * stride + t) : Vec<S>{};
      if (i < count) __builtin_prefetch(from + i * stride + t + ahead);
    }
    transpose<S>(rows);
    if (reversed) {
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) to[steps - 1 - t - i] = rows[i];
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) to[t + i] = rows[i];
    }
  }
  for (; t < steps; ++t) {
    Vec<S> value{};
    for (int i = 0; i < count; ++i) value[i] = from[i * stride + t];
    to[reversed ? steps - 1 - t : t] = value;
  }
}

template <class S>
static void store_rows(S* to, const Vec<S>* from, int64_t stride, int count, int steps) {
  constexpr int lanes = kLanes<S>;
  int t = 0;
  for (; t + lanes <= steps; t += lanes) {
    Vec<S> rows[lanes];
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) rows[i] = from[t + i];
    transpose<S>(rows);
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i)
      if (i < count) store(to + i * stride + t, rows[i]);
  }
  for (; t < steps; ++t)
    for (int i = 0; i < count; ++i) to[i * stride + t] = from[t][i];
}

// One block of channels of one group.
template <class S>
struct ScanBlock {
  int64_t group, k, first, row;  // group = b*K + k; row = index into [B, K, C]
  int count;
  bool reversed;
  const S* u;
  Rows<S> rows;
  Vec<S> bias, skip;
};

template <class S>
static ScanBlock<S> scan_block(const ScanArgs<S>& args, int64_t group, int64_t block) {
  ScanBlock<S> it;
  it.group = group;
  it.k = group % args.groups;
  it.first = block * kLanes<S>;
  const int64_t left = args.channels - it.first;
  it.count = left < kLanes<S> ? static_cast<int>(left) : kLanes<S>;
  it.row = group * args.channels + it.first;
  it.reversed = args.shared && it.k % 2;
  const int64_t urow = args.shared ? group / args.groups * args.channels + it.first : it.row;
  it.u = args.u + urow * args.length;
  it.rows = {args.b + group * args.group_stride, args.c + group * args.group_stride, args.length};
  const int64_t parameter = it.k * args.channels + it.first;
  it.bias = args.bias ? load_first(args.bias + parameter, it.count) : Vec<S>{};
  it.skip = args.skip ? load_first(args.skip + parameter, it.count) : Vec<S>{};
  return it;
}

template <class S>
static void scan_load(const ScanArgs<S>& args, const ScanBlock<S>& it, int64_t start, const Vec<S>* weight,
                      Tile<S>& tile) {
  const int64_t left = args.length - start;
  tile.steps = left < kTile ? static_cast<int>(left) : kTile;
  const int64_t at = it.reversed ? args.length - start - tile.steps : start;
  for (int t = 0; t < tile.steps; ++t) tile.offset[t] = it.reversed ? args.length - 1 - start - t : start + t;
  load_rows<S>(tile.u, it.u + at, args.length, it.count, tile.steps, it.reversed);
  if (args.delta) {
    load_rows<S>(tile.pre, args.delta + it.row * args.length + at, args.length, it.count, tile.steps, it.reversed);
    for (int t = 0; t < tile.steps; ++t) tile.pre[t] += it.bias;
  } else {
    low_rank_steps<S>(tile, args.low + it.group * args.group_stride, args.length, args.rank, weight, it.bias,
                      [&tile](int t, Vec<S> pre) { tile.pre[t] = pre; });
  }
  finish_steps<S>(tile, args.softplus);
}

// Holds rates, states and weights of the forward pass; heads of all tiles, carries and sums of the backward pass.
template <class S>
static int64_t scan_scratch(const ScanArgs<S>& args) {
  const int64_t tiles = (args.length + kTile - 1) / kTile;
  return ((tiles + 5) * args.state + args.rank) * kLanes<S>;
}

template <class S>
static void scan(const ScanArgs<S>& args, int64_t item, S* scratch) {
  const int64_t blocks = (args.channels + kLanes<S> - 1) / kLanes<S>, state = args.state;
  const ScanBlock<S> it = scan_block<S>(args, item / blocks, item % blocks);
  Vec<S>* rate = reinterpret_cast<Vec<S>*>(scratch);
  Vec<S>* h = rate + state;
  Vec<S>* weight = h + state;
  const int64_t parameter = it.k * args.channels + it.first;
  load_columns<S>(rate, args.a + parameter * state, state, it.count, S(kLog2E));
  if (!args.delta) load_columns<S>(weight, args.low_weight + parameter * args.rank, args.rank, it.count, S(1));
  for (int64_t n = 0; n < state; ++n) h[n] = Vec<S>{};
  Tile<S> tile;
  for (int64_t start = 0; start < args.length; start += kTile) {
    scan_load<S>(args, it, start, weight, tile);
    for (int t = 0; t < tile.steps; ++t) tile.y[t] = it.skip * tile.u[t];
    run_tile<S, Output::kAdd>(tile, state, rate, h, it.rows);
    store_rows<S>(args.y + it.row * args.length + start, tile.y, args.length, it.count, tile.steps);
  }
}

template <class S>
static void scan_block_backward(const ScanArgs<S>& args, const ScanBlock<S>& it, S* gbc, S* scratch) {
  const int64_t state = args.state, tiles = (args.length + kTile - 1) / kTile;
  Vec<S>* rate = reinterpret_cast<Vec<S>*>(scratch);
  Vec<S>* carry = rate + state;
  Vec<S>* ga = carry + state;
  Vec<S>* heads = ga + state;  // [tiles + 1, N]
  load_columns<S>(rate, args.a + (it.k * args.channels + it.first) * state, state, it.count, S(kLog2E));
  for (int64_t n = 0; n < state; ++n) carry[n] = ga[n] = heads[n] = Vec<S>{};
  Tile<S> tile;
  TileGradient<S> g;
  for (int64_t i = 0; i < tiles; ++i) {
    scan_load<S>(args, it, i * kTile, nullptr, tile);
    Vec<S>* h = heads + (i + 1) * state;
    for (int64_t n = 0; n < state; ++n) h[n] = heads[i * state + n];
    run_tile<S, Output::kNone>(tile, state, rate, h, it.rows);
  }
  Vec<S> gskip{}, gbias{};
  for (int64_t i = tiles - 1; i >= 0; --i) {
    const int64_t start = i * kTile, at = it.row * args.length + start;
    scan_load<S>(args, it, start, nullptr, tile);
    load_rows<S>(tile.y, args.gy + at, args.length, it.count, tile.steps, false);
    for (int t = 0; t < tile.steps; ++t) gskip += tile.y[t] * tile.u[t];
    run_tile_backward<S>(tile, g, state, args.softplus, rate, heads + i * state, carry, ga, it.rows, gbc + start,
                         args.length);
    for (int t = 0; t < tile.steps; ++t) {
      tile.u[t] += it.skip * tile.y[t];
      gbias += tile.pre[t];
    }
    store_rows<S>(args.gu + at, tile.u, args.length, it.count, tile.steps);
    store_rows<S>(args.gdelta + at, tile.pre, args.length, it.count, tile.steps);
  }
  store_columns<S>(args.ga + it.row * state, ga, state, it.count);
  store_first(args.gskip + it.row, gskip, it.count);
  store_first(args.gbias + it.row, gbias, it.count);
}

template <class S>
static void scan_backward(const ScanArgs<S>& args, int64_t item, S* scratch) {
  const int64_t blocks = (args.channels + kLanes<S> - 1) / kLanes<S>;
  const int64_t group = item / args.slots, slot = item % args.slots, size = 2 * args.state * args.length;
  S* gbc = args.gbc + item * size;
  for (int64_t i = 0; i < size; ++i) gbc[i] = S(0);
  for (int64_t block = blocks * slot / args.slots; block < blocks * (slot + 1) / args.slots; ++block)
    scan_block_backward<S>(args, scan_block<S>(args, group, block), gbc, scratch);
}
