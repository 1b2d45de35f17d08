#include "dense_pair_kernels.hpp"

#include <algorithm>
#include <cmath>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#pragma GCC diagnostic ignored "-Wpsabi"                // vectors are passed between inlined functions only
#pragma GCC diagnostic ignored "-Wuninitialized"        // and the next:
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC bug 105593: immintrin.h itself

namespace quantbound::certify::detail {

namespace {

/// Without the instruction: exact, and slow.
template <class Vector>
[[gnu::always_inline]] inline Vector fused_by_hand(const Vector& a, const Vector& b, const Vector& c) {
  return Vector{std::fma(a[0], b[0], c[0]), std::fma(a[1], b[1], c[1])};
}

#define QUANTBOUND_LOOP plain
#define QUANTBOUND_TARGET
#define QUANTBOUND_BYTES 16
#define QUANTBOUND_GROUPS 1
#define QUANTBOUND_FUSED(a, b, c) fused_by_hand(a, b, c)
#include "dense_pair_kernels.inl"
#undef QUANTBOUND_LOOP
#undef QUANTBOUND_TARGET
#undef QUANTBOUND_BYTES
#undef QUANTBOUND_GROUPS
#undef QUANTBOUND_FUSED

#if defined(__x86_64__)

#define QUANTBOUND_LOOP avx2
#define QUANTBOUND_TARGET [[gnu::target("avx2,fma")]]
#define QUANTBOUND_BYTES 32
#define QUANTBOUND_GROUPS 1
#define QUANTBOUND_FUSED(a, b, c) _mm256_fmadd_pd(a, b, c)
#include "dense_pair_kernels.inl"
#undef QUANTBOUND_LOOP
#undef QUANTBOUND_TARGET
#undef QUANTBOUND_BYTES
#undef QUANTBOUND_GROUPS
#undef QUANTBOUND_FUSED

#define QUANTBOUND_LOOP avx512
#define QUANTBOUND_TARGET [[gnu::target("avx512f,avx512dq,avx512vl,fma")]]
#define QUANTBOUND_BYTES 64
#define QUANTBOUND_GROUPS 4
#define QUANTBOUND_FUSED(a, b, c) _mm512_fmadd_pd(a, b, c)
#include "dense_pair_kernels.inl"
#undef QUANTBOUND_LOOP
#undef QUANTBOUND_TARGET
#undef QUANTBOUND_BYTES
#undef QUANTBOUND_GROUPS
#undef QUANTBOUND_FUSED

#endif

std::vector<NamedKernels> find_kernels() {
  std::vector<NamedKernels> found{{"plain", &plain::kernels}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back({"avx2", &avx2::kernels});
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    found.push_back({"avx512", &avx512::kernels});
#endif
  return found;
}

}  // namespace

const std::vector<NamedKernels>& kernel_variants() {
  static const std::vector<NamedKernels> variants = find_kernels();
  return variants;
}

const DenseKernels& dense_kernels() { return *kernel_variants().back().kernels; }

}  // namespace quantbound::certify::detail
