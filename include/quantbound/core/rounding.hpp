/// Outward rounding without switching the rounding mode (docs/theory.md 9.5.2): a sum of n nonnegative products
/// computed in any order, with or without FMA, has relative error at most gamma_n = n u / (1 - n u), u = 2^-53, plus n
/// times the smallest denormal. Inflating the computed value by that much gives a proved upper bound; deflating gives a
/// lower one. Needs gradual underflow (no FTZ/DAZ), round to nearest, and n <= 2^26.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

namespace quantbound::core {

inline double next_up(double value) { return std::nextafter(value, std::numeric_limits<double>::infinity()); }
inline double next_down(double value) { return std::nextafter(value, -std::numeric_limits<double>::infinity()); }

/// Upper bound of an exact sum of `terms` nonnegative products whose floating-point value is `computed`; 0 stays 0 only
/// when `terms` is 0, because products may have underflowed.
/// @pre computed >= 0, terms <= 2^26
inline double sum_up(double computed, std::size_t terms) {
  if (terms == 0) return computed;
  const double n = static_cast<double>(terms);
  return next_up(computed * (1.0 + (n + 2.0) * 0x1p-52) + n * 0x1p-1074);
}

/// Lower bound of the same sum, never negative.
inline double sum_down(double computed, std::size_t terms) {
  const double n = static_cast<double>(terms);
  const double lowered = next_down(computed * (1.0 - (n + 2.0) * 0x1p-52) - n * 0x1p-1074);
  return lowered > 0.0 ? lowered : 0.0;
}

/// a + b, a * b, a / b and the root of a rounded up; exact results stay exact for the sum and the product.
inline double add_up(double a, double b) {
  const double sum = a + b;
  const double b_part = sum - a;
  const double error = (a - (sum - b_part)) + (b - b_part);  // TwoSum (Knuth): exact unless the sum overflows
  return error > 0.0 ? next_up(sum) : sum;
}
inline double multiply_up(double a, double b) {
  const double product = a * b;
  if (a == 0.0 || b == 0.0) return product;
  if (std::abs(product) < 0x1p-960) return next_up(product);  // the FMA below could underflow
  return std::fma(a, b, -product) > 0.0 ? next_up(product) : product;
}
inline double divide_up(double a, double b) { return a == 0.0 ? 0.0 : next_up(a / b); }
inline double sqrt_up(double a) { return a == 0.0 ? 0.0 : next_up(std::sqrt(a)); }

}  // namespace quantbound::core
