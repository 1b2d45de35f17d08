/// Shared by the files of this room: checks of a configuration, the grid that a range of weights gets, and the search
/// for the range with the least L_2.4 error (docs/theory.md 7.1).
#pragma once

#include <cmath>
#include <span>

#include "quantbound/quantize/quantize.hpp"

namespace quantbound::quantize::detail {

inline double rounded_stochastically(double quotient, double uniform) {
  const double below = std::floor(quotient);
  return uniform < quotient - below ? below + 1.0 : below;
}

/// Quotient -> integer for the rules that need no random number; stochastic counts as round to nearest.
template <Quantizer quantizer>
inline double rounded(double quotient) {
  if constexpr (quantizer == Quantizer::floor) return std::floor(quotient);
  if constexpr (quantizer == Quantizer::truncate) return std::trunc(quotient);
  return std::nearbyint(quotient);
}

/// Smallest and largest of the weights and zero, which is a level of every grid.
Range range_of(std::span<const double> weights);

/// The grid of `bits` bits over a range whose ends are multiplied by `shrink`. Its step is positive, also where the
/// exact step would underflow, unless the range is {0}.
RowGrid grid_over(const Range& range, double shrink, int bits, const Configuration& configuration);

/// The grid with the given step.
RowGrid grid_with_step(const Range& range, double step, int bits, const Configuration& configuration);

/// Of the ranges shrunk by 1, 0.99, ..., 0.21, the grid with the least sum of |w' - w|^2.4; the widest one of equals.
RowGrid search_grid(std::span<const double> weights, int bits, const Configuration& configuration);

/// Sum over the weights of |w' - w|^2.4, in units of step^2.4; anything above `limit` where it exceeds that. Stochastic
/// rounding counts as round to nearest: the step must not depend on the draw.
double error_in_steps(std::span<const double> weights, const RowGrid& grid, Quantizer quantizer, double limit);

/// Throws core::InputError unless bits, bias_bits and fixed_step are usable. @pre at_layer made the configuration
void check(const Configuration& configuration);

}  // namespace quantbound::quantize::detail
