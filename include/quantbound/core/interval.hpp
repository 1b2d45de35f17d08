/// Intervals of real numbers with double ends, every operation rounded outward without switching the rounding mode.
/// Results that doubles hold exactly stay exact. An end that overflowed is infinite; a lower end is never +inf and an
/// upper end never -inf, so no operation makes NaN. All operations are a few instructions without branches on data, so
/// that loops over many intervals become vector code. Not here: sums of many terms (rounding.hpp), functions.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace quantbound::core {

struct Interval {
  double low = 0.0, high = 0.0;
};

/// At least the next double above a rounded value that is zero or normal; a value that is exact wherever it is
/// denormal (every sum is) needs nothing more.
inline double nudge_up(double rounded) { return std::fma(std::abs(rounded), 0x1p-52, rounded); }
inline double nudge_down(double rounded) { return std::fma(std::abs(rounded), -0x1p-52, rounded); }

/// Upper end of a + b: exact sums stay. @pre neither is -inf
inline double sum_ceiling(double a, double b) {
  constexpr double lowest = std::numeric_limits<double>::lowest(), infinity = std::numeric_limits<double>::infinity();
  const double sum = a + b;
  const double b_part = sum - a;
  const double error = (a - (sum - b_part)) + (b - b_part);  // TwoSum (Knuth)
  const double up = error <= 0.0 ? sum : nudge_up(sum);      // up also where TwoSum itself overflowed
  const double known = sum == sum ? lowest : infinity;       // a sum that overflowed downwards, or is unknown
  return up > lowest ? up : known;
}
/// @pre neither is +inf
inline double sum_floor(double a, double b) { return -sum_ceiling(-a, -b); }

/// The same in a third of the instructions, for loops over millions: sums other than zero are rounded up even if exact,
/// and what overflowed downwards becomes +inf.
inline double quick_sum_ceiling(double a, double b) {
  const double up = nudge_up(a + b);
  return up == up ? up : std::numeric_limits<double>::infinity();
}
inline double quick_sum_floor(double a, double b) { return -quick_sum_ceiling(-a, -b); }

inline double product_ceiling(double a, double b) {
  constexpr double lowest = std::numeric_limits<double>::lowest();
  if (a == 0.0 || b == 0.0) return 0.0;  // also 0 times an end at infinity: what it stands for is finite
  const double product = a * b;
  const bool certain = std::abs(product) >= 0x1p-960;  // else the FMA could underflow
  const double error = certain ? std::fma(a, b, -product) : 1.0;
  // 2^-1074: what a product that underflowed may have lost.
  const double up = !(error <= 0.0) ? nudge_up(product) + (certain ? 0.0 : 0x1p-1074) : product;
  return up > lowest ? up : lowest;
}
inline double product_floor(double a, double b) { return -product_ceiling(-a, b); }

/// @pre b is finite and not zero
inline double quotient_ceiling(double a, double b) {
  const double quotient = a / b;
  const bool exact = std::abs(quotient) >= 0x1p-900 && std::abs(a) >= 0x1p-900 && std::fma(quotient, b, -a) == 0.0;
  if (exact || a == 0.0) return quotient;
  return std::max(nudge_up(quotient) + 0x1p-1074, std::numeric_limits<double>::lowest());
}
inline double quotient_floor(double a, double b) { return -quotient_ceiling(-a, b); }

/// std::min and std::max by value: what compilers turn into one instruction in every loop.
inline double smaller(double a, double b) { return b < a ? b : a; }
inline double larger(double a, double b) { return a < b ? b : a; }

inline Interval point(double x) { return {x, x}; }

inline Interval operator-(Interval a) { return {-a.high, -a.low}; }
inline Interval operator+(Interval a, Interval b) { return {sum_floor(a.low, b.low), sum_ceiling(a.high, b.high)}; }
inline Interval operator-(Interval a, Interval b) { return {sum_floor(a.low, -b.high), sum_ceiling(a.high, -b.low)}; }

inline Interval operator*(Interval a, Interval b) {
  return {smaller(smaller(product_floor(a.low, b.low), product_floor(a.low, b.high)),
                  smaller(product_floor(a.high, b.low), product_floor(a.high, b.high))),
          larger(larger(product_ceiling(a.low, b.low), product_ceiling(a.low, b.high)),
                 larger(product_ceiling(a.high, b.low), product_ceiling(a.high, b.high)))};
}

/// @pre divisor > 0
inline Interval operator/(Interval a, double divisor) {
  return {quotient_floor(a.low, divisor), quotient_ceiling(a.high, divisor)};
}

inline Interval clamp(Interval a, double low, double high) {
  return {smaller(larger(a.low, low), high), smaller(larger(a.high, low), high)};
}
inline Interval intersection(Interval a, Interval b) { return {larger(a.low, b.low), smaller(a.high, b.high)}; }
inline Interval hull(Interval a, Interval b) { return {smaller(a.low, b.low), larger(a.high, b.high)}; }

}  // namespace quantbound::core
