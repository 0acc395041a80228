// Products of rows with packed weights. Included per instruction set, after activation.h and row_norm.h.

constexpr int kBlockRows = MAMBASEG_VECTOR_BYTES == 64 ? 12 : 6;  // with two vectors each they fill the registers
constexpr int64_t kLongestSum = 384;  // longer ones are added up in parts: smaller errors, and a part stays in L1

// A block of the result, up to kBlockRows rows of one or two vectors. A row of `a` is `runs` runs of `depth` numbers.
template <class S>
struct Block {
  const S* a;
  int64_t a_stride, runs, run_stride, depth;
  const S* weight[2];  // the vectors' columns; the next of k is kPanel on
  Vec<S> bias[2];
  const S* added;     // or null; strides as y, may be y
  S* y;
  int64_t y_stride;
  int64_t ahead;      // from the weights of k to those that are needed next
  int last;  // lanes of the last vector
};

template <class S, int Rows, int Vectors>
static void multiply_block(const Block<S>& block) {
  Vec<S> sum[Rows][Vectors];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < Vectors; ++j) sum[i][j] = Vec<S>{};
  }
  const S* left = block.weight[0];
  const S* right = block.weight[Vectors - 1];
  const int64_t stride = block.a_stride;
  for (int64_t run = 0; run < block.runs; ++run) {
    const S* a = block.a + run * block.run_stride;
    for (int64_t k = 0; k < block.depth; ++k) {
      const Vec<S> w0 = load(left), w1 = load(right);
      __builtin_prefetch(left + block.ahead, 0, 2);
      if constexpr (Vectors == 2 && kLanes<S> == kPanel) __builtin_prefetch(right + block.ahead, 0, 2);
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) {
        const S value = a[i * stride + k];
        sum[i][0] += w0 * value;
        if constexpr (Vectors == 2) sum[i][1] += w1 * value;
      }
      left += kPanel;
      right += kPanel;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < Vectors; ++j) {
      const int64_t at = i * block.y_stride + j * kLanes<S>;
      const int count = j == Vectors - 1 ? block.last : kLanes<S>;
      Vec<S> y = sum[i][j] + block.bias[j];
      if (block.added) y += load_first(block.added + at, count);
      store_first(block.y + at, y, count);
    }
  }
}

template <class S, int Vectors, int Rows = kBlockRows>
static void multiply_rows(const Block<S>& block, int rows) {
  if (rows == Rows) return multiply_block<S, Rows, Vectors>(block);
  if constexpr (Rows > 1) multiply_rows<S, Vectors, Rows - 1>(block, rows);
}

// Replaces y by activation(y) + residual in `columns` of each row.
template <int kActivation, class S>
static void activate_rows(S* y, int64_t stride, int64_t rows, int64_t columns, const S* residual) {
  for (int64_t i = 0; i < rows; ++i, y += stride) {
    for_vectors<S>(columns, [&](int64_t c, int n) {
      Vec<S> value = activate<kActivation, S>(load_first(y + c, n));
      if (residual) value += load_first(residual + i * stride + c, n);
      store_first(y + c, value, n);
    });
  }
}

template <class S>
static void activate_rows(int activation, S* y, int64_t stride, int64_t rows, int64_t columns, const S* residual) {
  switch (activation) {
    case kRelu: return activate_rows<kRelu, S>(y, stride, rows, columns, residual);
    case kGelu: return activate_rows<kGelu, S>(y, stride, rows, columns, residual);
    case kSilu: return activate_rows<kSilu, S>(y, stride, rows, columns, residual);
    case kSigmoid: return activate_rows<kSigmoid, S>(y, stride, rows, columns, residual);
  }
}

// Rows that a layer multiplies: `lines` of `rows` each, so that those of a map's padded lines need no copy.
template <class S>
struct Strip {
  const S* at;
  int64_t rows, row_stride, lines, line_stride, runs, run_stride;
};

