#include "quantbound/bounds/scaled_vector.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"

namespace quantbound::bounds {

namespace {

double largest_value(const std::vector<double>& values) {
  double largest = 0.0;
  for (const double value : values) largest = std::max(largest, value);
  return largest;
}

/// Multiplies by 2^shift, rounded up: where the result is denormal the smallest denormal covers what was rounded away,
/// elsewhere adding it changes nothing or one unit in the last place.
void scale_up(std::vector<double>& values, int shift) {
  constexpr double smallest = std::numeric_limits<double>::denorm_min();
  // Two factors, because 2^shift alone may be out of range.
  const double first = std::ldexp(1.0, shift / 2), second = std::ldexp(1.0, shift - shift / 2);
  for (double& value : values) value = value * first * second + (value > 0.0 && shift < 0 ? smallest : 0.0);
}

}  // namespace

bool ScaledVector::is_zero() const { return largest_value(values) == 0.0; }

core::Upper ScaledVector::largest() const { return core::Upper(largest_value(values)).scaled(exponent); }

ScaledVector normalized(ScaledVector vector) {
  const double largest = largest_value(vector.values);
  QUANTBOUND_ASSERT(std::isfinite(largest), largest);
  if (largest == 0.0) {
    vector.exponent = 0;
    return vector;
  }
  const int shift = std::ilogb(largest);
  if (shift >= -100 && shift <= 100) return vector;
  scale_up(vector.values, -shift);
  vector.exponent += shift;
  return vector;
}

std::vector<double> values_at(const ScaledVector& vector, std::int64_t exponent) {
  QUANTBOUND_ASSERT(exponent >= vector.exponent, exponent, vector.exponent);
  std::vector<double> values = vector.values;
  if (exponent == vector.exponent) return values;
  scale_up(values, static_cast<int>(std::max<std::int64_t>(vector.exponent - exponent, -2000)));
  return values;
}

ScaledVector sum_up(const ScaledVector& a, const ScaledVector& b) {
  QUANTBOUND_ASSERT(a.values.size() == b.values.size(), a.values.size(), b.values.size());
  if (a.is_zero()) return b;
  if (b.is_zero()) return a;
  const std::int64_t exponent = std::max(a.exponent, b.exponent);
  ScaledVector sum{values_at(a, exponent), exponent};
  const std::vector<double> other = values_at(b, exponent);
  for (std::size_t i = 0; i < sum.values.size(); ++i) sum.values[i] = core::add_up(sum.values[i], other[i]);
  return normalized(std::move(sum));
}

}  // namespace quantbound::bounds
