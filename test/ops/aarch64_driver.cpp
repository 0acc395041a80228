// Runs kernels and decoders without torch, for a processor that is emulated: test_aarch64.py compiles and feeds it.
//
// Usage: driver COMMAND < arguments > results. All numbers are in the memory layout of the machine; sizes are int64.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../../csrc/cpu/event_codec.h"
#include "../../csrc/cpu/kernels.h"

namespace {

using namespace mambaseg;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "driver: %s\n", what);
  std::exit(1);
}

template <class S>
std::vector<S> read(int64_t count) {
  std::vector<S> numbers(static_cast<size_t>(count));
  require(std::fread(numbers.data(), sizeof(S), numbers.size(), stdin) == numbers.size(), "the arguments are cut off");
  return numbers;
}

template <class S>
void write(const S* numbers, int64_t count) {
  const size_t size = static_cast<size_t>(count);
  require(std::fwrite(numbers, sizeof(S), size, stdout) == size, "the results cannot be written");
}

template <class S>
const Kernels<S>& kernels();
template <>
const Kernels<float>& kernels<float>() {
  return float_kernels();
}
template <>
const Kernels<double>& kernels<double>() {
  return double_kernels();
}

template <class S, class Args>
void run(int64_t items, int64_t scratch, void (*kernel)(const Args&, int64_t, S*), const Args& args) {
  S* const memory = static_cast<S*>(std::aligned_alloc(64, static_cast<size_t>(scratch * 8 + 64) / 64 * 64));
  for (int64_t item = 0; item < items; ++item) kernel(args, item, memory);
  std::free(memory);
}

int64_t blocks(int64_t channels, int64_t lanes) { return (channels + lanes - 1) / lanes; }

// Sizes [B, K, C, L, N]; u, delta [B, K, C, L], A [K, C, N], B, C [B, K, N, L], D, bias [K, C]. Result: y.
template <class S>
void scan() {
  const std::vector<int64_t> sizes = read<int64_t>(5);
  ScanArgs<S> args{};
  args.batch = sizes[0], args.groups = sizes[1], args.channels = sizes[2], args.length = sizes[3], args.state = sizes[4];
  const int64_t rows = args.groups * args.channels, all = args.batch * rows * args.length;
  args.group_stride = args.state * args.length;
  const int64_t inputs = args.batch * args.groups * args.group_stride;
  const std::vector<S> u = read<S>(all), delta = read<S>(all), a = read<S>(rows * args.state), b = read<S>(inputs),
                       c = read<S>(inputs), skip = read<S>(rows), bias = read<S>(rows);
  std::vector<S> y(u.size());
  args.softplus = true;
  args.u = u.data(), args.delta = delta.data(), args.a = a.data(), args.b = b.data(), args.c = c.data();
  args.skip = skip.data(), args.bias = bias.data(), args.y = y.data();
  const Kernels<S>& k = kernels<S>();
  run(args.batch * args.groups * blocks(args.channels, k.lanes), k.scan_scratch(args), k.scan, args);
  write(y.data(), all);
}

// Sizes [B, H, W, C, N, R]; x [B, H, W, C], projected [B, H, W, 4, R + 2N], weight [4, C, R], bias [4, C],
// A [4, C, N], D [4, C]. Result: y.
template <class S>
void ss2d() {
  const std::vector<int64_t> sizes = read<int64_t>(6);
  Ss2dArgs<S> args{};
  args.batch = sizes[0], args.height = sizes[1], args.width = sizes[2], args.channels = sizes[3];
  args.state = sizes[4], args.rank = sizes[5];
  const int64_t pixels = args.batch * args.height * args.width, rows = 4 * args.channels;
  const std::vector<S> x = read<S>(pixels * args.channels), proj = read<S>(pixels * 4 * (args.rank + 2 * args.state)),
                       weight = read<S>(rows * args.rank), bias = read<S>(rows), a = read<S>(rows * args.state),
                       skip = read<S>(rows);
  std::vector<S> y(x.size());
  args.x = x.data(), args.proj = proj.data(), args.low_weight = weight.data(), args.bias = bias.data();
  args.a = a.data(), args.skip = skip.data(), args.y = y.data();
  const Kernels<S>& k = kernels<S>();
  run(args.batch * blocks(args.channels, k.lanes), k.ss2d_scratch(args), k.ss2d, args);
  write(y.data(), pixels * args.channels);
}