// Part of a long sum: runs of `depth` numbers, the first `a` numbers into a row, its weights `first` into a panel.
struct Part {
  int64_t a, first, runs, depth;
};

template <class S>
static Part part_of(const Strip<S>& strip, int64_t depth, int64_t part, int64_t parts) {
  const int64_t run_depth = depth / strip.runs, pieces = parts / strip.runs;
  if (parts == 1) return {0, 0, strip.runs, run_depth};
  const int64_t run = part / pieces, begin = run_depth * (part % pieces) / pieces;
  return {run * strip.run_stride + begin, run * run_depth + begin, 1, run_depth * (part % pieces + 1) / pieces - begin};
}

// Writes activation(rows W^T + bias) + residual to y [lines * rows, outputs].
template <class S>
static void multiply(const Strip<S>& strip, const DenseLayer<S>& layer, int activation, const S* residual, S* y) {
  constexpr int lanes = kLanes<S>;
  const int64_t blocks = (strip.rows + kBlockRows - 1) / kBlockRows;
  const int64_t parts = layer.depth <= kLongestSum
                            ? 1
                            : strip.runs * ((layer.depth / strip.runs + kLongestSum - 1) / kLongestSum);
  Block<S> block;
  block.a_stride = strip.row_stride;
  block.run_stride = strip.run_stride;
  block.y_stride = layer.outputs;
  for (int64_t column = 0; column < layer.outputs; column += 2 * lanes) {
    const int64_t left = layer.outputs - column, columns = left < 2 * lanes ? left : 2 * lanes;
    const int vectors = columns > lanes ? 2 : 1;
    block.last = static_cast<int>(columns - (vectors - 1) * lanes);
    for (int64_t p = 0; p < parts; ++p) {
      const Part part = part_of<S>(strip, layer.depth, p, parts);
      block.runs = part.runs;
      block.depth = part.depth;
      block.ahead = part.depth * kPanel;
      for (int j = 0; j < vectors; ++j) {
        const int64_t first = column + j * lanes;
        const bool biased = layer.bias && p == 0;
        block.weight[j] = layer.panels + first / kPanel * kPanel * layer.depth + first % kPanel + part.first * kPanel;
        block.bias[j] = biased ? load_first(layer.bias + first, j + 1 == vectors ? block.last : lanes) : Vec<S>{};
      }
      const S* added = p ? y : activation == kNone ? residual : nullptr;
      for (int64_t i = 0; i < strip.lines * blocks; ++i) {
        const int64_t line = i / blocks, begin = strip.rows * (i % blocks) / blocks;
        const int rows = static_cast<int>(strip.rows * (i % blocks + 1) / blocks - begin);
        const int64_t at = (line * strip.rows + begin) * layer.outputs + column;
        block.a = strip.at + line * strip.line_stride + begin * strip.row_stride + part.a;
        block.y = y + at;
        block.added = added ? added + at : nullptr;
        if (vectors == 2) multiply_rows<S, 2>(block, rows);
        else multiply_rows<S, 1>(block, rows);
      }
    }
    activate_rows<S>(activation, y + column, layer.outputs, strip.lines * strip.rows, columns,
                     residual ? residual + column : nullptr);
  }
}

// ---- linear layers ----

// The first row of an item; the items' sizes differ by one row at most.
template <class Args>
static int64_t first_row(const Args& args, int64_t item) {
  return args.rows * item / args.items;
}

template <class Args>
static int64_t most_rows(const Args& args) {
  return (args.rows + args.items - 1) / args.items;
}

// Returns the rows of x, or those that it writes normalized to `scratch`.
template <class S>
static Strip<S> normalized_rows(const S* x, int64_t rows, int64_t channels, const Norm<S>& norm, S* scratch) {
  if (norm.weight) normalize<S>(x, rows, channels, norm, scratch, channels);
  return {norm.weight ? scratch : x, rows, channels, 1, 0, 1, 0};
}

template <class S>
static int64_t linear_scratch(const LinearArgs<S>& args) {
  return most_rows(args) * args.layer.depth;
}

