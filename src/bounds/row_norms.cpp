#include "row_norms.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/rounding.hpp"

#include "lane_sums.hpp"

namespace quantbound::bounds::detail {

namespace {

using core::Upper;

/// Multiplies by 2^-exponent in two steps, because the power alone may be out of range. Exact but for underflow of what
/// is below 2^-1000 of 2^exponent.
class PowerOfTwoScale {
 public:
  explicit PowerOfTwoScale(int exponent)
      : first_(std::ldexp(1.0, -exponent / 2)), second_(std::ldexp(1.0, -exponent - (-exponent / 2))) {}
  double operator()(double value) const { return value * first_ * second_; }

 private:
  double first_, second_;
};

/// 2-norm of the layer from its rows. A grouped convolution is block diagonal, so it is the largest over the groups of
/// either sqrt(largest row sum * sum of the row sums), where the second bounds every column sum because an input
/// element meets each tap of a row at most once, or Frobenius times sqrt(overlap). Everything is scaled by the largest
/// row.
double two_norm_of_rows(std::span<const double> row_sums, std::span<const double> row_two_norms, double largest_row,
                        const LayerShape& shape) {
  if (largest_row == 0.0) return 0.0;
  const int exponent = std::ilogb(largest_row);
  const PowerOfTwoScale scale(exponent);
  const std::size_t rows = row_sums.size() / static_cast<std::size_t>(shape.groups);
  const auto overlap = static_cast<double>(shape.overlap);
  const auto square = [&](double value) { return scale(value) * scale(value); };
  double largest = 0.0;  // of the squares
  if (rows == 1) {
    for (std::size_t row = 0; row < row_sums.size(); ++row) {
      largest = std::max(largest, std::min(square(row_sums[row]), square(row_two_norms[row]) * overlap));
    }
  } else {
    for (std::size_t first = 0; first < row_sums.size(); first += rows) {
      const auto sums = row_sums.subspan(first, rows);
      const double row_max = scale(extremes(sums).high), row_sum = sum_in_lanes(sums, scale);
      const double squares = sum_in_lanes(row_two_norms.subspan(first, rows), square);
      largest = std::max(largest, std::min(row_max * row_sum, squares * overlap));
    }
  }
  return Upper(core::sum_up(largest, rows + 4)).sqrt().scaled(exponent).to_double();  // 4: scaling and products
}

/// 2-norm of a bias that is repeated at every position.
double repeated_two_norm(std::span<const double> bias, Index positions) {
  return (two_norm_up(bias) * Upper(static_cast<double>(positions)).sqrt()).to_double();
}

}  // namespace

double plain_sum_up(double computed, std::size_t terms) {
  return computed == 0.0 ? 0.0 : core::sum_up(computed, terms);
}

core::Upper two_norm_up(std::span<const double> values, double largest) {
  if (largest == 0.0) return {};
  const int exponent = std::ilogb(largest);
  const PowerOfTwoScale scale(exponent);
  const double sum = sum_in_lanes(values, [&](double value) { return scale(value) * scale(value); });
  return Upper(core::sum_up(sum, values.size() + 1)).sqrt().scaled(exponent);
}

core::Upper two_norm_up(std::span<const double> values) { return two_norm_up(values, magnitude(extremes(values))); }

BiasRows bias_rows(std::span<const double> bias, std::span<const double> quantized_bias, const LayerShape& shape,
                   Index layer) {
  BiasRows rows{std::vector<double>(bias.size()), std::vector<double>(bias.size())};
  for (std::size_t i = 0; i < bias.size(); ++i) {
    rows.absolute[i] = std::abs(quantized_bias[i]);
    rows.delta[i] = absolute_difference_up(bias[i], quantized_bias[i]);
    rows.norm = std::max(rows.norm, rows.absolute[i]);
    rows.delta_max = std::max(rows.delta_max, rows.delta[i]);
    rows.sign_compatible &= same_sign(bias[i], quantized_bias[i]);
  }
  check_finite(std::array{rows.norm, rows.delta_max}, layer);
  rows.two_norm = repeated_two_norm(rows.absolute, shape.positions);
  rows.delta_two_norm = repeated_two_norm(rows.delta, shape.positions);
  return rows;
}

QuantizedLayerNorms summarize(const PairRows& rows, const BiasRows& bias, const LayerShape& shape,
                              const LayerNorms& original, Index layer) {
  QuantizedLayerNorms norms;
  norms.step_max = rows.step_max;
  norms.weight_max = extremes(rows.of(rows.weight_max)).high;
  norms.delta_max = extremes(rows.of(rows.delta_max)).high;
  norms.delta_norm = extremes(rows.of(rows.delta_sum)).high;
  norms.weight_norm = extremes(rows.of(rows.weight_sum)).high;
  check_finite(std::array{norms.delta_norm, norms.weight_norm, norms.delta_max}, layer);
  norms.delta_two_norm =
      two_norm_of_rows(rows.of(rows.delta_sum), rows.of(rows.delta_two_norm), norms.delta_norm, shape);
  norms.two_norm =
      std::min(two_norm_of_rows(rows.of(rows.weight_sum), rows.of(rows.weight_two_norm), norms.weight_norm, shape),
               core::add_up(original.two_norm, norms.delta_two_norm));
  norms.bias_norm = bias.norm;
  norms.delta_bias_max = bias.delta_max;
  norms.bias_two_norm = bias.two_norm;
  norms.delta_bias_two_norm = bias.delta_two_norm;
  norms.sign_compatible = rows.sign_compatible && bias.sign_compatible ? 1.0 : 0.0;
  norms.head = Envelope(rows.of(rows.weight_sum), bias.absolute);
  norms.delta = bias.delta_max > 0.0 ? Envelope(rows.of(rows.delta_sum), bias.delta)
                                     : Envelope(std::vector<Line>{{norms.delta_norm, 0.0}});
  norms.augmented = norms.head(Upper(1.0)).to_double();
  check_finite(
      std::array{norms.augmented, norms.two_norm, norms.delta_two_norm, norms.bias_two_norm, norms.delta_bias_two_norm},
      layer);
  return norms;
}

void check_finite(std::span<const double> norms, Index layer) {
  for (const double norm : norms) {
    if (std::isfinite(norm)) continue;
    throw core::NumericalError("a norm is beyond the range of doubles; scale the network down before quantizing it",
                               fmt::format("layer {}", layer));
  }
}

}  // namespace quantbound::bounds::detail
