/// Differences of an activation's values: from y in [l, u], y' in [l', u'] and d = y' - y in [dl, du] to the interval
/// of sigma'(y') - sigma(y). Optimal for the piecewise linear nondecreasing functions (docs/theory.md 5.1, extended to
/// any kinks and to a different sigma' for f_q); for the others the range of the derivative times d. All rounded
/// outward and inside the difference of the two separate ranges.
#pragma once

#include <optional>
#include <vector>

#include "quantbound/certify/pair_bounds.hpp"
#include "quantbound/core/interval.hpp"

namespace quantbound::certify::detail {

/// What is known of y, y' and y' - y at one element.
struct Triple {
  core::Interval f, fq, difference;
};

/// The difference after the activation, and both values.
/// @pre the three intervals admit some (y, y')
Triple activate(const network::Activation& activation, const Triple& in);

/// The same where f_q rounds its input to a grid instead.
Triple activate_on_grid(const network::Activation& activation, const ActivationGrid& grid, const Triple& in);

/// The values of f_q behind a grid.
core::Interval grid_range(const ActivationGrid& grid, core::Interval x);

/// A whole box, element by element, in the memory of `in`.
PairBox activate(const network::Activation& activation, const std::optional<ActivationGrid>& grid, PairBox in);

}  // namespace quantbound::certify::detail
