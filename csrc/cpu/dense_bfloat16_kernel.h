// Products of rows, rounded to bfloat16, with weights packed in it; sums in float32. Included per instruction set,
// after activation.h, row_norm.h and one of factors_{float,pairs,tiles}.h, whose `Factors` multiply.

constexpr int kRowsABlock = 32;  // two tiles

// Left factors: rows of `stride` numbers, of which the first `depth` count; up to the padded depth they are zero.
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

MAMBASEG_INLINE void clear_padding(const LeftRows& left, int64_t row, int64_t depth) {
  __builtin_memset(left.at + row * left.stride + depth, 0,
                   static_cast<size_t>(left.stride - depth) * sizeof(Factors::Left));
}

// Rounds rows of x [rows, channels], normalized if there is a norm.
static void round_rows(const float* x, int64_t rows, int64_t channels, const Norm<float>& norm, const LeftRows& left) {
  const auto put = [&](int64_t row, int64_t c, Vec<float> value, int n) {
    Factors::put(left.at + row * left.stride + c, value, n);
  };
  if (norm.weight) {
    normalize_rows<float>(x, rows, channels, norm, put);
  } else {
    for (int64_t i = 0; i < rows; ++i) {
      const float* row = x + i * channels;
      for_vectors<float>(channels, [&](int64_t c, int n) { put(i, c, load_first(row + c, n), n); });
    }
  }
  for (int64_t i = 0; i < rows; ++i) clear_padding(left, i, channels);
}

struct ToRows {
  float* at;
  int64_t stride;
  MAMBASEG_INLINE_METHOD void operator()(int64_t row, int64_t c, Vec<float> value, int n) const {
    store_first(at + row * stride + c, value, n);
  }
};

struct ToLeft {
  LeftRows left;
  MAMBASEG_INLINE_METHOD void operator()(int64_t row, int64_t c, Vec<float> value, int n) const {
    Factors::put(left.at + row * left.stride + c, value, n);
  }
};

// Puts activation(sums + bias) + residual. `residual` has the stride `outputs`.
template <int kActivation, class Put>
static void finish(const float* sums, int64_t row, int rows, int64_t column, int64_t columns,
                   const DenseLayer<float, Bfloat16>& layer, const float* residual, const Put& put) {
  for_vectors<float>(columns, [&](int64_t c, int n) {
    const Vec<float> bias = layer.bias ? load_first(layer.bias + column + c, n) : Vec<float>{};
    for (int i = 0; i < rows; ++i) {
      Vec<float> value = activate<kActivation, float>(load(sums + i * 2 * kPanel + c) + bias);
      if (residual) value += load_first(residual + (row + i) * layer.outputs + column + c, n);
      put(row + i, column + c, value, n);
    }
  });
}

template <class Put>
static void finish(int activation, const float* sums, int64_t row, int rows, int64_t column, int64_t columns,
                   const DenseLayer<float, Bfloat16>& layer, const float* residual, const Put& put) {
  switch (activation) {
    case kNone: return finish<kNone>(sums, row, rows, column, columns, layer, residual, put);
    case kRelu: return finish<kRelu>(sums, row, rows, column, columns, layer, residual, put);
    case kGelu: return finish<kGelu>(sums, row, rows, column, columns, layer, residual, put);
    case kSilu: return finish<kSilu>(sums, row, rows, column, columns, layer, residual, put);
    case kSigmoid: return finish<kSigmoid>(sums, row, rows, column, columns, layer, residual, put);
  }
}

