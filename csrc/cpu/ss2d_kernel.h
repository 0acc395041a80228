// The four-direction scan over a channels-last map. Included per instruction set, after tile.h.

// Raster positions along a direction: 0 rows, 1 columns, 2 and 3 the same from the end. A step needs no division.
struct Walk {
  int64_t height, width, row, column, forward;
  bool columns;

  Walk(int64_t h, int64_t w, int direction, int64_t start)
      : height(h), width(w), forward(direction < 2 ? 1 : -1), columns(direction % 2) {
    const int64_t at = direction < 2 ? start : h * w - 1 - start;
    row = columns ? at % h : at / w;
    column = columns ? at / h : at % w;
  }

  int64_t position() const { return row * width + column; }

  void step() {
    int64_t& inner = columns ? row : column;
    int64_t& outer = columns ? column : row;
    const int64_t size = columns ? height : width;
    inner += forward;
    if (inner == size) {
      inner = 0;
      ++outer;
    } else if (inner < 0) {
      inner = size - 1;
      --outer;
    }
  }
};

template <class S>
struct MapBlock {
  int64_t b, first, length, width;  // width of a row of proj
  int count;
  int64_t position[kTile];
};

template <class S>
static MapBlock<S> map_block(const Ss2dArgs<S>& args, int64_t b, int64_t block) {
  MapBlock<S> it;
  it.b = b;
  it.first = block * kLanes<S>;
  const int64_t left = args.channels - it.first;
  it.count = left < kLanes<S> ? static_cast<int>(left) : kLanes<S>;
  it.length = args.height * args.width;
  it.width = 4 * (args.rank + 2 * args.state);
  return it;
}

template <class S>
static Rows<S> map_rows(const Ss2dArgs<S>& args, const MapBlock<S>& it, int direction) {
  const S* row = args.proj + it.b * it.length * it.width + direction * (args.rank + 2 * args.state) + args.rank;
  return {row, row + args.state, 1};
}

// Fills dt and dt * u of the tile of `direction` at `start`, and u and pre if Backward. x has the block's channels as
// vectors by position.
template <class S, bool Backward>
static void map_load(const Ss2dArgs<S>& args, MapBlock<S>& it, int direction, int64_t start, const Vec<S>* x,
                     const Vec<S>* weight, Vec<S> bias, Tile<S>& tile) {
  const int64_t left = it.length - start;
  tile.steps = left < kTile ? static_cast<int>(left) : kTile;
  Walk walk(args.height, args.width, direction, start);
  for (int t = 0; t < tile.steps; ++t, walk.step()) {
    it.position[t] = walk.position();
    tile.offset[t] = it.position[t] * it.width;
    if (Backward) tile.u[t] = x[it.position[t]];
  }
  low_rank_steps<S>(tile, map_rows<S>(args, it, direction).b - args.rank, 1, args.rank, weight, bias,
                    [&](int t, Vec<S> pre) {
                      if (Backward) tile.pre[t] = pre;
                      tile.dt[t] = softplus<S>(pre);
                      tile.dtu[t] = tile.dt[t] * x[it.position[t]];
                    });
}

template <class S>
static int64_t ss2d_scratch(const Ss2dArgs<S>& args) {
  const int64_t tiles = (args.height * args.width + kTile - 1) / kTile;
  return ((tiles + 5) * args.state + args.rank + 3 * args.height * args.width) * kLanes<S>;
}

// Copies a block's channels of a map [H*W, C] side by side: in place they would share a quarter of the cache sets.
template <class S>
static void gather_block(Vec<S>* to, const S* from, const Ss2dArgs<S>& args, const MapBlock<S>& it) {
  from += it.b * it.length * args.channels + it.first;
  for (int64_t i = 0; i < it.length; ++i) to[i] = load_first(from + i * args.channels, it.count);
}

template <class S>
static void scatter_block(S* to, const Vec<S>* from, const Ss2dArgs<S>& args, const MapBlock<S>& it) {
  to += it.b * it.length * args.channels + it.first;
  for (int64_t i = 0; i < it.length; ++i) store_first(to + i * args.channels, from[i], it.count);
}

template <class S>
static Vec<S> sum_of_skips(const Ss2dArgs<S>& args, const MapBlock<S>& it) {
  Vec<S> sum{};
  for (int k = 0; k < 4; ++k) sum += load_first(args.skip + k * args.channels + it.first, it.count);
  return sum;
}

