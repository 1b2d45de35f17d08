/// Between the rows of a layer and its norms: upper bounds per row, and what they say about the layer. The fast pass
/// and the plain reference both end here.
#pragma once

#include <span>
#include <vector>

#include "quantbound/bounds/layer_norms.hpp"

#include "row_sums.hpp"

namespace quantbound::bounds::detail {

/// Of every row of W' and dW, upper bounds, in memory that somebody else owns: many small allocations would cost as
/// much as the sums. The arrays are padded to whole blocks; what is past the last row is not read.
struct PairRows {
  static constexpr std::size_t arrays = 6;

  /// @pre memory.size() == arrays * padded_rows(count)
  PairRows(std::size_t count, std::span<double> memory)
      : rows(count),
        weight_sum(memory.subspan(0 * padded_rows(count), padded_rows(count))),
        weight_max(memory.subspan(1 * padded_rows(count), padded_rows(count))),
        weight_two_norm(memory.subspan(2 * padded_rows(count), padded_rows(count))),
        delta_sum(memory.subspan(3 * padded_rows(count), padded_rows(count))),
        delta_max(memory.subspan(4 * padded_rows(count), padded_rows(count))),
        delta_two_norm(memory.subspan(5 * padded_rows(count), padded_rows(count))) {}

  std::span<const double> of(std::span<const double> array) const { return array.first(rows); }

  std::size_t rows;
  std::span<double> weight_sum;       ///< sum |w'|
  std::span<double> weight_max;       ///< max |w'|, exact
  std::span<double> weight_two_norm;  ///< sqrt(max |w'| sum |w'|), which is at least the row's 2-norm (Hoelder)
  std::span<double> delta_sum;        ///< sum |dw|
  std::span<double> delta_max;
  std::span<double> delta_two_norm;
  double step_max = 0.0;
  bool sign_compatible = true;
};

/// Norms of the original layer, whose rows have these ranges.
LayerNorms original_norms(const network::LayerParameters& parameters, std::span<const quantize::Range> ranges,
                          const LayerShape& shape, Index layer);

/// Ranges of the rows. The sizes of the layer are checked.
std::vector<quantize::Range> row_ranges(const network::LayerParameters& parameters, const LayerShape& shape);

inline double magnitude(const quantize::Range& range) { return -range.low > range.high ? -range.low : range.high; }

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

/// Upper bound of sqrt(sum v^2) without overflow or underflow on the way. `largest` is max |v|.
core::Upper two_norm_up(std::span<const double> values, double largest);
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
