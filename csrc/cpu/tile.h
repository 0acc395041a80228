// A tile: up to kTile steps of one vector of channels. Included per instruction set, after vec.h.

// Rows of kTile vectors would lie exactly one page apart. The processor would then mistake a store to one row for a
// store to the others.
constexpr int kRow = kTile + 8;

template <class S>
struct Tile {
  Vec<S> u[kRow], pre[kRow], dt[kRow], dtu[kRow], y[kRow];  // pre: the step size before the softplus
  int64_t offset[kTile];                                    // start of B and C of each step
  int steps;
};

template <class S>
struct TileGradient {
  Vec<S> gdt[kRow], gdtu[kRow];  // gradients of dt (through the decay) and of dt * u
  Vec<S> decay[kRow], h[kRow], product[kRow];
};

// Calls emit(t, bias + sum over r of weight[r] * low[offset[t] + r * stride]); eight steps share each weight.
template <class S, class Emit>
static void low_rank_steps(const Tile<S>& tile, const S* low, int64_t stride, int64_t rank, const Vec<S>* weight,
                           Vec<S> bias, const Emit& emit) {
  int t = 0;
  for (; t + 8 <= tile.steps; t += 8) {
    const S* from[8];
    Vec<S> sum[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      from[i] = low + tile.offset[t + i];
      sum[i] = bias;
    }
    for (int64_t r = 0; r < rank; ++r) {
      const Vec<S> w = weight[r];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) sum[i] += w * from[i][r * stride];
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) emit(t + i, sum[i]);
  }
  for (; t < tile.steps; ++t) {
    Vec<S> sum = bias;
    for (int64_t r = 0; r < rank; ++r) sum += weight[r] * low[tile.offset[t] + r * stride];
    emit(t, sum);
  }
}

// Computes dt and dt * u from u and pre.
template <class S>
static void finish_steps(Tile<S>& tile, bool soft) {
  for (int t = 0; t < tile.steps; ++t) {
    const Vec<S> dt = soft ? softplus<S>(tile.pre[t]) : tile.pre[t];
    tile.dt[t] = dt;
    tile.dtu[t] = dt * tile.u[t];
  }
}

// Rows of B and C: entry n of step t is b[offset[t] + n * stride].
template <class S>
struct Rows {
  const S *b, *c;
  int64_t stride;
};

enum class Output { kNone, kSet, kAdd };  // how C.h goes into tile.y

// Runs NB states through the tile: NB independent chains hide each other's latency.
template <class S, int NB, Output Mode>
static void run_states(Tile<S>& tile, const Vec<S>* rate, Vec<S>* h, Rows<S> rows) {
  Vec<S> a[NB], state[NB];
#pragma GCC unroll 8
  for (int n = 0; n < NB; ++n) {
    a[n] = rate[n];
    state[n] = h[n];
  }
  for (int t = 0; t < tile.steps; ++t) {
    const Vec<S> dt = tile.dt[t], dtu = tile.dtu[t];
    const S* b = rows.b + tile.offset[t];
    const S* c = rows.c + tile.offset[t];
    Vec<S> y = Mode == Output::kAdd ? tile.y[t] : Vec<S>{};
#pragma GCC unroll 8
    for (int n = 0; n < NB; ++n) {
      state[n] = exp2(dt * a[n]) * state[n] + dtu * b[n * rows.stride];
      if (Mode != Output::kNone) y += state[n] * c[n * rows.stride];
    }
    if (Mode != Output::kNone) tile.y[t] = y;
  }
#pragma GCC unroll 8
  for (int n = 0; n < NB; ++n) h[n] = state[n];
}

template <class S, Output Mode>
static void run_tile(Tile<S>& tile, int64_t state, const Vec<S>* rate, Vec<S>* h, Rows<S> rows) {
  constexpr Output kRest = Mode == Output::kNone ? Output::kNone : Output::kAdd;
  const auto at = [rows](int64_t n) {
    return Rows<S>{rows.b + n * rows.stride, rows.c + n * rows.stride, rows.stride};
  };
  int64_t n = state >= 4 ? 4 : state >= 1 ? 1 : 0;
  if (n == 4) run_states<S, 4, Mode>(tile, rate, h, rows);
  if (n == 1) run_states<S, 1, Mode>(tile, rate, h, rows);
  if (n == 0 && Mode == Output::kSet)
    for (int t = 0; t < tile.steps; ++t) tile.y[t] = Vec<S>{};
  for (; n + 4 <= state; n += 4) run_states<S, 4, kRest>(tile, rate + n, h + n, at(n));
  for (; n < state; ++n) run_states<S, 1, kRest>(tile, rate + n, h + n, at(n));
}

