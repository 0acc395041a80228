// Encodings libcaer and libcaer_cmp of the DAVIS driver, and mono.

#include "event_codec.h"

namespace mambaseg {
namespace {

// ---- mono ----

int64_t mono_bound(const uint8_t*, int64_t bytes) { return word_count<uint64_t>(bytes); }

int64_t mono_decode(const uint8_t* data, int64_t bytes, int64_t time_base_ns, DecoderState& state, const Columns& to) {
  Sink sink(state, to);
  for (int64_t i = 0, words = word_count<uint64_t>(bytes); i < words; ++i) {
    const uint64_t word = load_word<uint64_t>(data, i);
    sink.add(word >> 32 & 0xFFFF, word >> 48 & 0x7FFF, time_base_ns + static_cast<int64_t>(word & 0xFFFFFFFF),
             word >> 63);
  }
  return sink.finish(state);
}

// ---- libcaer ----

constexpr int64_t kRollUs = 1LL << 31;

int64_t libcaer_bound(const uint8_t*, int64_t bytes) { return word_count<uint64_t>(bytes); }

int64_t libcaer_decode(const uint8_t* data, int64_t bytes, int64_t time_base_ns, DecoderState& state,
                       const Columns& to) {
  Sink sink(state, to);
  int64_t last_us = 0, rolled_us = 0;
  for (int64_t i = 0, words = word_count<uint64_t>(bytes); i < words; ++i) {
    const uint64_t word = load_word<uint64_t>(data, i);
    if (!(word & 1)) {
      ++state.unknown_words;
      continue;
    }
    const int64_t us = static_cast<int64_t>(word >> 32 & 0x7FFFFFFF);
    if (last_us - us > kRollUs / 2) rolled_us = kRollUs;
    last_us = us;
    sink.add(word >> 17 & 0x7FFF, word >> 2 & 0x7FFF, time_base_ns + (rolled_us + us) * 1000, word >> 1 & 1);
  }
  return sink.finish(state);
}

// ---- libcaer_cmp ----

enum CmpType : uint16_t { kTimeHigh, kTimeLow, kAddrX, kAddrY, kVectBaseY, kVect8 };

int64_t libcaer_cmp_bound(const uint8_t* data, int64_t bytes) {
  int64_t events = 0;
  for (int64_t i = 0, words = word_count<uint16_t>(bytes); i < words; ++i) {
    const uint16_t word = load_word<uint16_t>(data, i);
    events += word >> 12 == kAddrY;
    if (word >> 12 == kVect8) events += std::popcount(static_cast<uint8_t>(word));
  }
  return events;
}

int64_t libcaer_cmp_decode(const uint8_t* data, int64_t bytes, int64_t time_base_ns, DecoderState& state,
                           const Columns& to) {
  Sink sink(state, to);
  int64_t column = state.column, high = 0, low = 0;
  for (int64_t i = 0, words = word_count<uint16_t>(bytes); i < words; ++i) {
    const uint16_t word = load_word<uint16_t>(data, i);
    const int payload = word & 0xFFF;
    const int64_t t_ns = time_base_ns + (high << 12 | low) * 1000;
    switch (word >> 12) {
      case kTimeHigh:
        high = payload;
        break;
      case kTimeLow:
        low = payload;
        break;
      case kAddrX:
        column = payload & 0x7FF;
        break;
      case kAddrY:
        if (column < 0) {
          ++state.unplaced;
        } else {
          sink.add_raised(column, payload & 0x7FF, t_ns, payload >> 11);
        }
        break;
      case kVectBaseY:
        state.vector_at = payload & 0x7FF;
        state.vector_on = payload >> 11;
        break;
      case kVect8: {
        uint32_t mask = payload & 0xFF;
        if ((column | state.vector_at) < 0) {
          state.unplaced += std::popcount(mask);
        } else {
          for (const int64_t y = state.vector_at, on = state.vector_on; mask; mask &= mask - 1)
            sink.add_raised(column, y + std::countr_zero(mask), t_ns, on);
        }
        if (state.vector_at >= 0) state.vector_at = state.vector_at + 8 < kFar ? state.vector_at + 8 : kFar;
        break;
      }
      default:
        ++state.unknown_words;
    }
  }
  state.column = column;
  return sink.finish(state);
}

}  // namespace
}  // namespace mambaseg

MAMBASEG_DECODER(libcaer)
MAMBASEG_DECODER(libcaer_cmp)
MAMBASEG_DECODER(mono)

MAMBASEG_C int64_t mambaseg_decoder_state_bytes() { return sizeof(mambaseg::DecoderState); }
