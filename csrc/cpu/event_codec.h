// Decoders of event cameras' packets: plain C functions, called through ctypes by mambaseg_core/events/decode. `State`
// there has the same fields as DecoderState. The Python references in that folder document the words; these functions
// return the same events and leave the same state, bit for bit.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

static_assert(std::endian::native == std::endian::little, "the words of events are read as they lie in memory");

#define MAMBASEG_C extern "C" __attribute__((visibility("default")))

namespace mambaseg {

constexpr int64_t kFar = 1 << 20;        // beyond every sensor; bounds the place in endless vectors
constexpr int64_t kClockUs = 1LL << 52;  // period of a sensor's clock, 142 years

struct DecoderState {
  int64_t height, width;
  int64_t column, row, vector_at, vector_on;  // -1: not sent yet
  int64_t time_high, time_low, last_high, wraps;
  int64_t outside, unplaced, stepped_back, unknown_words;
  int64_t triggers, triggers_room, triggers_lost;
  int64_t* trigger_t_ns;
  uint8_t* trigger_channel;
  int8_t* trigger_edge;
};

struct Columns {
  uint16_t* x;
  uint16_t* y;
  int64_t* t_ns;
  int8_t* p;
};

template <class W>
inline W load_word(const uint8_t* data, int64_t index) {
  W word;
  std::memcpy(&word, data + index * static_cast<int64_t>(sizeof(W)), sizeof(W));
  return word;
}

template <class W>
inline int64_t word_count(int64_t bytes) {
  return bytes / static_cast<int64_t>(sizeof(W));
}

// Appends events and counts their faults. The next event overwrites one that is dropped.
class Sink {
 public:
  Sink(const DecoderState& state, const Columns& to) : to_(to), height_(state.height), width_(state.width) {}

  void add(int64_t x, int64_t y, int64_t t_ns, bool on) {
    to_.x[size_] = static_cast<uint16_t>(x);
    to_.y[size_] = static_cast<uint16_t>(y);
    to_.t_ns[size_] = t_ns;
    to_.p[size_] = on ? 1 : -1;
    const bool inside = (x < width_) & (y < height_);
    size_ += inside;
    outside_ += !inside;
    stepped_back_ += inside & (t_ns < newest_);
    newest_ = (inside & (t_ns > newest_)) ? t_ns : newest_;
  }

  // Adds an event, but raises a time that steps back to the newest before it.
  void add_raised(int64_t x, int64_t y, int64_t t_ns, bool on) {
    add(x, y, t_ns, on);
    if (size_) to_.t_ns[size_ - 1] = newest_;
  }

  int64_t finish(DecoderState& state) const {
    state.outside += outside_;
    state.stepped_back += stepped_back_;
    return size_;
  }

 private:
  Columns to_;
  int64_t height_, width_;
  int64_t size_ = 0, outside_ = 0, stepped_back_ = 0, newest_ = INT64_MIN;
};

inline void add_trigger(DecoderState& state, int64_t t_ns, unsigned channel, bool rising) {
  if (state.triggers >= state.triggers_room) {
    ++state.triggers_lost;
    return;
  }
  state.trigger_t_ns[state.triggers] = t_ns;
  state.trigger_channel[state.triggers] = static_cast<uint8_t>(channel);
  state.trigger_edge[state.triggers] = rising ? 1 : -1;
  ++state.triggers;
}

// Sets the upper bits of a sensor's clock. A step back by more than `most_back` counts as a wrap.
inline void set_high(DecoderState& state, int64_t high, int bits, int64_t most_back) {
  const int64_t back = state.last_high - high;
  if (state.last_high >= 0) {
    if (back > most_back) {
      ++state.wraps;
    } else if (-back >= (1LL << bits) - most_back && state.wraps > 0) {
      --state.wraps;  // jitter around the wrap
    }
  }
  state.time_high = state.last_high = high;
}

inline int64_t clock_ns(int64_t us) { return (us & (kClockUs - 1)) * 1000; }

}  // namespace mambaseg

// `bound` returns the largest number of events in the bytes, for which the columns need room; `decode` the actual one.
#define MAMBASEG_DECODER(name)                                                                                   \
  MAMBASEG_C int64_t mambaseg_##name##_bound(const uint8_t* data, int64_t bytes) {                               \
    return mambaseg::name##_bound(data, bytes);                                                                  \
  }                                                                                                              \
  MAMBASEG_C int64_t mambaseg_##name##_decode(const uint8_t* data, int64_t bytes, int64_t time_base_ns,          \
                                              mambaseg::DecoderState* state, uint16_t* x, uint16_t* y,           \
                                              int64_t* t_ns, int8_t* p) {                                        \
    return mambaseg::name##_decode(data, bytes, time_base_ns, *state, {x, y, t_ns, p});                          \
  }
