// libFuzzer target of the reader of an EventArray's events. The first bytes say how many there should be.

#include <cstdlib>
#include <vector>

#include "../../csrc/cpu/event_codec.h"

extern "C" int64_t mambaseg_cdr_events(const uint8_t*, int64_t, int64_t, int64_t, int64_t, int64_t, uint16_t*,
                                       uint16_t*, int64_t*, int8_t*, int64_t*);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  const int64_t number = data[0] & 8 ? static_cast<int64_t>(size) / 16 : data[1] | data[2] << 8;
  const int64_t height = data[0] & 1 ? 720 : 65536, width = data[0] & 2 ? 1280 : 65536;
  const std::vector<uint8_t> events(data + 3, data + size);
  const size_t room = static_cast<size_t>(number);
  std::vector<uint16_t> x(room), y(room);
  std::vector<int64_t> t_ns(room), counts(2);
  std::vector<int8_t> p(room);
  const int64_t inside = mambaseg_cdr_events(events.data(), static_cast<int64_t>(events.size()), number,
                                             data[0] & 4, height, width, x.data(), y.data(), t_ns.data(), p.data(),
                                             counts.data());
  if (inside < -1 || inside > number || (inside >= 0 && inside + counts[0] != number)) std::abort();
  for (int64_t i = 0; i < inside; ++i)
    if (x[static_cast<size_t>(i)] >= width || y[static_cast<size_t>(i)] >= height) std::abort();
  return 0;
}
