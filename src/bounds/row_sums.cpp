#include "row_sums.hpp"

#include <cmath>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#pragma GCC diagnostic ignored "-Wpsabi"                // vectors are passed between inlined functions only
#pragma GCC diagnostic ignored "-Wuninitialized"        // and the next:
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC bug 105593: _mm512_max_pd of immintrin.h itself

namespace quantbound::bounds::detail {

namespace {

/// Without the instruction: exact, and slow.
template <class Vector>
[[gnu::always_inline]] inline Vector fused_by_hand(const Vector& a, const Vector& b, const Vector& c) {
  return Vector{std::fma(a[0], b[0], c[0]), std::fma(a[1], b[1], c[1])};
}

#define QUANTBOUND_LOOP baseline
#define QUANTBOUND_TARGET
#define QUANTBOUND_BYTES 16
#define QUANTBOUND_LARGER(a, b) ((a) > (b) ? (a) : (b))
#define QUANTBOUND_SMALLER(a, b) ((a) < (b) ? (a) : (b))
#define QUANTBOUND_FUSED(a, b, c) fused_by_hand(a, b, c)
#define QUANTBOUND_ANY_LESS(a, b) ((a)[0] < (b)[0] || (a)[1] < (b)[1])
#include "row_sums_loop.inl"
#undef QUANTBOUND_LOOP
#undef QUANTBOUND_TARGET
#undef QUANTBOUND_BYTES
#undef QUANTBOUND_LARGER
#undef QUANTBOUND_SMALLER
#undef QUANTBOUND_FUSED
#undef QUANTBOUND_ANY_LESS

#if defined(__x86_64__)

#define QUANTBOUND_LOOP avx2
#define QUANTBOUND_TARGET [[gnu::target("avx2,fma")]]
#define QUANTBOUND_BYTES 32
#define QUANTBOUND_LARGER(a, b) _mm256_max_pd(a, b)
#define QUANTBOUND_SMALLER(a, b) _mm256_min_pd(a, b)
#define QUANTBOUND_FUSED(a, b, c) _mm256_fmadd_pd(a, b, c)
#define QUANTBOUND_ANY_LESS(a, b) (_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_LT_OQ)) != 0)
#include "row_sums_loop.inl"
#undef QUANTBOUND_LOOP
#undef QUANTBOUND_TARGET
#undef QUANTBOUND_BYTES
#undef QUANTBOUND_LARGER
#undef QUANTBOUND_SMALLER
#undef QUANTBOUND_FUSED
#undef QUANTBOUND_ANY_LESS

#define QUANTBOUND_LOOP avx512
#define QUANTBOUND_TARGET [[gnu::target("avx512f,avx512dq,avx512vl,avx512bw,fma")]]
#define QUANTBOUND_BYTES 64
#define QUANTBOUND_LARGER(a, b) _mm512_max_pd(a, b)
#define QUANTBOUND_SMALLER(a, b) _mm512_min_pd(a, b)
#define QUANTBOUND_FUSED(a, b, c) _mm512_fmadd_pd(a, b, c)
#define QUANTBOUND_ANY_LESS(a, b) (_mm512_cmp_pd_mask(a, b, _CMP_LT_OQ) != 0)
#include "row_sums_loop.inl"
#undef QUANTBOUND_LOOP
#undef QUANTBOUND_TARGET
#undef QUANTBOUND_BYTES
#undef QUANTBOUND_LARGER
#undef QUANTBOUND_SMALLER
#undef QUANTBOUND_FUSED
#undef QUANTBOUND_ANY_LESS

#endif

std::vector<InstructionSet> find_instruction_sets() {
  std::vector<InstructionSet> sets;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw")) {
    sets.push_back({"AVX-512", avx512::sum_rows, avx512::extremes});
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    sets.push_back({"AVX2", avx2::sum_rows, avx2::extremes});
  }
#endif
  sets.push_back({"baseline", baseline::sum_rows, baseline::extremes});
  return sets;
}

}  // namespace

std::span<const InstructionSet> instruction_sets() {
  static const std::vector<InstructionSet> sets = find_instruction_sets();
  return sets;
}

}  // namespace quantbound::bounds::detail