// Sizes [rows, inputs, outputs, activation, numbers in the packed weight]; x [rows, inputs], the packed weight, bias
// [outputs], weight and bias of the norm [inputs]. Result: y [rows, outputs].
template <class S>
void linear() {
  const std::vector<int64_t> sizes = read<int64_t>(5);
  LinearArgs<S> args{};
  args.rows = sizes[0];
  args.items = 2;
  const std::vector<S> x = read<S>(args.rows * sizes[1]), packed = read<S>(sizes[4]), bias = read<S>(sizes[2]),
                       scale = read<S>(sizes[1]), shift = read<S>(sizes[1]);
  std::vector<S> y(static_cast<size_t>(args.rows * sizes[2]));
  args.x = x.data();
  args.norm = {scale.data(), shift.data(), S(1e-5)};
  args.layer = {packed.data() + kPackedHeader, bias.data(), sizes[1], sizes[2], static_cast<int>(sizes[3])};
  args.y = y.data();
  const DenseKernels<S>& k = kernels<S>().dense;
  run(args.items, k.linear_scratch(args), k.linear, args);
  write(y.data(), args.rows * sizes[2]);
}

using Bound = int64_t (*)(const uint8_t*, int64_t);
using Decode = int64_t (*)(const uint8_t*, int64_t, int64_t, DecoderState*, uint16_t*, uint16_t*, int64_t*, int8_t*);

// Sizes [height, width, time base in ns, packets]; for each packet its size and bytes. Results: for each packet its
// number of events, x, y, t_ns, p; at the end the numbers of the state, and the triggers: t_ns, channels, edges.
void decode(Bound bound, Decode decoder) {
  const std::vector<int64_t> sizes = read<int64_t>(4);
  std::vector<int64_t> trigger_t_ns(65536);
  std::vector<uint8_t> trigger_channel(65536);
  std::vector<int8_t> trigger_edge(65536);
  DecoderState state{};
  state.height = sizes[0], state.width = sizes[1];
  state.column = state.row = state.vector_at = state.time_high = state.time_low = state.last_high = -1;
  state.triggers_room = 65536;
  state.trigger_t_ns = trigger_t_ns.data();
  state.trigger_channel = trigger_channel.data();
  state.trigger_edge = trigger_edge.data();
  for (int64_t packet = 0; packet < sizes[3]; ++packet) {
    const int64_t bytes = read<int64_t>(1)[0];
    // One byte later than memory is aligned, as in a message of any kind.
    std::vector<uint8_t> data(1);
    const std::vector<uint8_t> given = read<uint8_t>(bytes);
    data.insert(data.end(), given.begin(), given.end());
    const size_t room = static_cast<size_t>(bound(data.data() + 1, bytes));
    std::vector<uint16_t> x(room), y(room);
    std::vector<int64_t> t_ns(room);
    std::vector<int8_t> p(room);
    const int64_t events =
        decoder(data.data() + 1, bytes, sizes[2], &state, x.data(), y.data(), t_ns.data(), p.data());
    require(events >= 0 && events <= static_cast<int64_t>(room), "more events than the bound");
    write(&events, 1);
    write(x.data(), events), write(y.data(), events), write(t_ns.data(), events), write(p.data(), events);
  }
  write(reinterpret_cast<const int64_t*>(&state), 17);
  write(trigger_t_ns.data(), state.triggers), write(trigger_channel.data(), state.triggers);
  write(trigger_edge.data(), state.triggers);
}

}  // namespace

#define ENCODINGS(_) _(evt3) _(evt2) _(evt21) _(evt21_legacy) _(libcaer) _(libcaer_cmp) _(mono)
#define DECLARE(name)                                                                                            \
  extern "C" int64_t mambaseg_##name##_bound(const uint8_t*, int64_t);                                           \
  extern "C" int64_t mambaseg_##name##_decode(const uint8_t*, int64_t, int64_t, DecoderState*, uint16_t*, uint16_t*, \
                                              int64_t*, int8_t*);
ENCODINGS(DECLARE)

int main(int count, char** words) {
  require(count == 2, "expected a command");
  const std::string command = words[1];
  if (command == "scan4") return scan<float>(), 0;
  if (command == "scan8") return scan<double>(), 0;
  if (command == "ss2d4") return ss2d<float>(), 0;
  if (command == "ss2d8") return ss2d<double>(), 0;
  if (command == "linear4") return linear<float>(), 0;
  if (command == "linear8") return linear<double>(), 0;
#define CHOOSE(name) \
  if (command == #name) return decode(&mambaseg_##name##_bound, &mambaseg_##name##_decode), 0;
  ENCODINGS(CHOOSE)
  std::fprintf(stderr, "driver: no command %s\n", command.c_str());
  return 1;
}
