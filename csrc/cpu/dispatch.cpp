// Choice of the kernels for this processor, made once.

#include <cstdlib>
#include <cstring>

#include "kernels.h"

namespace mambaseg {

extern const Kernels<float> plain_float;
extern const Kernels<double> plain_double;
#if defined(__x86_64__)
extern const Kernels<float> avx2_float, avx512_float;
#endif

namespace {

const Kernels<float>* choose() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const char* asked = std::getenv("MAMBASEG_ISA");
  const auto allowed = [asked](const char* name) { return !asked || !*asked || std::strcmp(asked, name) == 0; };
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512 && allowed("avx512")) return &avx512_float;
  if (avx2 && allowed("avx2")) return &avx2_float;
#endif
  return &plain_float;
}

}  // namespace

const Kernels<float>& float_kernels() {
  static const Kernels<float>* chosen = choose();
  return *chosen;
}

const Kernels<double>& double_kernels() { return plain_double; }

}  // namespace mambaseg
