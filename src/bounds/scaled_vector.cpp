#include "quantbound/bounds/scaled_vector.hpp"

#include <algorithm>
#include <cmath>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"

namespace quantbound::bounds {

namespace {

double largest_value(const std::vector<double>& values) {
  double largest = 0.0;
  for (const double value : values) largest = std::max(largest, value);
  return largest;
}

/// value * 2^shift, rounded up. @pre shift <= 0, or value and its product are in range
double scaled_up(double value, int shift) {
  const double result = std::ldexp(value, shift);
  return std::ldexp(result, -shift) < value ? core::next_up(result) : result;
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
  if (shift == 0) return vector;
  for (double& value : vector.values) value = scaled_up(value, -shift);
  vector.exponent += shift;
  return vector;
}

std::vector<double> values_at(const ScaledVector& vector, std::int64_t exponent) {
  QUANTBOUND_ASSERT(exponent >= vector.exponent, exponent, vector.exponent);
  std::vector<double> values = vector.values;
  if (exponent == vector.exponent) return values;
  const auto shift = static_cast<int>(std::max<std::int64_t>(vector.exponent - exponent, -3000));
  for (double& value : values) value = value == 0.0 ? 0.0 : scaled_up(value, shift);
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