template <class S>
static void linear(const LinearArgs<S>& args, int64_t item, S* scratch) {
  const int64_t begin = first_row(args, item), rows = first_row(args, item + 1) - begin, outputs = args.layer.outputs;
  const Strip<S> strip = normalized_rows<S>(args.x + begin * args.layer.depth, rows, args.layer.depth, args.norm, scratch);
  multiply<S>(strip, args.layer, args.layer.activation, args.residual ? args.residual + begin * outputs : nullptr,
              args.y + begin * outputs);
}

template <class S>
static int64_t mlp_scratch(const MlpArgs<S>& args) {
  return most_rows(args) * (args.first.depth + args.first.outputs);
}

template <class S>
static void mlp(const MlpArgs<S>& args, int64_t item, S* scratch) {
  const int64_t begin = first_row(args, item), rows = first_row(args, item + 1) - begin, channels = args.first.depth;
  const S* x = args.x + begin * channels;
  const Strip<S> strip = normalized_rows<S>(x, rows, channels, args.norm, scratch);
  S* hidden = scratch + rows * channels;
  multiply<S>(strip, args.first, args.first.activation, nullptr, hidden);
  const Strip<S> inner = {hidden, rows, args.first.outputs, 1, 0, 1, 0};
  multiply<S>(inner, args.second, kNone, args.residual ? x : nullptr, args.y + begin * channels);
}

// ---- 3x3 convolutions ----

template <class S>
static int64_t conv_scratch(const ConvArgs<S>& args) {
  return ((args.lines - 1) * args.step + 3) * (args.width + 2) * args.channels;
}

// Copies line y of image b with a pixel of zeros at either end; a line outside the image is zero.
template <class S>
static void pad_line(const ConvArgs<S>& args, int64_t b, int64_t y, S* to) {
  const int64_t channels = args.channels, size = args.width * channels;
  const bool outside = y < 0 || y >= args.height;
  __builtin_memset(to, 0, static_cast<size_t>(outside ? size + 2 * channels : channels) * sizeof(S));
  if (outside) return;
  const S* from = args.x + b * args.strides[0] + y * args.strides[1];
  to += channels;
  if (args.strides[3] == 1 && args.strides[2] == channels) {
    __builtin_memcpy(to, from, static_cast<size_t>(size) * sizeof(S));
  } else {
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t x = 0; x < args.width; ++x) to[x * channels + c] = from[x * args.strides[2] + c * args.strides[3]];
  }
  __builtin_memset(to + size, 0, static_cast<size_t>(channels) * sizeof(S));
}

template <class S>
static void conv(const ConvArgs<S>& args, int64_t item, S* scratch) {
  const int64_t parts = (args.out_height + args.lines - 1) / args.lines, outputs = args.layer.outputs;
  const int64_t b = item / parts, first = item % parts * args.lines, padded = (args.width + 2) * args.channels;
  const int64_t lines = args.out_height - first < args.lines ? args.out_height - first : args.lines;
  for (int64_t i = 0; i < (lines - 1) * args.step + 3; ++i)
    pad_line<S>(args, b, first * args.step - 1 + i, scratch + i * padded);
  S* y = args.y + (b * args.out_height + first) * args.out_width * outputs;
  const int64_t rows = lines * args.out_width;
  const Strip<S> strip = {scratch, args.out_width, args.step * args.channels, lines, args.step * padded, 3, padded};
  if (!args.norm.weight) return multiply<S>(strip, args.layer, args.layer.activation, nullptr, y);
  multiply<S>(strip, args.layer, kNone, nullptr, y);
  normalize<S>(y, rows, outputs, args.norm, y, outputs);
  activate_rows<S>(args.layer.activation, y, rows * outputs, 1, rows * outputs, nullptr);
}

template <class S>
constexpr DenseKernels<S> dense_table() {
  return {&linear_scratch<S>, &linear<S>, &mlp_scratch<S>, &mlp<S>, &conv_scratch<S>, &conv<S>};
}
