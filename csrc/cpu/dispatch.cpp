// Choice of the kernels for this processor, made once.

#include <cstdlib>
#include <cstring>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernels.h"

namespace mambaseg {

extern const Kernels<float> plain_float;
extern const Kernels<double> plain_double;
#if defined(__x86_64__)
extern const Kernels<float> avx2_float, avx512_float;
extern const Bfloat16Kernels avx512_bf16_products, amx_products;
#endif

namespace {

struct Choice {
  const Kernels<float>* float32;
  const Bfloat16Kernels* bfloat16;
  int64_t at_once;  // numbers of a bfloat16 factor's row that one instruction multiplies and adds up
};

#if defined(__x86_64__)
// AMX-TILE and AMX-BF16, whose names not every compiler's __builtin_cpu_supports knows.
bool has_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned wanted = 1u << 22 | 1u << 24;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & wanted) == wanted;
}

// Linux saves the tiles of a process that has asked for them, in all its threads.
bool tiles_permitted() {
#if defined(__linux__)
  constexpr long ask_for_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, ask_for_permission, tile_data) == 0;
#else
  return false;
#endif
}
#endif

Choice choose() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const char* set = std::getenv("MAMBASEG_ISA");
  const bool any = !set || !*set;
  const auto asked = [set, any](const char* name) { return !any && std::strcmp(set, name) == 0; };
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool pairs = avx512 && __builtin_cpu_supports("avx512bf16");
  const bool tiles = pairs && has_tiles();
  if (tiles && (any || asked("amx")) && tiles_permitted()) return {&avx512_float, &amx_products, 32};
  // an Intel of 2023 multiplies pairs half as fast as float32
  if (pairs && ((any && __builtin_cpu_is("amd")) || asked("avx512_bf16"))) return {&avx512_float, &avx512_bf16_products, 2};
  if (avx512 && (any || asked("avx512"))) return {&avx512_float, avx512_float.bfloat16, 1};
  if (avx2 && (any || asked("avx2"))) return {&avx2_float, avx2_float.bfloat16, 1};
#endif
  return {&plain_float, plain_float.bfloat16, 1};
}

const Choice& chosen() {
  static const Choice choice = choose();
  return choice;
}

}  // namespace

const Kernels<float>& float_kernels() { return *chosen().float32; }

const Kernels<double>& double_kernels() { return plain_double; }

const Bfloat16Kernels& bfloat16_kernels() { return *chosen().bfloat16; }

int64_t bfloat16_at_once() { return chosen().at_once; }

}  // namespace mambaseg
