#include "quantbound/core/upper.hpp"

#include <cmath>
#include <limits>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"

namespace quantbound::core {

Upper Upper::normalized(double mantissa, std::int64_t exponent) {
  Upper result;
  if (mantissa == 0.0) return result;
  int shift = 0;
  result.mantissa_ = std::frexp(mantissa, &shift);
  result.exponent_ = exponent + shift;
  return result;
}

Upper::Upper(double value) {
  QUANTBOUND_ASSERT(std::isfinite(value) && value >= 0.0, value);
  *this = normalized(value, 0);
}

double Upper::log10() const {
  if (is_zero()) return -std::numeric_limits<double>::infinity();
  constexpr double log10_2 = 0.30102999566398119521;
  const double value = static_cast<double>(exponent_) * log10_2 + std::log10(mantissa_);
  // std::log10 errs by at most a few ulp of a number in [-0.302, 0]; the product and the sum by half an ulp each.
  const double error =
      std::abs(static_cast<double>(exponent_) * log10_2) * 0x1p-51 + std::abs(value) * 0x1p-52 + 0x1p-52;
  return mantissa_ == 0.5 && exponent_ == 1 ? 0.0 : next_up(value + error);
}

double Upper::to_double() const {
  if (is_zero()) return 0.0;
  if (exponent_ > 1024) return std::numeric_limits<double>::infinity();
  if (exponent_ < -1080) return std::numeric_limits<double>::denorm_min();
  const int shift = static_cast<int>(exponent_);
  const double value = std::ldexp(mantissa_, shift);
  return std::ldexp(value, -shift) < mantissa_ ? next_up(value) : value;  // denormals may have been rounded down
}

Upper operator*(Upper a, Upper b) {
  if (a.is_zero() || b.is_zero()) return {};
  return Upper::normalized(multiply_up(a.mantissa_, b.mantissa_), a.exponent_ + b.exponent_);
}

Upper operator+(Upper a, Upper b) {
  if (a.is_zero()) return b;
  if (b.is_zero()) return a;
  if (a < b) std::swap(a, b);
  const std::int64_t gap = a.exponent_ - b.exponent_;
  if (gap > 64) return Upper::normalized(next_up(a.mantissa_), a.exponent_);
  return Upper::normalized(add_up(a.mantissa_, std::ldexp(b.mantissa_, -static_cast<int>(gap))), a.exponent_);
}

Upper Upper::power(std::int64_t n) const {
  QUANTBOUND_ASSERT(n >= 0, n);
  Upper result(1.0);
  Upper base = *this;
  for (; n > 0; n >>= 1) {
    if (n & 1) result *= base;
    if (n > 1) base *= base;
  }
  return result;
}

Upper Upper::sqrt() const {
  if (is_zero()) return {};
  const std::int64_t odd = exponent_ & 1;
  return normalized(sqrt_up(std::ldexp(mantissa_, static_cast<int>(odd))), (exponent_ - odd) / 2);
}

Upper Upper::scaled(std::int64_t exponent) const {
  Upper result = *this;
  if (!is_zero()) result.exponent_ += exponent;
  return result;
}

std::strong_ordering operator<=>(Upper a, Upper b) {
  if (a.is_zero() || b.is_zero()) return !a.is_zero() <=> !b.is_zero();
  if (a.exponent_ != b.exponent_) return a.exponent_ <=> b.exponent_;
  if (a.mantissa_ < b.mantissa_) return std::strong_ordering::less;
  return a.mantissa_ > b.mantissa_ ? std::strong_ordering::greater : std::strong_ordering::equal;
}

Upper max(Upper a, Upper b) { return a < b ? b : a; }
Upper min(Upper a, Upper b) { return b < a ? b : a; }

}  // namespace quantbound::core
