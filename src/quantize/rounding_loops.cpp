#include "rounding_loops.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "grids.hpp"

#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC bug 105593: _mm512_max_pd of immintrin.h itself
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

namespace quantbound::quantize::detail {

namespace {

/// As quantize_value, in a form that the compiler turns into vector instructions of the function it is built into.
template <Quantizer quantizer>
[[gnu::always_inline]] inline bool round_weights(std::span<const double> weights, const double* uniforms,
                                                 const Levels& levels, double* __restrict result) {
  const double step = levels.step, lowest = levels.lowest, highest = levels.highest;
  const double* source = weights.data();
  std::uint64_t not_finite = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double quotient = source[i] / step;
    double integer = 0.0;
    if constexpr (quantizer == Quantizer::stochastic) {
      integer = rounded_stochastically(quotient, uniforms[i]);
    } else {
      integer = rounded<quantizer>(quotient);
    }
    integer = integer < lowest ? lowest : integer;
    integer = highest < integer ? highest : integer;
    const double value = (integer + 0.0) * step;
    not_finite |= std::bit_cast<std::uint64_t>(value - value);  // 0 where it is finite
    result[i] = value;
  }
  return not_finite == 0;
}

template <Quantizer quantizer>
bool plain_rounding(std::span<const double> weights, const double* uniforms, Levels levels, double* result) {
  return round_weights<quantizer>(weights, uniforms, levels, result);
}

Range plain_range(std::span<const double> weights) {
  Range range;
  for (const double weight : weights) {
    range.low = std::min(range.low, weight);
    range.high = std::max(range.high, weight);
  }
  return range;
}

Range joined(Range range, std::span<const double> lows, std::span<const double> highs) {
  for (const double low : lows) range.low = std::min(range.low, low);
  for (const double high : highs) range.high = std::max(range.high, high);
  return range;
}

#if defined(__x86_64__)
#define QUANTBOUND_AVX2 [[gnu::target("avx2,fma")]]
#define QUANTBOUND_AVX512 [[gnu::target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512")]]

template <Quantizer quantizer>
QUANTBOUND_AVX2 bool avx2_rounding(std::span<const double> weights, const double* uniforms, Levels levels,
                                   double* result) {
  return round_weights<quantizer>(weights, uniforms, levels, result);
}

template <Quantizer quantizer>
QUANTBOUND_AVX512 bool avx512_rounding(std::span<const double> weights, const double* uniforms, Levels levels,
                                       double* result) {
  return round_weights<quantizer>(weights, uniforms, levels, result);
}

// GCC 12 finds the instructions for min and max only where it may forget about NaN. min(weight, low) is weight < low ?
// weight : low. Four vectors at a time hide their latency.
constexpr std::size_t parts = 4;

QUANTBOUND_AVX2 Range avx2_range(std::span<const double> weights) {
  constexpr std::size_t width = 4, lanes = parts * width;
  __m256d low[parts], high[parts];
  for (std::size_t part = 0; part < parts; ++part) low[part] = high[part] = _mm256_setzero_pd();
  std::size_t i = 0;
  for (; i + lanes <= weights.size(); i += lanes) {
#pragma GCC unroll 4
    for (std::size_t part = 0; part < parts; ++part) {
      const __m256d weight = _mm256_loadu_pd(weights.data() + i + part * width);
      low[part] = _mm256_min_pd(weight, low[part]);
      high[part] = _mm256_max_pd(weight, high[part]);
    }
  }
  std::array<double, lanes> lows, highs;
  for (std::size_t part = 0; part < parts; ++part) {
    _mm256_storeu_pd(lows.data() + part * width, low[part]);
    _mm256_storeu_pd(highs.data() + part * width, high[part]);
  }
  return joined(plain_range(weights.subspan(i)), lows, highs);
}

QUANTBOUND_AVX512 Range avx512_range(std::span<const double> weights) {
  constexpr std::size_t width = 8, lanes = parts * width;
  __m512d low[parts], high[parts];
  for (std::size_t part = 0; part < parts; ++part) low[part] = high[part] = _mm512_setzero_pd();
  std::size_t i = 0;
  for (; i + lanes <= weights.size(); i += lanes) {
#pragma GCC unroll 4
    for (std::size_t part = 0; part < parts; ++part) {
      const __m512d weight = _mm512_loadu_pd(weights.data() + i + part * width);
      low[part] = _mm512_min_pd(weight, low[part]);
      high[part] = _mm512_max_pd(weight, high[part]);
    }
  }
  std::array<double, lanes> lows, highs;
  for (std::size_t part = 0; part < parts; ++part) {
    _mm512_storeu_pd(lows.data() + part * width, low[part]);
    _mm512_storeu_pd(highs.data() + part * width, high[part]);
  }
  return joined(plain_range(weights.subspan(i)), lows, highs);
}
#endif

std::vector<InstructionSet> find_instruction_sets() {
  using enum Quantizer;
  std::vector<InstructionSet> sets;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw")) {
    sets.push_back(
        {"AVX-512",
         {avx512_rounding<floor>, avx512_rounding<round>, avx512_rounding<truncate>, avx512_rounding<stochastic>},
         avx512_range});
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    sets.push_back({"AVX2",
                    {avx2_rounding<floor>, avx2_rounding<round>, avx2_rounding<truncate>, avx2_rounding<stochastic>},
                    avx2_range});
  }
#endif
  sets.push_back({"baseline",
                  {plain_rounding<floor>, plain_rounding<round>, plain_rounding<truncate>, plain_rounding<stochastic>},
                  plain_range});
  return sets;
}

}  // namespace

std::span<const InstructionSet> instruction_sets() {
  static const std::vector<InstructionSet> sets = find_instruction_sets();
  return sets;
}

}  // namespace quantbound::quantize::detail
