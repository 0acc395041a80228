// The few parts of torch that the operators need. With torch >= 2.10 they come over its stable ABI: one build serves
// all later versions. With an older torch setup.py chooses the ordinary ABI: the extension then fits that torch only.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#if MAMBASEG_STABLE_ABI
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>
#define MAMBASEG_CHECK STD_TORCH_CHECK
#define MAMBASEG_LIBRARY_IMPL STABLE_TORCH_LIBRARY_IMPL
#define MAMBASEG_FUNCTION(f) TORCH_BOX(f)
#else
#include <ATen/core/Tensor.h>
#include <ATen/Parallel.h>
#include <torch/library.h>
#define MAMBASEG_CHECK TORCH_CHECK
#define MAMBASEG_LIBRARY_IMPL TORCH_LIBRARY_IMPL
#define MAMBASEG_FUNCTION(f) (f)
#endif

namespace mambaseg {

// `parallel` assigns each thread `least` items or more. On busy cores it waits 8 ms and more for the thread that is
// scheduled last, so one thread finishes work of a millisecond or two sooner.
#if MAMBASEG_STABLE_ABI
using Tensor = torch::stable::Tensor;
using ScalarType = torch::headeronly::ScalarType;

inline Tensor dense(const Tensor& t) { return t.is_contiguous() ? t : torch::stable::contiguous(t); }

inline Tensor fresh(const Tensor& like, const std::vector<int64_t>& sizes,
                    std::optional<ScalarType> dtype = std::nullopt) {
  return torch::stable::new_empty(like, sizes, dtype);
}

template <class F>
void parallel(int64_t items, const F& f, int64_t least = 1) {
  torch::stable::parallel_for(0, items, least, f);
}
#else
using Tensor = at::Tensor;
using ScalarType = at::ScalarType;

inline Tensor dense(const Tensor& t) { return t.contiguous(); }
inline Tensor fresh(const Tensor& like, const std::vector<int64_t>& sizes,
                    std::optional<ScalarType> dtype = std::nullopt) {
  return like.new_empty(sizes, dtype ? like.options().dtype(*dtype) : like.options());
}

template <class F>
void parallel(int64_t items, const F& f, int64_t least = 1) {
  at::parallel_for(0, items, least, f);
}
#endif

template <class S>
const S* input(const Tensor& t) {
  return static_cast<const S*>(t.data_ptr());
}

template <class S>
const S* input(const std::optional<Tensor>& t) {
  return t.has_value() ? input<S>(*t) : nullptr;
}

template <class S>
S* output(const Tensor& t) {
  return static_cast<S*>(t.data_ptr());
}

inline std::optional<Tensor> dense(const std::optional<Tensor>& t) {
  return t.has_value() ? std::optional<Tensor>(dense(*t)) : std::nullopt;
}

}  // namespace mambaseg
