// Prophesee's encodings: evt2, evt21 (and its older half order), evt3.

#include "event_codec.h"

namespace mambaseg {
namespace {

// A sensor's clock sends its upper bits only; a step back of more than `most_back` is taken for a wrap.
void set_high(DecoderState& state, int64_t high, int bits, int64_t most_back) {
  const int64_t back = state.last_high - high;
  if (state.last_high >= 0) {
    if (back > most_back) {
      ++state.wraps;
    } else if (-back >= (1LL << bits) - most_back && state.wraps > 0) {
      --state.wraps;  // jitter about the wrap
    }
  }
  state.time_high = state.last_high = high;
}

// ---- evt2, evt21: words with the time's low bits, type, place; an evt21 word adds a mask of 32 columns ----

enum Evt2Type : uint32_t { kOff = 0x0, kOn = 0x1, kTimeHigh = 0x8, kTrigger = 0xA, kImu = 0xD, kOther = 0xE };

constexpr int kEvt2HighBits = 28;
constexpr int64_t kEvt2MostBack = 1LL << 27;

int64_t evt2_base_us(const DecoderState& state) {
  return state.time_high < 0 ? -1 : (state.wraps << (kEvt2HighBits + 6) | state.time_high << 6) & (kClockUs - 1);
}

// What is not an event. Returns the new base of the clock in us, -1 while it is unknown.
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

// ---- evt3 ----

enum Evt3Type : uint16_t {
  kAddrY = 0x0, kAddrX = 0x2, kVectBaseX = 0x3, kVect12 = 0x4, kVect8 = 0x5, kTimeLow3 = 0x6, kContinued4 = 0x7,
  kTimeHigh3 = 0x8, kTrigger3 = 0xA, kImu3 = 0xD, kOthers3 = 0xE, kContinued12 = 0xF
};

int64_t evt3_now_ns(const DecoderState& state) {
  if (state.time_high < 0 || state.time_low < 0) return -1;
  return clock_ns(state.wraps << 24 | state.time_high << 12 | state.time_low);
}

int64_t evt3_bound(const uint8_t* data, int64_t bytes) {
  int64_t events = 0;
  for (int64_t i = 0, words = word_count<uint16_t>(bytes); i < words; ++i) {
    const uint16_t word = load_word<uint16_t>(data, i);
    const int type = word >> 12;
    events += type == kAddrX;
    if (type == kVect12 || type == kVect8) events += std::popcount(static_cast<uint16_t>(word & (type == kVect12 ? 0xFFF : 0xFF)));
  }
  return events;
}

int64_t evt3_decode(const uint8_t* data, int64_t bytes, int64_t, DecoderState& state, const Columns& to) {
  Sink sink(state, to);
  int64_t row = state.row, now_ns = evt3_now_ns(state);
  for (int64_t i = 0, words = word_count<uint16_t>(bytes); i < words; ++i) {
    const uint16_t word = load_word<uint16_t>(data, i);
    const int payload = word & 0xFFF;
    switch (word >> 12) {
      case kAddrY:
        row = payload & 0x7FF;
        break;
      case kAddrX:
        if ((row | now_ns) < 0) {
          ++state.unplaced;
        } else {
          sink.add(payload & 0x7FF, row, now_ns, payload >> 11);
        }
        break;
      case kVectBaseX:
        state.vector_at = payload & 0x7FF;
        state.vector_on = payload >> 11;
        break;
      case kVect12:
      case kVect8: {
        const int step = word >> 12 == kVect12 ? 12 : 8;
        uint32_t mask = payload & ((1 << step) - 1);
        if ((row | now_ns | state.vector_at) < 0) {
          state.unplaced += std::popcount(mask);
        } else {
          for (const int64_t x = state.vector_at, on = state.vector_on; mask; mask &= mask - 1)
            sink.add(x + std::countr_zero(mask), row, now_ns, on);
        }
        if (state.vector_at >= 0) state.vector_at = state.vector_at + step < kFar ? state.vector_at + step : kFar;
        break;
      }
      case kTimeLow3:
        if (state.time_high >= 0) state.time_low = payload;
        now_ns = evt3_now_ns(state);
        break;
      case kTimeHigh3:
        set_high(state, payload, 12, 10);
        now_ns = evt3_now_ns(state);
        break;
      case kTrigger3:
        if (now_ns < 0) {
          ++state.unplaced;
        } else {
          add_trigger(state, now_ns, payload >> 8, payload & 1);
        }
        break;
      case kContinued4:
      case kImu3:
      case kOthers3:
      case kContinued12:
        break;
      default:
        ++state.unknown_words;
    }
  }
  state.row = row;
  return sink.finish(state);
}

}  // namespace
}  // namespace mambaseg

MAMBASEG_DECODER(evt2)
MAMBASEG_DECODER(evt21)
MAMBASEG_DECODER(evt21_legacy)
MAMBASEG_DECODER(evt3)
