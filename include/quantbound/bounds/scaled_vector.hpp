/// Nonnegative vectors over a common power of two: values[i] * 2^exponent. A thousand layers of any scale neither
/// overflow nor underflow. Arithmetic on them rounds up; zero vectors stay exactly zero.
#pragma once

#include <cstdint>
#include <vector>

#include "quantbound/core/upper.hpp"

namespace quantbound::bounds {

struct ScaledVector {
  std::vector<double> values;
  std::int64_t exponent = 0;

  bool is_zero() const;
  /// Element i; exact.
  core::Upper at(std::size_t i) const { return core::Upper(values[i]).scaled(exponent); }
  core::Upper largest() const;
  bool operator==(const ScaledVector&) const = default;
};

/// The same numbers with a largest value between 2^-100 and 2^101; those that are 2^-900 of it may be rounded up.
ScaledVector normalized(ScaledVector vector);

/// The values over 2^exponent, rounded up. @pre exponent >= vector.exponent
std::vector<double> values_at(const ScaledVector& vector, std::int64_t exponent);

/// Rounded up. @pre equal sizes
ScaledVector sum_up(const ScaledVector& a, const ScaledVector& b);

}  // namespace quantbound::bounds
