/// GPTQ (arXiv 2210.17323; docs/theory.md 7.6): the columns of a layer are rounded to nearest one after the other, and
/// after each the columns that are still to come take up its error as well as they can. H is the second moment of the
/// layer's quantized inputs (Gram::moments), damped; the grids are fixed beforehand, one per row. Two differences from
/// the authors' code: weights of columns whose inputs were always zero are rounded to nearest instead of set to zero,
/// as other samples may reach them, and they do not count in the mean that damps. Biases are not touched, and the error
/// of earlier layers (Gram::residual) is not made good.
#pragma once

#include <span>
#include <vector>

#include "quantbound/quantize/quantize.hpp"
#include "quantbound/reconstruct/gram.hpp"

namespace quantbound::reconstruct {

enum class ColumnOrder {
  natural,
  descending_diagonal  ///< the largest inputs first, ties from left to right
};

struct GptqOptions {
  double damping = 0.01;  ///< times the mean of the diagonal, added to it
  Index block = 128;      ///< columns after which the rest is brought up to date
  ColumnOrder order = ColumnOrder::natural;
};

struct GptqResult {
  std::vector<double> weights;  ///< rows x columns, on the grids
  /// Per weight, (w - q)^2 / [H^-1]_jj over the columns still to come when it was rounded: what its rounding cost. The
  /// sum over a row is d H d^T, with the damped H.
  std::vector<double> losses;
};

/// @pre weights.size() == gram.rows * gram.columns, one grid per row
/// Throws core::NumericalError where the damped moments are not positive definite.
GptqResult gptq(std::span<const double> weights, const Gram& gram, std::span<const quantize::RowGrid> grids,
                const GptqOptions& options);

}  // namespace quantbound::reconstruct
