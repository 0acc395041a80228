// Checks of arguments, for operators that are called directly; the Python wrappers check before they call.
#pragma once

#include <string>

#include "tensor.h"

namespace mambaseg {

inline std::string show(const std::vector<int64_t>& sizes) {
  std::string text = "[";
  for (size_t i = 0; i < sizes.size(); ++i) text += (i ? ", " : "") + std::to_string(sizes[i]);
  return text + "]";
}

inline std::vector<int64_t> sizes_of(const Tensor& t) {
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < t.dim(); ++i) sizes.push_back(t.size(i));
  return sizes;
}

// `like` sets the dtype.
inline void check_tensor(const char* op, const char* name, const Tensor& t, const Tensor& like,
                         const std::vector<int64_t>& expected) {
  MAMBASEG_CHECK(t.is_cpu(), op, ": ", name, " is not on the CPU");
  MAMBASEG_CHECK(t.scalar_type() == like.scalar_type(), op, ": ", name,
                 " has another dtype than the first argument; this kernel takes one dtype, float32 or float64");
  MAMBASEG_CHECK(sizes_of(t) == expected, op, ": ", name, " has shape ", show(sizes_of(t)), ", expected ",
                 show(expected));
}

inline void check_dims(const char* op, const char* name, const Tensor& t, int64_t dims) {
  MAMBASEG_CHECK(t.dim() == dims, op, ": ", name, " has shape ", show(sizes_of(t)), ", expected ", dims,
                 " dimensions");
}

// Calls f with a float or a double.
template <class F>
void by_dtype(const char* op, const Tensor& t, const F& f) {
  if (t.scalar_type() == ScalarType::Float) return f(float{});
  MAMBASEG_CHECK(t.scalar_type() == ScalarType::Double, op, ": the kernel takes float32 or float64");
  f(double{});
}

}  // namespace mambaseg
