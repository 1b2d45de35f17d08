/// The constant part of one row of a backward walk, summed to nearest with everything that rounding can have cost
/// (docs/theory.md 9.5.5): the exact sum is at most `value` + `slack` + what the additions themselves lost.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "quantbound/core/rounding.hpp"

namespace quantbound::certify::detail {

/// gamma_n of sums of n products, with room for the rounding of a stored weight change and of the few operations around
/// the sum.
inline double gamma(std::int64_t terms) { return (static_cast<double>(terms) + 6.0) * 0x1p-53 * (1.0 + 0x1p-20); }

struct RowSum {
  double value = 0.0;
  double magnitude = 0.0;  ///< of all summands
  double slack = 0.0;      ///< of errors in the summands and in the coefficients
  std::int64_t additions = 0;

  void add(double term, double error) {
    value += term;
    magnitude += std::abs(term);
    slack += error;
    ++additions;
  }

  /// Upper bound of the exact sum; +inf where something overflowed.
  double upper() const {
    constexpr double inflation = 1.0 + 0x1p-20;  // of sums of nonnegative errors, themselves rounded to nearest
    const double error = (slack + gamma(additions) * magnitude) * inflation;
    const double result = error == 0.0 ? value : core::next_up(value + error);
    return result <= std::numeric_limits<double>::max() ? result : std::numeric_limits<double>::infinity();
  }
};

}  // namespace quantbound::certify::detail
