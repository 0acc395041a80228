// A number for the values of each tensor: the sum over all of their 32 bits times an odd factor of the place, modulo
// 2^64. The sums of parts add up to that of the whole, so the number of threads changes nothing. Of a large tensor
// one block in kPhases is read, which ones goes by the phase.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>

#include "../checks.h"

namespace mambaseg {
namespace {

constexpr const char* kOp = "checksums_";
constexpr uint32_t kFactor = 2654435761u;  // as in ops/checksums.py
constexpr int64_t kPart = 1 << 14;         // values of a work item
constexpr int64_t kPartsAThread = 4096;    // 256 MiB, of which an eighth is read: 5 ms
constexpr int64_t kPhases = 8, kBlock = 256, kWhole = 4096;  // as in ops/checksums.py; counts of values

struct Part {
  int64_t tensor, begin, end;
  bool whole;
  const unsigned char* values;
};

uint64_t sum_of(const unsigned char* values, int64_t begin, int64_t end) {
  uint64_t total = 0;
  uint32_t factor = static_cast<uint32_t>(begin) * kFactor;
  for (int64_t i = begin; i < end; ++i, factor += kFactor) {
    uint32_t bits;
    std::memcpy(&bits, values + 4 * i, 4);
    total += static_cast<uint64_t>(bits) * (factor | 1u);
  }
  return total;
}

uint64_t sum(const Part& part, int64_t phase) {
  if (part.whole) return sum_of(part.values, part.begin, part.end);
  uint64_t total = 0;  // a part begins with a block of phase 0
  for (int64_t i = part.begin + phase * kBlock; i < part.end; i += kPhases * kBlock) {
    // the next block lies in another page, where the processor would not look by itself
    for (int64_t line = 0; line < 4 * kBlock; line += 64)
      __builtin_prefetch(part.values + 4 * (i + kPhases * kBlock) + line, 0, 0);
    total += sum_of(part.values, i, std::min(part.end, i + kBlock));
  }
  return total;
}

std::vector<Part> parts_of(const std::vector<Tensor>& tensors) {
  std::vector<Part> parts;
  for (size_t t = 0; t < tensors.size(); ++t) {
    const int64_t count = tensors[t].numel();
    const unsigned char* values = input<unsigned char>(tensors[t]);
    for (int64_t begin = 0; begin < count; begin += kPart)
      parts.push_back({static_cast<int64_t>(t), begin, std::min(count, begin + kPart), count <= kWhole, values});
  }
  return parts;
}

void checksums(const Tensor& sums, std::vector<Tensor> tensors, int64_t phase) {
  const int64_t count = tensors.size();
  MAMBASEG_CHECK(sums.is_cpu() && sums.scalar_type() == ScalarType::Long && sums.is_contiguous() &&
                     sums.numel() == count,
                 kOp, ": sums is not int64 [", count, "], contiguous and on the CPU");
  MAMBASEG_CHECK(phase >= 0 && phase < kPhases, kOp, ": phase is ", phase, ", expected 0 to ", kPhases - 1);
  for (Tensor& x : tensors) {
    MAMBASEG_CHECK(x.is_cpu() && x.scalar_type() == ScalarType::Float, kOp, ": a tensor is not float32 on the CPU");
    x = dense(x);
  }
  const std::vector<Part> parts = parts_of(tensors);
  const std::unique_ptr<std::atomic<uint64_t>[]> totals(new std::atomic<uint64_t>[count]());
  const auto add = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) totals[parts[i].tensor].fetch_add(sum(parts[i], phase), std::memory_order_relaxed);
  };
  parallel(parts.size(), add, kPartsAThread);
  for (int64_t t = 0; t < count; ++t) output<int64_t>(sums)[t] = static_cast<int64_t>(totals[t].load());
}

#if MAMBASEG_STABLE_ABI
void checksums_(Tensor sums, std::vector<Tensor> tensors, int64_t phase) { checksums(sums, std::move(tensors), phase); }
#else
void checksums_(Tensor sums, at::TensorList tensors, int64_t phase) { checksums(sums, tensors.vec(), phase); }
#endif

}  // namespace
}  // namespace mambaseg

MAMBASEG_LIBRARY_IMPL(mambaseg, CPU, m) { m.impl("checksums_", MAMBASEG_FUNCTION(&mambaseg::checksums_)); }
