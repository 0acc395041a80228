// Prophesee's encoding evt3.

#include <algorithm>

#include "event_codec.h"

namespace mambaseg {
namespace {

constexpr uint16_t kAddrY = 0x0, kAddrX = 0x2, kVectBaseX = 0x3, kVect12 = 0x4, kVect8 = 0x5, kTimeLow3 = 0x6,
                   kContinued4 = 0x7, kTimeHigh3 = 0x8, kTrigger3 = 0xA, kImu3 = 0xD, kOthers3 = 0xE,
                   kContinued12 = 0xF;

int64_t evt3_clock_ns(const DecoderState& state, int64_t low) {
  return clock_ns(state.wraps << 24 | state.time_high << 12 | low);
}

uint16_t evt3_mask(uint16_t word) {
  const uint16_t keep = word >> 12 == kVect12 ? 0xFFF : word >> 12 == kVect8 ? 0xFF : 0;
  return word & keep;
}

using Lanes = uint16_t __attribute__((vector_size(16)));

// Number of events in each of eight words.
Lanes evt3_events(Lanes words) {
  const Lanes type = words >> 12;
  Lanes bits = words & ((Lanes(type == kVect12) & 0xFFF) | (Lanes(type == kVect8) & 0xFF));
  bits -= bits >> 1 & 0x5555;
  bits = (bits & 0x3333) + (bits >> 2 & 0x3333);
  bits = (bits + (bits >> 4)) & 0x0F0F;
  return (bits & 0xF) + (bits >> 8) - Lanes(type == kAddrX);  // true is -1
}

int64_t evt3_bound(const uint8_t* data, int64_t bytes) {
  constexpr int64_t kStep = sizeof(Lanes), kBlock = 4096 * kStep;  // at most 12 events per word: a lane holds their sum
  int64_t events = 0;
  const auto add_up = [&events](Lanes sum) {
    for (int lane = 0; lane < 8; ++lane) events += sum[lane];
  };
  const int64_t whole = bytes - bytes % kStep;
  for (int64_t start = 0; start < whole; start += kBlock) {
    Lanes sum{};
    for (int64_t at = start, end = std::min(whole, start + kBlock); at < end; at += kStep) {
      Lanes words;
      std::memcpy(&words, data + at, kStep);
      sum += evt3_events(words);
    }
    add_up(sum);
  }
  Lanes rest{};  // a word of zeros is ADDR_Y: no event
  if (bytes > whole) std::memcpy(&rest, data + whole, static_cast<size_t>((bytes - whole) / 2 * 2));
  add_up(evt3_events(rest));
  return events;
}

void evt3_move_vector(DecoderState& state, int64_t step) {
  if (state.vector_at >= 0) state.vector_at = std::min(state.vector_at + step, kFar);
}

// Reads any word in any state.
void evt3_word(DecoderState& state, uint16_t word, Sink& sink) {
  const int payload = word & 0xFFF;
  const bool placed = state.row >= 0 && state.time_low >= 0;
  switch (word >> 12) {
    case kAddrY:
      state.row = payload & 0x7FF;
      break;
    case kAddrX:
      if (!placed) {
        ++state.unplaced;
      } else {
        sink.add(payload & 0x7FF, state.row, evt3_clock_ns(state, state.time_low), payload >> 11);
      }
      break;
    case kVectBaseX:
      state.vector_at = payload & 0x7FF;
      state.vector_on = payload >> 11;
      break;
    case kVect12:
    case kVect8: {
      uint32_t mask = evt3_mask(word);
      if (!placed || state.vector_at < 0) {
        state.unplaced += std::popcount(mask);
        mask = 0;
      }
      for (; mask; mask &= mask - 1)
        sink.add(state.vector_at + std::countr_zero(mask), state.row, evt3_clock_ns(state, state.time_low),
                 state.vector_on);
      evt3_move_vector(state, word >> 12 == kVect12 ? 12 : 8);
      break;
    }
    case kTimeLow3:
      if (state.time_high >= 0) state.time_low = payload;
      break;
    case kTimeHigh3:
      set_high(state, payload, 12, 10);
      break;
    case kTrigger3:
      if (state.time_low < 0) {
        ++state.unplaced;
      } else {
        add_trigger(state, evt3_clock_ns(state, state.time_low), payload >> 8, payload & 1);
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

// Reads the usual words, once row and clock are known. Their order is hardly predictable, and a mispredicted branch
// costs as much as several words. So all words take the same path: a table puts the payload into its field of a packed
// event, and the packed event is stored. Only ADDR_X advances to the next place.
class Evt3Run {
 public:
  explicit Evt3Run(DecoderState& state) : state_(state) {}

  // Reads words from i on; returns the index of the first one that evt3_word must read, or `words`.
  int64_t read(const uint8_t* data, int64_t i, int64_t words) {
    const uint16_t same_high = static_cast<uint16_t>(kTimeHigh3 << 12 | state_.time_high);
    uint64_t packed = static_cast<uint64_t>(state_.time_low) << kLowAt | static_cast<uint64_t>(state_.row) << kRowAt;
    size_ = 0;
    int64_t size = 0;
    for (; i < words && size < kRoom - 12; ++i) {
      const uint16_t word = load_word<uint16_t>(data, i);
      const uint32_t type = word >> 12;
      if (-(kSpecial >> type & 1) & (word ^ same_high)) {  // one branch; `&&` compiles to two
        const int64_t added = vector(word, packed, events_ + size);
        if (added < 0) break;
        size += added;
        continue;
      }
      packed = (packed & ~kFields[type].mask) | (static_cast<uint64_t>(word) << kFields[type].at & kFields[type].mask);
      events_[size] = packed;
      size += type == kAddrX;
    }
    size_ = size;
    state_.row = packed >> kRowAt & 0x7FF;
    state_.time_low = packed >> kLowAt & 0xFFF;
    return i;
  }

  // Adds the events that were read to a sink.
  void flush(Sink& sink) const {
    Sink local = sink;  // a local, so that the compiler keeps its members in registers
    const int64_t start_ns = evt3_clock_ns(state_, 0);
    for (int64_t j = 0; j < size_; ++j) {
      const uint64_t event = events_[j];
      local.add(event & 0x7FF, event >> kRowAt & 0x7FF, start_ns + static_cast<int64_t>(event >> kLowAt) * 1000,
                event >> kOnAt & 1);
    }
    sink = local;
  }

 private:
  struct Field {
    uint64_t mask, at;
  };
  // Fields of a packed event: column, polarity, row, low time; the first two have their places in ADDR_X.
  static constexpr int kOnAt = 11, kRowAt = 12, kLowAt = 23;
  static constexpr Field kFields[16] = {
      {0x7FFULL << kRowAt, kRowAt}, {}, {0xFFF, 0}, {}, {}, {}, {0xFFFULL << kLowAt, kLowAt}};
  // Types that need more than that; TIME_HIGH only if it differs from the last.
  static constexpr uint32_t kSpecial = 1 << 0x1 | 1 << kVectBaseX | 1 << kVect12 | 1 << kVect8 | 1 << kTimeHigh3 |
                                       1 << 0x9 | 1 << kTrigger3 | 1 << 0xB | 1 << 0xC;
  static constexpr int64_t kRoom = 1024;

  // Stores the events of a vector word. Returns their number, or -1 if evt3_word must read the word.
  int64_t vector(uint16_t word, uint64_t packed, uint64_t* to) {
    const int type = word >> 12;
    if (type == kVectBaseX) {
      state_.vector_at = word & 0x7FF;
      state_.vector_on = word >> 11 & 1;
      return 0;
    }
    if (type < kVect12 || type > kVect8 || static_cast<uint64_t>(state_.vector_at) > 0x7FF - 12) return -1;
    packed = (packed & ~0xFFFULL) | static_cast<uint64_t>(state_.vector_on << kOnAt | state_.vector_at);
    uint64_t* next = to;
    for (uint32_t mask = evt3_mask(word); mask; mask &= mask - 1)
      *next++ = packed + static_cast<uint64_t>(std::countr_zero(mask));
    state_.vector_at += type == kVect12 ? 12 : 8;
    return next - to;
  }

  DecoderState& state_;
  int64_t size_ = 0;
  uint64_t events_[kRoom];
};

int64_t evt3_decode(const uint8_t* data, int64_t bytes, int64_t, DecoderState& state, const Columns& to) {
  Sink sink(state, to);
  Evt3Run run(state);
  for (int64_t i = 0, words = word_count<uint16_t>(bytes); i < words; ++i) {
    if (state.row >= 0 && state.time_low >= 0) {
      i = run.read(data, i, words);
      run.flush(sink);
      if (i == words) break;
    }
    evt3_word(state, load_word<uint16_t>(data, i), sink);
  }
  return sink.finish(state);
}

}  // namespace
}  // namespace mambaseg

MAMBASEG_DECODER(evt3)
