// Products of rows, rounded to bfloat16, with weights packed in it; sums in float32. Included per instruction set,
// after activation.h, row_norm.h and one of factors_{float,pairs,tiles}.h, whose `Factors` multiply.

constexpr int kRowsABlock = 32;  // two tiles

// Left factors: rows of `stride` numbers, of which the first `depth` count; up to the padded depth they are zero.
struct AsFactors : Factors {
  using Number = Factors::Left;
};

struct LeftRows {
  Factors::Left* at;
  int64_t stride;
};

MAMBASEG_INLINE int64_t whole_tiles(int64_t rows) { return (rows + 15) / 16 * 16; }

// Floats of the scratch memory that hold so many rows of left factors, in whole lines of the cache.
MAMBASEG_INLINE int64_t left_size(int64_t rows, int64_t depth) {
  const int64_t bytes = whole_tiles(rows) * padded_depth(depth) * static_cast<int64_t>(sizeof(Factors::Left));
  return (bytes + 63) / 64 * 16;
}

MAMBASEG_INLINE LeftRows left_rows(float* scratch, int64_t depth) {
  return {reinterpret_cast<Factors::Left*>(scratch), padded_depth(depth)};
}

// Clears `rows` rows from the depth to the padded depth.
static void clear_padding(const LeftRows& left, int64_t rows, int64_t depth) {
  if (depth == left.stride) return;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t k = depth; k < left.stride; ++k) left.at[i * left.stride + k] = 0;
}

// Rounds rows of x [rows, channels], normalized if there is a norm.
static void round_rows(const float* x, int64_t rows, int64_t channels, const Norm<float>& norm, const LeftRows& left) {
  if (norm.weight) {
    normalize<float, AsFactors>(x, rows, channels, norm, left.at, left.stride);
  } else {
    Factors::Left* to = left.at;
    for (int64_t i = 0; i < rows; ++i, x += channels, to += left.stride)
      for_vectors<float>(channels, [=](int64_t c, int n) { Factors::put(to + c, load_first(x + c, n), n); });
  }
  clear_padding(left, rows, channels);
}

// Writes activation(sums + bias) + residual to `rows` rows of y; `residual` has rows of `residual_stride`.
template <class Stored, int kActivation>
static void finish(const float* sums, int rows, int64_t columns, const float* bias, const float* residual,
                   int64_t residual_stride, typename Stored::Number* y, int64_t y_stride) {
  for_vectors<float>(columns, [=](int64_t c, int n) {
    const Vec<float> offset = bias ? load_first(bias + c, n) : Vec<float>{};
    const float *sum = sums + c, *added = residual + c;
    typename Stored::Number* to = y + c;
    for (int i = 0; i < rows; ++i, sum += 2 * kPanel, added += residual_stride, to += y_stride) {
      Vec<float> value = activate<kActivation, float>(load(sum) + offset);
      if (residual) value += load_first(added, n);
      Stored::put(to, value, n);
    }
  });
}

template <class Stored, class... Rest>
static void finish(int activation, const Rest&... rest) {
  switch (activation) {
    case kNone: return finish<Stored, kNone>(rest...);
    case kRelu: return finish<Stored, kRelu>(rest...);
    case kGelu: return finish<Stored, kGelu>(rest...);
    case kSilu: return finish<Stored, kSilu>(rest...);
    case kSigmoid: return finish<Stored, kSigmoid>(rest...);
  }
}