// Adds the lane sums of `products` to the `steps` scalars at `to`.
template <class S>
static void add_lane_sums(S* to, const Vec<S>* products, int steps) {
  constexpr int lanes = kLanes<S>;
  int t = 0;
  for (; t + lanes <= steps; t += lanes) store(to + t, load(to + t) + lane_sums<S>(products + t));
  for (; t < steps; ++t)
    for (int i = 0; i < lanes; ++i) to[t] += products[t][i];
}

// Runs one state of the tile backward. tile.y holds the gradient of y. `carry` holds the gradient of the state after
// the tile, and on return that of the state before it. The sums over the lanes are added to gb and gc [steps].
template <class S>
static void run_state_backward(const Tile<S>& tile, TileGradient<S>& g, Vec<S> rate, Vec<S> head, Vec<S>& carry,
                               Vec<S>& ga, Rows<S> rows, S* gb, S* gc) {
  Vec<S> state = head;
  for (int t = 0; t < tile.steps; ++t) {
    g.decay[t] = exp2(tile.dt[t] * rate);
    state = g.decay[t] * state + tile.dtu[t] * rows.b[tile.offset[t]];
    g.h[t] = state;
    g.product[t] = tile.y[t] * state;
  }
  add_lane_sums<S>(gc, g.product, tile.steps);
  const Vec<S> a = rate * S(1 / kLog2E);
  Vec<S> next = carry, sum = ga;
  for (int t = tile.steps - 1; t >= 0; --t) {
    const Vec<S> gh = tile.y[t] * rows.c[tile.offset[t]] + next;
    next = gh * g.decay[t];
    const Vec<S> gexponent = next * (t ? g.h[t - 1] : head);
    g.gdt[t] += gexponent * a;
    sum += gexponent * tile.dt[t];
    g.gdtu[t] += gh * rows.b[tile.offset[t]];
    g.product[t] = gh * tile.dtu[t];
  }
  add_lane_sums<S>(gb, g.product, tile.steps);
  carry = next;
  ga = sum;
}

// Runs all states of the tile backward. Puts the gradient of u (without the skip) into tile.u and that of the step
// size before the softplus into tile.pre. gbc: [2N, L] at the first step of the tile.
template <class S>
static void run_tile_backward(Tile<S>& tile, TileGradient<S>& g, int64_t state, bool soft, const Vec<S>* rate,
                              const Vec<S>* heads, Vec<S>* carry, Vec<S>* ga, Rows<S> rows, S* gbc, int64_t length) {
  for (int t = 0; t < tile.steps; ++t) g.gdt[t] = g.gdtu[t] = Vec<S>{};
  for (int64_t n = 0; n < state; ++n) {
    const Rows<S> row{rows.b + n * rows.stride, rows.c + n * rows.stride, rows.stride};
    run_state_backward<S>(tile, g, rate[n], heads[n], carry[n], ga[n], row, gbc + n * length,
                          gbc + (state + n) * length);
  }
  for (int t = 0; t < tile.steps; ++t) {
    const Vec<S> gdt = g.gdt[t] + g.gdtu[t] * tile.u[t];
    tile.u[t] = g.gdtu[t] * tile.dt[t];
    tile.pre[t] = soft ? gdt * softplus_slope<S>(tile.pre[t]) : gdt;
  }
}

// Loads column n of `count` rows of a matrix [count, columns] as vector n, times `factor`.
template <class S>
static void load_columns(Vec<S>* to, const S* from, int64_t columns, int count, S factor) {
  for (int64_t n = 0; n < columns; ++n) {
    Vec<S> value{};
    for (int i = 0; i < count; ++i) value[i] = from[i * columns + n] * factor;
    to[n] = value;
  }
}

template <class S>
static void store_columns(S* to, const Vec<S>* from, int64_t columns, int count) {
  for (int64_t n = 0; n < columns; ++n)
    for (int i = 0; i < count; ++i) to[i * columns + n] = from[n][i];
}
