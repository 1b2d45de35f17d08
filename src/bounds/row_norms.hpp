/// Between the rows of a layer and its norms: upper bounds per row, and what they say about the layer. The fast pass and
/// the plain reference both end here.
#pragma once

#include <span>
#include <vector>

#include "quantbound/bounds/layer_norms.hpp"

namespace quantbound::bounds::detail {

/// Of every row of W' and dW, upper bounds.
struct PairRows {
  explicit PairRows(std::size_t rows) : weight_sum(rows), weight_two_norm(rows), delta_sum(rows), delta_two_norm(rows) {}
  std::vector<double> weight_sum;       ///< sum |w'|
  std::vector<double> weight_two_norm;  ///< sqrt(max |w'| sum |w'|), which is at least the row's 2-norm (Hoelder)
  std::vector<double> delta_sum;        ///< sum |dw|
  std::vector<double> delta_two_norm;
  double weight_max = 0.0, delta_max = 0.0, step_max = 0.0;
  bool sign_compatible = true;
};

/// |b'| and |db| of every row, and their norms over all positions.
struct BiasRows {
  std::vector<double> absolute, delta;
  double norm = 0.0, delta_max = 0.0, two_norm = 0.0, delta_two_norm = 0.0;
  bool sign_compatible = true;
};

BiasRows bias_rows(std::span<const double> bias, std::span<const double> quantized_bias, const LayerShape& shape,
                   Index layer);

/// Norms of the pair. These three throw core::NumericalError naming the layer where a norm is beyond the doubles.
QuantizedLayerNorms summarize(const PairRows& rows, const BiasRows& bias, const LayerShape& shape,
                              const LayerNorms& original, Index layer);
void check_finite(std::span<const double> norms, Index layer);

/// Upper bound of sqrt(sum v^2) for nonnegative v, without overflow or underflow on the way.
core::Upper two_norm_up(std::span<const double> values);

/// Upper bound of |exact a - exact b|; 0 only when a = b.
inline double absolute_difference_up(double a, double b) {
  const double difference = a > b ? a - b : b - a;
  return difference * (1.0 + 0x1p-52);
}

/// Upper bound of a sum of `terms` nonnegative doubles computed in any order: additions alone cannot underflow, so zero
/// stays zero.
double plain_sum_up(double computed, std::size_t terms);

/// Whether neither is negative while the other is positive.
inline bool same_sign(double a, double b) { return !(a < 0.0 && b > 0.0) && !(a > 0.0 && b < 0.0); }

}  // namespace quantbound::bounds::detail
