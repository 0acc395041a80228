// Prophesee's encodings evt2 and evt21, the latter also with its older order of halves.

#include "event_codec.h"

namespace mambaseg {
namespace {

// A word has type, low bits of the time and place; in evt21 also a mask of 32 columns.

enum Evt2Type : uint32_t { kOff = 0x0, kOn = 0x1, kTimeHigh = 0x8, kTrigger = 0xA, kImu = 0xD, kOther = 0xE };

constexpr int kEvt2HighBits = 28;
constexpr int64_t kEvt2MostBack = 1LL << 27;

int64_t evt2_base_us(const DecoderState& state) {
  return state.time_high < 0 ? -1 : (state.wraps << (kEvt2HighBits + 6) | state.time_high << 6) & (kClockUs - 1);
}

// Reads a word that is not an event. Returns the new base of the clock in us, -1 while it is unknown.
int64_t evt2_other(DecoderState& state, uint32_t word, int64_t base_us, uint32_t last_known) {
  const uint32_t type = word >> 28;
  if (type == kTimeHigh) {
    set_high(state, word & 0x0FFFFFFF, kEvt2HighBits, kEvt2MostBack);
    return evt2_base_us(state);
  }
  if (type == kTrigger) {
    if (base_us < 0) {
      ++state.unplaced;
    } else {
      add_trigger(state, clock_ns(base_us + (word >> 22 & 0x3F)), word >> 8 & 0x1F, word & 1);
    }
  } else if (type < last_known) {
    ++state.unknown_words;
  }
  return base_us;
}

int64_t evt2_bound(const uint8_t*, int64_t bytes) { return word_count<uint32_t>(bytes); }

int64_t evt2_decode(const uint8_t* data, int64_t bytes, int64_t, DecoderState& state, const Columns& to) {
  Sink sink(state, to);
  int64_t base_us = evt2_base_us(state);
  for (int64_t i = 0, words = word_count<uint32_t>(bytes); i < words; ++i) {
    const uint32_t word = load_word<uint32_t>(data, i);
    const uint32_t type = word >> 28;
    if (type > kOn) {
      base_us = evt2_other(state, word, base_us, kImu);
    } else if (base_us < 0) {
      ++state.unplaced;
    } else {
      sink.add(word >> 11 & 0x7FF, word & 0x7FF, (base_us + (word >> 22 & 0x3F)) * 1000, type == kOn);
    }
  }
  return sink.finish(state);
}

struct Evt21Word {
  uint32_t place, mask;
};

template <bool Legacy>
Evt21Word evt21_word(const uint8_t* data, int64_t i) {
  const uint64_t word = load_word<uint64_t>(data, i);
  const uint32_t low = static_cast<uint32_t>(word), high = static_cast<uint32_t>(word >> 32);
  return Legacy ? Evt21Word{low, high} : Evt21Word{high, low};
}

template <bool Legacy>
int64_t evt21_bound_of(const uint8_t* data, int64_t bytes) {
  int64_t events = 0;
  for (int64_t i = 0, words = word_count<uint64_t>(bytes); i < words; ++i) {
    const Evt21Word word = evt21_word<Legacy>(data, i);
    events += word.place >> 28 <= kOn ? std::popcount(word.mask) : 0;
  }
  return events;
}

template <bool Legacy>
int64_t evt21_decode_of(const uint8_t* data, int64_t bytes, DecoderState& state, const Columns& to) {
  Sink sink(state, to);
  int64_t base_us = evt2_base_us(state);
  for (int64_t i = 0, words = word_count<uint64_t>(bytes); i < words; ++i) {
    const Evt21Word word = evt21_word<Legacy>(data, i);
    const uint32_t type = word.place >> 28;
    if (type > kOn) {
      base_us = evt2_other(state, word.place, base_us, kOther);
    } else if (base_us < 0) {
      state.unplaced += std::popcount(word.mask);
    } else {
      const int64_t t_ns = (base_us + (word.place >> 22 & 0x3F)) * 1000;
      for (uint32_t mask = word.mask; mask; mask &= mask - 1)
        sink.add((word.place >> 11 & 0x7FF) + std::countr_zero(mask), word.place & 0x7FF, t_ns, type == kOn);
    }
  }
  return sink.finish(state);
}

int64_t evt21_bound(const uint8_t* data, int64_t bytes) { return evt21_bound_of<false>(data, bytes); }
int64_t evt21_legacy_bound(const uint8_t* data, int64_t bytes) { return evt21_bound_of<true>(data, bytes); }

int64_t evt21_decode(const uint8_t* data, int64_t bytes, int64_t, DecoderState& state, const Columns& to) {
  return evt21_decode_of<false>(data, bytes, state, to);
}

int64_t evt21_legacy_decode(const uint8_t* data, int64_t bytes, int64_t, DecoderState& state, const Columns& to) {
  return evt21_decode_of<true>(data, bytes, state, to);
}

}  // namespace
}  // namespace mambaseg

MAMBASEG_DECODER(evt2)
MAMBASEG_DECODER(evt21)
MAMBASEG_DECODER(evt21_legacy)
