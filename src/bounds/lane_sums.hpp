/// Sums over many numbers in a fixed order that vectorizes: sixteen partial sums, added pairwise at the end. The bits
/// are the same for every vector length.
#pragma once

#include <cstddef>
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

}  // namespace quantbound::bounds::detail