// Writes activation(rows W^T + bias) + residual to y, rows of `stride`; `residual` has rows of the outputs.
template <class Stored = AsItIs<float>>
static void multiply_left(const LeftRows& left, int64_t rows, const DenseLayer<float, Bfloat16>& layer, int activation,
                          const float* residual, typename Stored::Number* y, int64_t stride) {
  alignas(64) float sums[kRowsABlock * 2 * kPanel];
  const int64_t panel = padded_depth(layer.depth) * kPanel, outputs = layer.outputs;
  for (int64_t column = 0; column < outputs; column += 2 * kPanel) {
    const int64_t columns = outputs - column < 2 * kPanel ? outputs - column : 2 * kPanel;
    const Bfloat16* weight = layer.panels + column / kPanel * panel;
    const float* bias = layer.bias ? layer.bias + column : nullptr;
    for (int64_t row = 0; row < rows; row += kRowsABlock) {
      const int count = rows - row < kRowsABlock ? static_cast<int>(rows - row) : kRowsABlock;
      const Factors::Left* a = left.at + row * left.stride;
      if (columns > kPanel) Factors::multiply<2>(a, left.stride, count, weight, weight + panel, layer.depth, sums);
      else Factors::multiply<1>(a, left.stride, count, weight, weight, layer.depth, sums);
      const float* added = residual ? residual + row * outputs + column : nullptr;
      finish<Stored>(activation, sums, count, columns, bias, added, outputs, y + row * stride + column, stride);
    }
  }
}

// ---- linear layers ----

static int64_t linear_scratch(const LinearArgs<float, Bfloat16>& args) {
  return left_size(most_rows(args), args.layer.depth);
}

static void linear(const LinearArgs<float, Bfloat16>& args, int64_t item, float* scratch) {
  const int64_t begin = first_row(args, item), rows = first_row(args, item + 1) - begin;
  const int64_t depth = args.layer.depth, outputs = args.layer.outputs;
  [[maybe_unused]] const Factors::Session session;
  const LeftRows left = left_rows(scratch, depth);
  round_rows(args.x + begin * depth, rows, depth, args.norm, left);
  multiply_left(left, rows, args.layer, args.layer.activation,
                args.residual ? args.residual + begin * outputs : nullptr, args.y + begin * outputs, outputs);
}

static int64_t mlp_scratch(const MlpArgs<float, Bfloat16>& args) {
  const int64_t rows = most_rows(args);
  return left_size(rows, args.first.depth) + left_size(rows, args.second.depth);
}

static void mlp(const MlpArgs<float, Bfloat16>& args, int64_t item, float* scratch) {
  const int64_t begin = first_row(args, item), rows = first_row(args, item + 1) - begin;
  const int64_t channels = args.first.depth, hidden = args.second.depth;
  const float* x = args.x + begin * channels;
  [[maybe_unused]] const Factors::Session session;
  const LeftRows left = left_rows(scratch, channels), inner = left_rows(scratch + left_size(rows, channels), hidden);
  round_rows(x, rows, channels, args.norm, left);
  multiply_left<AsFactors>(left, rows, args.first, args.first.activation, nullptr, inner.at, inner.stride);
  clear_padding(inner, rows, hidden);
  multiply_left(inner, rows, args.second, kNone, args.residual ? x : nullptr, args.y + begin * channels, channels);
}

// ---- 3x3 convolutions ----

// Rounded lines of the image with a pixel of zeros at either end.
static int64_t lines_size(const ConvArgs<float, Bfloat16>& args) {
  const int64_t numbers = ((args.lines - 1) * args.step + 3) * (args.width + 2) * args.channels;
  return (numbers * static_cast<int64_t>(sizeof(Factors::Left)) + 63) / 64 * 16 + 16;  // with a vector for `copy_run`
}

static int64_t conv_scratch(const ConvArgs<float, Bfloat16>& args) {
  return lines_size(args) + left_size(args.lines * args.out_width, args.layer.depth) + 16;
}

