// Between the operators and the kernels: the kernels of a dtype, scratch memory, and torch's threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <new>

#include "../checks.h"
#include "kernels.h"

namespace mambaseg {

template <class S>
const Kernels<S>& kernels();
template <>
inline const Kernels<float>& kernels<float>() {
  return float_kernels();
}
template <>
inline const Kernels<double>& kernels<double>() {
  return double_kernels();
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Memory for vectors, one cache line at a time.
template <class S>
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : data_(static_cast<S*>(::operator new(static_cast<size_t>(count) * sizeof(S), kLine))) {}
  ~Scratch() { ::operator delete(data_, kLine); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  S* get() const { return data_; }

 private:
  static constexpr std::align_val_t kLine{64};
  S* data_;
};

// Each thread takes `least` items or more.
template <class S, class Args>
void run(int64_t items, int64_t scratch_size, void (*kernel)(const Args&, int64_t, S*), const Args& args,
         int64_t least = 1) {
  const auto some = [&](int64_t begin, int64_t end) {
    const Scratch<S> scratch(scratch_size);
    for (int64_t item = begin; item < end; ++item) kernel(args, item, scratch.get());
  };
  parallel(items, some, least);
}

}  // namespace mambaseg
