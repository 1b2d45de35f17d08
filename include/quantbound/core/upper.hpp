/// Proved upper bounds and estimates, as two types that cannot be mixed up. `Upper` is a nonnegative number with a
/// 53-bit mantissa and a 64-bit exponent whose arithmetic rounds up: a product of a thousand layer norms neither
/// overflows nor loses its proof. `Estimate` is a base-10 logarithm computed to nearest. There is no conversion from
/// Estimate to Upper.
#pragma once

#include <compare>
#include <cstdint>

namespace quantbound::core {

class Upper {
 public:
  /// Zero.
  constexpr Upper() = default;
  /// Exactly `value`.
  /// @pre value is finite and not negative
  explicit Upper(double value);

  bool is_zero() const { return mantissa_ == 0.0; }
  /// Upper bound of the base-10 logarithm; -inf for zero.
  double log10() const;
  /// Upper bound as a double; +inf beyond its range.
  double to_double() const;

  friend Upper operator*(Upper a, Upper b);
  friend Upper operator+(Upper a, Upper b);
  Upper& operator*=(Upper other) { return *this = *this * other; }
  Upper& operator+=(Upper other) { return *this = *this + other; }
  /// this^n by repeated squaring. @pre n >= 0
  Upper power(std::int64_t n) const;
  Upper sqrt() const;
  /// this times 2^exponent, exact.
  Upper scaled(std::int64_t exponent) const;

  friend std::strong_ordering operator<=>(Upper a, Upper b);
  friend bool operator==(Upper a, Upper b) { return a.mantissa_ == b.mantissa_ && a.exponent_ == b.exponent_; }

  /// The value is mantissa() * 2^exponent(), mantissa in [0.5, 1) or 0.
  double mantissa() const { return mantissa_; }
  std::int64_t exponent() const { return exponent_; }

 private:
  static Upper normalized(double mantissa, std::int64_t exponent);
  double mantissa_ = 0.0;
  std::int64_t exponent_ = 0;
};

Upper max(Upper a, Upper b);
Upper min(Upper a, Upper b);

/// A number that nothing proves: the base-10 logarithm of a formula taken literally.
struct Estimate {
  double log10;
};

}  // namespace quantbound::core