// Rounds line y of image b; a line outside the image is zero.
static void round_line(const ConvArgs<float, Bfloat16>& args, int64_t b, int64_t y, Factors::Left* to) {
  const int64_t channels = args.channels, size = args.width * channels;
  const bool outside = y < 0 || y >= args.height;
  __builtin_memset(to, 0, static_cast<size_t>(outside ? size + 2 * channels : channels) * sizeof(Factors::Left));
  if (outside) return;
  const float* from = args.x + b * args.strides[0] + y * args.strides[1];
  to += channels;
  if (args.strides[3] == 1 && args.strides[2] == channels) {
    for_vectors<float>(size, [&](int64_t c, int n) { Factors::put(to + c, load_first(from + c, n), n); });
  } else if (args.strides[2] == 1 && channels <= 4) {  // planes, too few to transpose them
    for (int64_t c = 0; c < channels; ++c) {
      const float* plane = from + c * args.strides[3];
      for_vectors<float>(args.width, [&](int64_t x, int n) {
        alignas(64) Factors::Left some[kLanes<float>];
        Factors::put(some, load_first(plane + x, n), kLanes<float>);
        for (int i = 0; i < n; ++i) to[(x + i) * channels + c] = some[i];
      });
    }
  } else if (args.strides[2] == 1) {
    constexpr int lanes = kLanes<float>;
    for_vectors<float>(args.width, [&](int64_t x, int n) {
      for_vectors<float>(channels, [&](int64_t first, int count) {
        Vec<float> square[lanes];
        for (int c = 0; c < count; ++c) square[c] = load_first(from + (first + c) * args.strides[3] + x, n);
        for (int c = count; c < lanes; ++c) square[c] = Vec<float>{};
        transpose<float>(square);
        const int put = channels <= lanes ? lanes : count;  // what is too much lies where the next pixels will
        for (int i = 0; i < n; ++i) Factors::put(to + (x + i) * channels + first, square[i], put);
      });
    });
  } else {
    float pixel[kLanes<float>];
    for (int64_t x = 0; x < args.width; ++x) {
      for_vectors<float>(channels, [&](int64_t first, int count) {
        for (int c = 0; c < count; ++c) pixel[c] = from[x * args.strides[2] + (first + c) * args.strides[3]];
        Factors::put(to + x * channels + first, load_first(pixel, count), count);
      });
    }
  }
  __builtin_memset(to + size, 0, static_cast<size_t>(channels) * sizeof(Factors::Left));
}

// Copies numbers, and some behind them: both sides have room for a vector more, which later copies overwrite.
MAMBASEG_INLINE void copy_run(Factors::Left* to, const Factors::Left* from, int64_t count) {
  constexpr int64_t vector = MAMBASEG_VECTOR_BYTES / static_cast<int64_t>(sizeof(Factors::Left));
  for (int64_t k = 0; k < count; k += vector)
    __builtin_memcpy(to + k, from + k, MAMBASEG_VECTOR_BYTES);
}

static void conv(const ConvArgs<float, Bfloat16>& args, int64_t item, float* scratch) {
  const int64_t parts = (args.out_height + args.lines - 1) / args.lines, outputs = args.layer.outputs;
  const int64_t b = item / parts, first = item % parts * args.lines, channels = args.channels;
  const int64_t lines = args.out_height - first < args.lines ? args.out_height - first : args.lines;
  const int64_t padded = (args.width + 2) * channels, depth = args.layer.depth, rows = lines * args.out_width;
  [[maybe_unused]] const Factors::Session session;
  Factors::Left* image = reinterpret_cast<Factors::Left*>(scratch);
  for (int64_t i = 0; i < (lines - 1) * args.step + 3; ++i)
    round_line(args, b, first * args.step - 1 + i, image + i * padded);
  const LeftRows left = left_rows(scratch + lines_size(args), depth);
  Factors::Left* to = left.at;
  for (int64_t line = 0; line < lines; ++line) {
    const Factors::Left* from = image + line * args.step * padded;
    for (int64_t x = 0; x < args.out_width; ++x, from += args.step * channels, to += left.stride)
      for (int64_t tap = 0; tap < 3; ++tap) copy_run(to + tap * 3 * channels, from + tap * padded, 3 * channels);
  }
  clear_padding(left, rows, depth);
  float* y = args.y + (b * args.out_height + first) * args.out_width * outputs;
  if (!args.norm.weight) return multiply_left(left, rows, args.layer, args.layer.activation, nullptr, y, outputs);
  multiply_left(left, rows, args.layer, kNone, nullptr, y, outputs);
  normalize<float>(y, rows, outputs, args.norm, y, outputs);
  activate_rows<float>(args.layer.activation, y, rows * outputs, 1, rows * outputs, nullptr);
}

constexpr Bfloat16Kernels kBfloat16Dense = {&linear_scratch, &linear, &mlp_scratch, &mlp, &conv_scratch, &conv};
