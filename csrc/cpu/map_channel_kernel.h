// Weights by channel from mean and maximum over the map. Included after map_attention_kernel.h.

// Sums and maxima over a slot's positions, summed up in runs, so that rounding errors stay small.
static void channel_parts(const ChannelArgs& args, int64_t item, float*) {
  constexpr int64_t kRun = 64;
  const int64_t channels = args.channels, maps = args.b ? 2 : 1, slot = item % args.slots;
  const int64_t map = item / args.slots % maps, batch = item / args.slots / maps;
  const int64_t begin = slot * args.positions / args.slots, end = (slot + 1) * args.positions / args.slots;
  const float* from = (map ? args.b : args.a) + batch * args.positions * channels;
  float* sums = args.parts + item * 2 * channels;
  float* maxima = sums + channels;
  clear(sums, 0, channels);
  for (int64_t c = 0; c < channels; ++c) maxima[c] = kLowest;
  for (int64_t first = begin; first < end; first += kRun) {
    const int64_t last = end - first < kRun ? end : first + kRun;
    for_vectors<float>(channels, [&](int64_t c, int n) MAMBASEG_INLINE_LAMBDA {
      Vec<float> sum{}, highest = load_first(maxima + c, n);
      for (int64_t i = first; i < last; ++i) {
        const Vec<float> value = load_first(from + i * channels + c, n);
        sum += value;
        highest = larger(highest, value);
      }
      store_first(sums + c, load_first(sums + c, n) + sum, n);
      store_first(maxima + c, highest, n);
    });
  }
}

static float dot(const float* a, const float* b, int64_t count) {
  Vec<float> sum{};
  int64_t i = 0;
  for (; i + kLanes<float> <= count; i += kLanes<float>) sum += load(a + i) * load(b + i);
  float total = 0.0f;
  for (; i < count; ++i) total += a[i] * b[i];
  for (int lane = 0; lane < kLanes<float>; ++lane) total += sum[lane];
  return total;
}

template <int kActivation>
static void channel_weights_of(const ChannelArgs& args, int64_t item, float* scratch) {
  const int64_t channels = args.channels, maps = args.b ? 2 : 1, all = maps * channels;
  float *means = scratch, *maxima = means + all, *hidden = maxima + all;
  for (int64_t i = 0; i < all; ++i) {
    const float* part = args.parts + (item * maps + i / channels) * args.slots * 2 * channels + i % channels;
    float sum = 0.0f, highest = kLowest;
    for (int64_t slot = 0; slot < args.slots; ++slot, part += 2 * channels) {
      sum += part[0];
      highest = part[channels] > highest ? part[channels] : highest;
    }
    means[i] = sum / static_cast<float>(args.positions);
    maxima[i] = highest;
  }
  for (int64_t r = 0; r < 2 * args.hidden; ++r) {
    const float value = dot(args.fc1 + r % args.hidden * all, r < args.hidden ? means : maxima, all);
    hidden[r] = activate<kActivation, float>(splat(value))[0];
  }
  for (int64_t i = 0; i < all; ++i) {
    const float* weight = args.fc2 + i * args.hidden;
    const float value = dot(weight, hidden, args.hidden) + dot(weight, hidden + args.hidden, args.hidden);
    args.y[item * all + i] = activate<kSigmoid, float>(splat(value))[0];
  }
}

static void channel_weights(const ChannelArgs& args, int64_t item, float* scratch) {
  switch (args.activation) {
    case kRelu: return channel_weights_of<kRelu>(args, item, scratch);
    case kGelu: return channel_weights_of<kGelu>(args, item, scratch);
    case kSilu: return channel_weights_of<kSilu>(args, item, scratch);
    case kSigmoid: return channel_weights_of<kSigmoid>(args, item, scratch);
    default: return channel_weights_of<kNone>(args, item, scratch);
  }
}