// Puts activation(rows W^T + bias) + residual.
template <class Put>
static void multiply_left(const LeftRows& left, int64_t rows, const DenseLayer<float, Bfloat16>& layer, int activation,
                          const float* residual, const Put& put) {
  alignas(64) float sums[kRowsABlock * 2 * kPanel];
  const int64_t panel = padded_depth(layer.depth) * kPanel;
  for (int64_t column = 0; column < layer.outputs; column += 2 * kPanel) {
    const int64_t columns = layer.outputs - column < 2 * kPanel ? layer.outputs - column : 2 * kPanel;
    const Bfloat16* weight = layer.panels + column / kPanel * panel;
    for (int64_t row = 0; row < rows; row += kRowsABlock) {
      const int count = rows - row < kRowsABlock ? static_cast<int>(rows - row) : kRowsABlock;
      const Factors::Left* a = left.at + row * left.stride;
      if (columns > kPanel) Factors::multiply<2>(a, left.stride, count, weight, weight + panel, layer.depth, sums);
      else Factors::multiply<1>(a, left.stride, count, weight, weight, layer.depth, sums);
      finish(activation, sums, row, count, column, columns, layer, residual, put);
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
                args.residual ? args.residual + begin * outputs : nullptr, ToRows{args.y + begin * outputs, outputs});
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
  multiply_left(left, rows, args.first, args.first.activation, nullptr, ToLeft{inner});
  for (int64_t i = 0; i < rows; ++i) clear_padding(inner, i, hidden);
  multiply_left(inner, rows, args.second, kNone, args.residual ? x : nullptr,
                ToRows{args.y + begin * channels, channels});
}

// ---- 3x3 convolutions ----

// Rounded lines of the image with a pixel of zeros at either end.
static int64_t lines_size(const ConvArgs<float, Bfloat16>& args) {
  const int64_t numbers = ((args.lines - 1) * args.step + 3) * (args.width + 2) * args.channels;
  return (numbers * static_cast<int64_t>(sizeof(Factors::Left)) + 63) / 64 * 16;
}

static int64_t conv_scratch(const ConvArgs<float, Bfloat16>& args) {
  return lines_size(args) + left_size(args.lines * args.out_width, args.layer.depth);
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
  } else if (args.strides[2] == 1) {
    alignas(64) Factors::Left some[kLanes<float>];
    for (int64_t c = 0; c < channels; ++c) {
      const float* plane = from + c * args.strides[3];
      for_vectors<float>(args.width, [&](int64_t x, int n) {
        Factors::put(some, load_first(plane + x, n), kLanes<float>);
        for (int i = 0; i < n; ++i) to[(x + i) * channels + c] = some[i];
      });
    }
  } else {
    alignas(64) Factors::Left some[kLanes<float>];
    for (int64_t x = 0; x < args.width; ++x) {
      for (int64_t c = 0; c < channels; ++c) {
        Factors::put(some, splat(from[x * args.strides[2] + c * args.strides[3]]), kLanes<float>);
        to[x * channels + c] = some[0];
      }
    }
  }
  __builtin_memset(to + size, 0, static_cast<size_t>(channels) * sizeof(Factors::Left));
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
  for (int64_t row = 0; row < rows; ++row) {
    const Factors::Left* from = image + row / args.out_width * args.step * padded + row % args.out_width * args.step * channels;
    for (int64_t tap = 0; tap < 3; ++tap)
      __builtin_memcpy(left.at + row * left.stride + tap * 3 * channels, from + tap * padded,
                       static_cast<size_t>(3 * channels) * sizeof(Factors::Left));
    clear_padding(left, row, depth);
  }
  float* y = args.y + (b * args.out_height + first) * args.out_width * outputs;
  const ToRows put{y, outputs};
  if (!args.norm.weight) return multiply_left(left, rows, args.layer, args.layer.activation, nullptr, put);
  multiply_left(left, rows, args.layer, kNone, nullptr, put);
  normalize<float>(y, rows, outputs, args.norm, y);
  activate_rows<float>(args.layer.activation, y, rows * outputs, 1, rows * outputs, nullptr);
}

constexpr Bfloat16Kernels kBfloat16Dense = {&linear_scratch, &linear, &mlp_scratch, &mlp, &conv_scratch, &conv};
