/// Sums and extremes over many numbers in a fixed order that vectorizes: sixteen partial sums, added pairwise at the
/// end. The bits are the same for every vector length.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>

namespace quantbound::bounds::detail {

/// Sum of term(v) over the values.
template <class Term>
double sum_in_lanes(std::span<const double> values, Term term) {
  constexpr std::size_t lanes = 16;
  double sum[lanes] = {};
  const std::size_t whole = values.size() / lanes * lanes;
  for (std::size_t i = 0; i < whole; i += lanes) {
    for (std::size_t lane = 0; lane < lanes; ++lane) sum[lane] += term(values[i + lane]);
  }
  for (std::size_t i = whole; i < values.size(); ++i) sum[i - whole] += term(values[i]);
  for (std::size_t half = lanes / 2; half > 0; half /= 2) {
    for (std::size_t lane = 0; lane < half; ++lane) sum[lane] += sum[lane + half];
  }
  return sum[0];
}

/// Sum of the products of two rows of equal length.
inline double dot_in_lanes(const double* a, const double* b, std::size_t count) {
  constexpr std::size_t lanes = 16;
  double sum[lanes] = {};
  const std::size_t whole = count / lanes * lanes;
  for (std::size_t i = 0; i < whole; i += lanes) {
    for (std::size_t lane = 0; lane < lanes; ++lane) sum[lane] += a[i + lane] * b[i + lane];
  }
  for (std::size_t i = whole; i < count; ++i) sum[i - whole] += a[i] * b[i];
  for (std::size_t half = lanes / 2; half > 0; half /= 2) {
    for (std::size_t lane = 0; lane < half; ++lane) sum[lane] += sum[lane + half];
  }
  return sum[0];
}

/// The largest of nonnegative values and the smallest positive one: 0 and infinity where there is none.
struct Extremes {
  double largest = 0.0;
  double smallest_positive = std::numeric_limits<double>::infinity();
};

inline Extremes extremes_in_lanes(std::span<const double> values) {
  constexpr std::size_t lanes = 16;
  double largest[lanes] = {}, smallest[lanes];
  for (double& value : smallest) value = std::numeric_limits<double>::infinity();
  const auto take = [&](std::size_t lane, double value) {
    const double positive = value > 0.0 ? value : std::numeric_limits<double>::infinity();
    largest[lane] = largest[lane] < value ? value : largest[lane];
    smallest[lane] = positive < smallest[lane] ? positive : smallest[lane];
  };
  const std::size_t whole = values.size() / lanes * lanes;
  for (std::size_t i = 0; i < whole; i += lanes) {
    for (std::size_t lane = 0; lane < lanes; ++lane) take(lane, values[i + lane]);
  }
  for (std::size_t i = whole; i < values.size(); ++i) take(i - whole, values[i]);
  Extremes result;
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    result.largest = std::max(result.largest, largest[lane]);
    result.smallest_positive = std::min(result.smallest_positive, smallest[lane]);
  }
  return result;
}

}  // namespace quantbound::bounds::detail
