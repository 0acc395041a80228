// Events of dvs_msgs/EventArray and prophesee_event_msgs/EventArray in CDR. mambaseg_core/events/decode/cdr.py reads
// the message around them.

#include "event_codec.h"

namespace mambaseg {
namespace {

template <bool Swapped, class W>
W load_field(const uint8_t* data) {
  W field = load_word<W>(data, 0);
  if (Swapped) field = static_cast<W>(sizeof(W) == 2 ? __builtin_bswap16(field) : __builtin_bswap32(field));
  return field;
}

// The seconds of an event are aligned to 4 and an event has 13 bytes, so they lie 4, 20, 36 ... bytes after the start.
// Column and row lie directly before them in the first event, and before 2 bytes of padding in the others.
template <bool Swapped>
int64_t cdr_events(const uint8_t* data, int64_t number, DecoderState& state, const Columns& to) {
  Sink sink(state, to);
  for (int64_t i = 0; i < number; ++i, data += 16) {
    const uint8_t* place = data - (i ? 2 : 0);
    const int64_t sec = static_cast<int32_t>(load_field<Swapped, uint32_t>(data + 4));
    const int64_t t_ns = sec * 1'000'000'000 + load_field<Swapped, uint32_t>(data + 8);
    sink.add(load_field<Swapped, uint16_t>(place), load_field<Swapped, uint16_t>(place + 2), t_ns, data[12] != 0);
  }
  return sink.finish(state);
}

}  // namespace
}  // namespace mambaseg

// Decodes `number` events in `bytes` bytes. Returns how many lie inside the sensor, or -1 if the bytes hold fewer than
// `number`. counts: events outside the sensor, events that step back in time.
MAMBASEG_C int64_t mambaseg_cdr_events(const uint8_t* data, int64_t bytes, int64_t number, int64_t big_endian,
                                       int64_t height, int64_t width, uint16_t* x, uint16_t* y, int64_t* t_ns,
                                       int8_t* p, int64_t* counts) {
  if (number < 0 || number > (bytes + 3) / 16) return -1;
  mambaseg::DecoderState state{};
  state.height = height;
  state.width = width;
  const mambaseg::Columns to{x, y, t_ns, p};
  const int64_t inside = big_endian ? mambaseg::cdr_events<true>(data, number, state, to)
                                    : mambaseg::cdr_events<false>(data, number, state, to);
  counts[0] = state.outside;
  counts[1] = state.stepped_back;
  return inside;
}
