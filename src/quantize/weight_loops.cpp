#include "weight_loops.hpp"

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

/// What is not a number stays so.
[[gnu::always_inline]] inline double clipped(double integer, double lowest, double highest) {
  integer = integer < lowest ? lowest : integer;
  return highest < integer ? highest : integer;
}

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
    const double value = (clipped(integer, lowest, highest) + 0.0) * step;
    not_finite |= std::bit_cast<std::uint64_t>(value - value);  // 0 where it is finite
    result[i] = value;
  }
  return not_finite == 0;
}

/// x^2.4 = a (a y^4) with a = x^2 and y = a^(-1/5), by Newton's method, which needs no division.
struct Power {
  /// Divides the upper half of the bits of a by -5, in arithmetic that vectorizes: adding 2^52 to a small integer puts
  /// it into the lower bits of a double.
  [[gnu::always_inline]] static double first_guess(double a) {
    constexpr double guess = 1287170031.6;  // 6/5 of the upper half of 1.0, lowered by the mean error: within 3.2 %
    const double upper =
        std::bit_cast<double>(std::bit_cast<std::uint64_t>(0x1p52) | std::bit_cast<std::uint64_t>(a) >> 32);
    const double shifted = 0x1p52 + (guess - 0.2 * (upper - 0x1p52));
    return std::bit_cast<double>(std::bit_cast<std::uint64_t>(shifted) << 32);
  }
  static constexpr int iterations = 4;
  [[gnu::always_inline]] static double improved(double y, double a) {
    const double y2 = y * y;
    return y * (1.2 - 0.2 * (a * (y2 * y2)) * y);
  }
  [[gnu::always_inline]] static double value(double y, double a) {
    const double y2 = y * y;
    return a * (a * (y2 * y2));
  }
};

/// Block by block and step by step, so that every loop becomes vectors of any length whose elements do not wait for
/// each other, and the order of summation, in `lanes` partial sums, is that of no machine.
template <Quantizer quantizer>
[[gnu::always_inline]] inline double sum_errors(std::span<const double> weights, const Levels& levels, double limit) {
  constexpr std::size_t lanes = 16, block = 512;
  const double step = levels.step, lowest = levels.lowest, highest = levels.highest;
  std::array<double, block> squares, roots, errors;
  std::array<double, lanes> sum{};
  double total = 0.0;
  for (std::size_t first = 0; first < weights.size() && total <= limit; first += block) {
    const std::size_t count = std::min(block, weights.size() - first);
    for (std::size_t i = 0; i < count; ++i) {
      const double quotient = weights[first + i] / step;
      const double integer = clipped(rounded<quantizer>(quotient), lowest, highest);
      squares[i] = (integer - quotient) * (integer - quotient);
      roots[i] = Power::first_guess(squares[i]);
    }
    for (int iteration = 0; iteration < Power::iterations; ++iteration) {
      for (std::size_t i = 0; i < count; ++i) roots[i] = Power::improved(roots[i], squares[i]);
    }
    for (std::size_t i = 0; i < count; ++i) errors[i] = Power::value(roots[i], squares[i]);
    const std::size_t padded = (count + lanes - 1) / lanes * lanes;
    for (std::size_t i = count; i < padded; ++i) errors[i] = 0.0;
    for (std::size_t i = 0; i < padded; i += lanes) {
      for (std::size_t lane = 0; lane < lanes; ++lane) sum[lane] += errors[i + lane];
    }
    total = 0.0;
    for (const double value : sum) total += value;
  }
  return total;
}

template <Quantizer quantizer>
bool plain_rounding(std::span<const double> weights, const double* uniforms, Levels levels, double* result) {
  return round_weights<quantizer>(weights, uniforms, levels, result);
}

template <Quantizer quantizer>
double plain_error(std::span<const double> weights, Levels levels, double limit) {
  return sum_errors<quantizer>(weights, levels, limit);
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
QUANTBOUND_AVX2 double avx2_error(std::span<const double> weights, Levels levels, double limit) {
  return sum_errors<quantizer>(weights, levels, limit);
}

template <Quantizer quantizer>
QUANTBOUND_AVX512 bool avx512_rounding(std::span<const double> weights, const double* uniforms, Levels levels,
                                       double* result) {
  return round_weights<quantizer>(weights, uniforms, levels, result);
}

template <Quantizer quantizer>
QUANTBOUND_AVX512 double avx512_error(std::span<const double> weights, Levels levels, double limit) {
  return sum_errors<quantizer>(weights, levels, limit);
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
         {avx512_error<floor>, avx512_error<round>, avx512_error<truncate>, avx512_error<round>},
         avx512_range});
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    sets.push_back({"AVX2",
                    {avx2_rounding<floor>, avx2_rounding<round>, avx2_rounding<truncate>, avx2_rounding<stochastic>},
                    {avx2_error<floor>, avx2_error<round>, avx2_error<truncate>, avx2_error<round>},
                    avx2_range});
  }
#endif
  sets.push_back({"baseline",
                  {plain_rounding<floor>, plain_rounding<round>, plain_rounding<truncate>, plain_rounding<stochastic>},
                  {plain_error<floor>, plain_error<round>, plain_error<truncate>, plain_error<round>},
                  plain_range});
  return sets;
}

}  // namespace

double power_2_4(double x) {
  const double a = x * x;
  double y = Power::first_guess(a);
  for (int iteration = 0; iteration < Power::iterations; ++iteration) y = Power::improved(y, a);
  return Power::value(y, a);
}

std::span<const InstructionSet> instruction_sets() {
  static const std::vector<InstructionSet> sets = find_instruction_sets();
  return sets;
}

}  // namespace quantbound::quantize::detail
