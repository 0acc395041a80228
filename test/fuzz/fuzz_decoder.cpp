// libFuzzer target of one decoder: MAMBASEG_ENCODING names it (test/fuzz/run.sh). The first bytes choose sensor and
// cuts; the rest goes in three packets, each in memory of exactly its size, into columns of exactly the promised size.

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "../../csrc/cpu/event_codec.h"

#define JOIN_(a, b, c) a##b##c
#define JOIN(a, b, c) JOIN_(a, b, c)

extern "C" int64_t JOIN(mambaseg_, MAMBASEG_ENCODING, _bound)(const uint8_t*, int64_t);
extern "C" int64_t JOIN(mambaseg_, MAMBASEG_ENCODING, _decode)(const uint8_t*, int64_t, int64_t,
                                                               mambaseg::DecoderState*, uint16_t*, uint16_t*, int64_t*,
                                                               int8_t*);

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void decode(const uint8_t* data, size_t size, int64_t base_ns, mambaseg::DecoderState& state) {
  const std::vector<uint8_t> packet(data, data + size);
  const int64_t bytes = static_cast<int64_t>(size);
  const int64_t bound = JOIN(mambaseg_, MAMBASEG_ENCODING, _bound)(packet.data(), bytes);
  require(bound >= 0 && bound <= 6 * bytes);
  const size_t room = static_cast<size_t>(bound);
  std::vector<uint16_t> x(room), y(room);
  std::vector<int64_t> t_ns(room);
  std::vector<int8_t> p(room);
  const int64_t before = state.outside + state.unplaced;
  const int64_t events = JOIN(mambaseg_, MAMBASEG_ENCODING, _decode)(packet.data(), bytes, base_ns, &state, x.data(),
                                                                     y.data(), t_ns.data(), p.data());
  const int64_t dropped = state.outside + state.unplaced - before;
  require(events >= 0 && dropped >= 0 && events + dropped <= bound + bytes);  // triggers may be unplaced, too
  for (size_t i = 0; i < static_cast<size_t>(events); ++i)
    require(x[i] < state.width && y[i] < state.height && t_ns[i] >= 0 && (p[i] == 1 || p[i] == -1));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  constexpr int kTriggers = 4;
  std::vector<int64_t> trigger_t_ns(kTriggers);
  std::vector<uint8_t> trigger_channel(kTriggers);
  std::vector<int8_t> trigger_edge(kTriggers);
  mambaseg::DecoderState state{};
  state.height = data[0] & 1 ? 720 : 65536;
  state.width = data[0] & 2 ? 1280 : 65536;
  state.column = state.row = state.vector_at = state.time_high = state.time_low = state.last_high = -1;
  state.triggers_room = kTriggers;
  state.trigger_t_ns = trigger_t_ns.data();
  state.trigger_channel = trigger_channel.data();
  state.trigger_edge = trigger_edge.data();
  const int64_t base_ns = data[0] & 4 ? INT64_MAX - (1LL << 43) : 0;
  const size_t first = data[1] % (size - 2), second = first + data[2] % (size - 2 - first);
  data += 3;
  size -= 3;
  decode(data, std::min(first, size), base_ns, state);
  decode(data + std::min(first, size), std::min(second, size) - std::min(first, size), base_ns, state);
  decode(data + std::min(second, size), size - std::min(second, size), base_ns, state);
  return 0;
}
