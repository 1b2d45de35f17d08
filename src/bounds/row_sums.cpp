#include "row_sums.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#pragma GCC diagnostic ignored "-Wpsabi"                // vectors are passed between inlined functions only
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC bug 105593: _mm512_max_pd of immintrin.h itself

namespace quantbound::bounds::detail {

namespace {

#define QUANTBOUND_LOOP baseline
#define QUANTBOUND_TARGET
#define QUANTBOUND_BYTES 16
#define QUANTBOUND_LARGER(a, b) ((a) > (b) ? (a) : (b))
#define QUANTBOUND_SMALLER(a, b) ((a) < (b) ? (a) : (b))
#include "row_sums_loop.inl"
#undef QUANTBOUND_LOOP
#undef QUANTBOUND_TARGET
#undef QUANTBOUND_BYTES
#undef QUANTBOUND_LARGER
#undef QUANTBOUND_SMALLER

#if defined(__x86_64__)

#define QUANTBOUND_LOOP avx2
#define QUANTBOUND_TARGET [[gnu::target("avx2")]]
#define QUANTBOUND_BYTES 32
#define QUANTBOUND_LARGER(a, b) _mm256_max_pd(a, b)
#define QUANTBOUND_SMALLER(a, b) _mm256_min_pd(a, b)
#include "row_sums_loop.inl"
#undef QUANTBOUND_LOOP
#undef QUANTBOUND_TARGET
#undef QUANTBOUND_BYTES
#undef QUANTBOUND_LARGER
#undef QUANTBOUND_SMALLER

#define QUANTBOUND_LOOP avx512
#define QUANTBOUND_TARGET [[gnu::target("avx512f,avx512dq,avx512vl,avx512bw")]]
#define QUANTBOUND_BYTES 64
#define QUANTBOUND_LARGER(a, b) _mm512_max_pd(a, b)
#define QUANTBOUND_SMALLER(a, b) _mm512_min_pd(a, b)
#include "row_sums_loop.inl"
#undef QUANTBOUND_LOOP
#undef QUANTBOUND_TARGET
#undef QUANTBOUND_BYTES
#undef QUANTBOUND_LARGER
#undef QUANTBOUND_SMALLER

#endif

using Loop = Certainty (*)(const BlockTask&, const BlockGrid&, RowSums&);

Loop choose_loop() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw")) {
    return avx512::sum_rows;
  }
  if (__builtin_cpu_supports("avx2")) return avx2::sum_rows;
#endif
  return baseline::sum_rows;
}

}  // namespace

Certainty sum_rows(const BlockTask& task, const BlockGrid& grid, RowSums& sums) {
  static const Loop loop = choose_loop();
  return loop(task, grid, sums);
}

}  // namespace quantbound::bounds::detail
