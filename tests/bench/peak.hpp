/// The peak of the machine: fused multiply-adds on registers, in the widest vectors that it has.
#pragma once

#include <algorithm>
#include <chrono>

#include <immintrin.h>

namespace quantbound::bench {

namespace detail {

constexpr int chains = 16;  // independent, to hide the latency

[[gnu::target("avx512f")]] inline float run_512(long steps) {
  __m512 sums[chains];
  for (__m512& sum : sums) sum = _mm512_set1_ps(1.0F);
  const __m512 factor = _mm512_set1_ps(0.999F), term = _mm512_set1_ps(0.001F);
  for (long i = 0; i < steps; ++i)
#pragma GCC unroll 16
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, factor, term);
  for (const __m512& sum : sums) sums[0] = _mm512_add_ps(sums[0], sum);
  return _mm512_cvtss_f32(sums[0]);
}

[[gnu::target("avx2,fma")]] inline float run_256(long steps) {
  __m256 sums[chains - 4];
  for (__m256& sum : sums) sum = _mm256_set1_ps(1.0F);
  const __m256 factor = _mm256_set1_ps(0.999F), term = _mm256_set1_ps(0.001F);
  for (long i = 0; i < steps; ++i)
#pragma GCC unroll 16
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, factor, term);
  for (const __m256& sum : sums) sums[0] = _mm256_add_ps(sums[0], sum);
  return _mm256_cvtss_f32(sums[0]);
}

}  // namespace detail

/// Best of a few, in GFLOP/s of float, with this many threads at once.
inline double peak_gflops(int threads) {
  constexpr long steps = 20'000'000;
  const bool wide = __builtin_cpu_supports("avx512f") != 0;
  const double flops = 2.0 * static_cast<double>(steps) * (wide ? 16.0 * detail::chains : 8.0 * (detail::chains - 4));
  double best = 0.0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const auto begin = std::chrono::steady_clock::now();
    float sink = 0.0F;
#pragma omp parallel num_threads(threads) reduction(+ : sink)
    sink += wide ? detail::run_512(steps) : detail::run_256(steps);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    const volatile float keep = sink;  // the loop must not be optimized away
    static_cast<void>(keep);
    best = std::max(best, 1e-9 * threads * flops / seconds.count());
  }
  return best;
}

}  // namespace quantbound::bench
