/// The hot loop of the layer pass: for sixteen rows at once, lane i being row i, the sums of |k - t| and friends over
/// the columns, where t = w / step is the quotient and k the integer that the rounding rule gives. Sums run over the
/// columns in order, so their bits are the same for every vector length; there is one build of the loop per instruction
/// set.
///
/// The quotient decides k. A product with 1/step can be off by a unit in the last place, which matters only within 1e-9
/// of where k changes. Division::reciprocal reports such doubt at the end; Division::checked looks at every column and
/// divides where there is doubt, which is slower but always certain.
#pragma once

#include <cstddef>
#include <span>

#include "quantbound/quantize/quantize.hpp"

namespace quantbound::bounds::detail {

inline constexpr std::size_t block_rows = 16;

/// The number of rows that arrays over rows are padded to.
inline constexpr std::size_t padded_rows(std::size_t rows) { return (rows + block_rows - 1) / block_rows * block_rows; }

struct alignas(64) Lanes {
  double row[block_rows] = {};
};

/// The grids of the sixteen rows, wherever they lie: integers k in [low, high], values k * step.
struct BlockGrid {
  const double* step = nullptr;
  const double* inverse_step = nullptr;
  const double* low = nullptr;   ///< read with Clip::possible only
  const double* high = nullptr;  ///< read with Clip::possible only
};

struct RowSums {
  Lanes error_sum;      ///< sum |k - t|
  Lanes error_squares;  ///< sum (k - t)^2
  Lanes error_max;      ///< max |k - t|
  Lanes level_sum;      ///< sum |k|, exact
  Lanes level_max;      ///< max |k|, exact
};

enum class Division { reciprocal, checked };
/// Whether a rounded quotient can leave [low, high].
enum class Clip { never, possible };
/// Whether every k of a row is what exact division gives.
enum class Certainty { certain, doubtful };

struct BlockTask {
  const double* weights = nullptr;   ///< columns x block_rows, 64-byte aligned
  const double* uniforms = nullptr;  ///< the same shape; stochastic rounding only
  std::size_t columns = 0;
  quantize::Quantizer quantizer = quantize::Quantizer::round;
  Clip clip = Clip::possible;
  Division division = Division::reciprocal;
};

/// One build of the loops. Which one runs does not show in the results.
struct InstructionSet {
  const char* name;
  Certainty (*sum_rows)(const BlockTask& task, const BlockGrid& grid, RowSums& sums);
  quantize::Range (*extremes)(std::span<const double> weights);
};

/// Those that this machine can run, the fastest first.
std::span<const InstructionSet> instruction_sets();

/// Fills `sums`. @pre |t| < 2^51 wherever |w| is a weight of its row
inline Certainty sum_rows(const BlockTask& task, const BlockGrid& grid, RowSums& sums) {
  return instruction_sets().front().sum_rows(task, grid, sums);
}

/// Smallest and largest of some weights and zero.
inline quantize::Range extremes(std::span<const double> weights) {
  return instruction_sets().front().extremes(weights);
}

}  // namespace quantbound::bounds::detail