template <class S>
static void ss2d(const Ss2dArgs<S>& args, int64_t item, S* scratch) {
  const int64_t blocks = (args.channels + kLanes<S> - 1) / kLanes<S>, state = args.state;
  MapBlock<S> it = map_block<S>(args, item / blocks, item % blocks);
  Vec<S>* rate = reinterpret_cast<Vec<S>*>(scratch);
  Vec<S>* h = rate + state;
  Vec<S>* weight = h + state;
  Vec<S>* x = weight + args.rank;  // [H*W]
  Vec<S>* y = x + it.length;       // [H*W]
  gather_block<S>(x, args.x, args, it);
  const Vec<S> skip = sum_of_skips<S>(args, it);
  Tile<S> tile;
  for (int k = 0; k < 4; ++k) {
    const int64_t parameter = k * args.channels + it.first;
    load_columns<S>(rate, args.a + parameter * state, state, it.count, S(kLog2E));
    load_columns<S>(weight, args.low_weight + parameter * args.rank, args.rank, it.count, S(1));
    const Vec<S> bias = load_first(args.bias + parameter, it.count);
    for (int64_t n = 0; n < state; ++n) h[n] = Vec<S>{};
    for (int64_t start = 0; start < it.length; start += kTile) {
      map_load<S, false>(args, it, k, start, x, weight, bias, tile);
      run_tile<S, Output::kSet>(tile, state, rate, h, map_rows<S>(args, it, k));
      for (int t = 0; t < tile.steps; ++t) {
        const int64_t at = it.position[t];
        y[at] = (k ? y[at] : skip * x[at]) + tile.y[t];
      }
    }
  }
  scatter_block<S>(args.y, y, args, it);
}

template <class S>
static void map_tile_backward(const Ss2dArgs<S>& args, const MapBlock<S>& it, int k, Vec<S> skip, Tile<S>& tile,
                              Vec<S>* gx) {
  // tile.u holds the gradient of u without the skip, tile.pre that of the step size, tile.y that of y
  for (int t = 0; t < tile.steps; ++t) {
    gx[it.position[t]] = (k ? gx[it.position[t]] : Vec<S>{}) + tile.u[t] + skip * tile.y[t];
    S* gdelta = args.gdelta + ((it.b * 4 + k) * it.length + it.position[t]) * args.channels + it.first;
    store_first(gdelta, tile.pre[t], it.count);
  }
}

template <class S>
static void map_block_backward(const Ss2dArgs<S>& args, MapBlock<S>& it, int k, const Vec<S>* x, const Vec<S>* gy,
                               Vec<S>* gx, S* gbc, S* scratch) {
  const int64_t state = args.state, tiles = (it.length + kTile - 1) / kTile;
  const int64_t parameter = k * args.channels + it.first;
  Vec<S>* rate = reinterpret_cast<Vec<S>*>(scratch);
  Vec<S>* carry = rate + state;
  Vec<S>* ga = carry + state;
  Vec<S>* weight = ga + state;
  Vec<S>* heads = weight + args.rank;  // [tiles + 1, N]
  load_columns<S>(rate, args.a + parameter * state, state, it.count, S(kLog2E));
  load_columns<S>(weight, args.low_weight + parameter * args.rank, args.rank, it.count, S(1));
  const Vec<S> bias = load_first(args.bias + parameter, it.count);
  const Vec<S> skip = load_first(args.skip + parameter, it.count);
  for (int64_t n = 0; n < state; ++n) carry[n] = ga[n] = heads[n] = Vec<S>{};
  const Rows<S> rows = map_rows<S>(args, it, k);
  Tile<S> tile;
  TileGradient<S> g;
  for (int64_t i = 0; i < tiles; ++i) {
    map_load<S, false>(args, it, k, i * kTile, x, weight, bias, tile);
    Vec<S>* h = heads + (i + 1) * state;
    for (int64_t n = 0; n < state; ++n) h[n] = heads[i * state + n];
    run_tile<S, Output::kNone>(tile, state, rate, h, rows);
  }
  for (int64_t i = tiles - 1; i >= 0; --i) {
    map_load<S, true>(args, it, k, i * kTile, x, weight, bias, tile);
    for (int t = 0; t < tile.steps; ++t) tile.y[t] = gy[it.position[t]];
    run_tile_backward<S>(tile, g, state, true, rate, heads + i * state, carry, ga, rows, gbc + i * kTile, it.length);
    map_tile_backward<S>(args, it, k, skip, tile, gx);
  }
  store_columns<S>(args.ga + ((it.b * 4 + k) * args.channels + it.first) * state, ga, state, it.count);
}

template <class S>
static void ss2d_backward(const Ss2dArgs<S>& args, int64_t item, S* scratch) {
  const int64_t blocks = (args.channels + kLanes<S> - 1) / kLanes<S>;
  const int64_t b = item / args.slots, slot = item % args.slots;
  const int64_t size = 2 * args.state * args.height * args.width;
  S* gbc = args.gbc + item * 4 * size;
  for (int64_t i = 0; i < 4 * size; ++i) gbc[i] = S(0);
  for (int64_t block = blocks * slot / args.slots; block < blocks * (slot + 1) / args.slots; ++block) {
    MapBlock<S> it = map_block<S>(args, b, block);
    Vec<S>* x = reinterpret_cast<Vec<S>*>(scratch);  // [H*W] each
    Vec<S>* gy = x + it.length;
    Vec<S>* gx = gy + it.length;
    gather_block<S>(x, args.x, args, it);
    gather_block<S>(gy, args.gy, args, it);
    S* rest = reinterpret_cast<S*>(gx + it.length);
    for (int k = 0; k < 4; ++k) map_block_backward<S>(args, it, k, x, gy, gx, gbc + k * size, rest);
    scatter_block<S>(args.gx, gx, args, it);
  }
}
