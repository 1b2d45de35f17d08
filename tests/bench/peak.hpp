/// The peaks of the machine: fused multiply-adds on registers, in the widest vectors that it has, and bytes copied.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <vector>

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

inline bool has_wide_vectors() { return __builtin_cpu_supports("avx512f") != 0; }
/// Floats in a vector.
inline long vector_floats() { return has_wide_vectors() ? 16 : 8; }

/// GFLOP/s of float with this many threads: each thread's best of many short runs, added up, because other tenants of
/// the machine only ever take time away.
inline double peak_gflops(int threads) {
  constexpr long steps = 1'000'000;
  const bool wide = has_wide_vectors();
  const double flops = 2.0 * static_cast<double>(steps) * (wide ? 16.0 * detail::chains : 8.0 * (detail::chains - 4));
  double sum = 0.0;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
  {
    double best = 0.0;
    for (int repeat = 0; repeat < 100; ++repeat) {
      const auto begin = std::chrono::steady_clock::now();
      long wanted = steps;
      asm volatile("" : "+r"(wanted) : : "memory");  // neither moved out of the loop
      const float result = wide ? detail::run_512(wanted) : detail::run_256(wanted);
      asm volatile("" : : "m"(result) : "memory");  // nor optimized away
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      best = std::max(best, 1e-9 * flops / seconds.count());
    }
    sum += best;
  }
  return sum;
}

/// Best of many, in GB/s read and written together by one thread that copies within this many bytes.
inline double copy_gbytes(std::size_t bytes) {
  const std::size_t half = bytes / 2;
  std::vector<char> from(half, 1), to(half, 0);
  const std::size_t repeats = std::max<std::size_t>(1, (std::size_t{64} << 20) / bytes);
  double best = 0.0;
  for (int trial = 0; trial < 30; ++trial) {
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t repeat = 0; repeat < repeats; ++repeat) {
      std::memcpy(to.data(), from.data(), half);
      asm volatile("" : : "r"(to.data()) : "memory");  // every copy is wanted
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::max(best, 1e-9 * static_cast<double>(2 * half * repeats) / seconds.count());
  }
  return best;
}

}  // namespace quantbound::bench
