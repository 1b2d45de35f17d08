#include "quantbound/observe/confidence.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"

namespace quantbound::observe {

namespace {

constexpr double unit = 0x1p-53;
constexpr Index most_samples = Index{1} << 31;
/// Below it, ratios of neighbouring terms could overflow.
constexpr double smallest_p = 0x1p-400;

/// A sum of positive terms whose first one is 1: value * 2^exponent, of relative error at most `error`.
struct Sum {
  double value = 1.0;
  int exponent = 0;
  double error = 0.0;
};

/// 1 + r_1 + r_1 r_2 + ... up to and including r_count, the ratios ratio(1) > ratio(2) > ... of a binomial's terms on
/// one side. A ratio is off by 4 units at most (see Binomial), so a term by 5 per step, and the sum by 1 per step more;
/// what is left out once terms are negligible is less than a geometric series.
template <class Ratio>
Sum sum_of_products(Index count, const Ratio& ratio) {
  constexpr double negligible = 0x1p-60, large = 0x1p512;
  Sum sum;
  double term = 1.0, left_out = 0.0;
  Index step = 1;
  for (; step <= count; ++step) {
    const double r = ratio(step);
    if (term < negligible * sum.value && r < 1.0 - 1e-9) {
      left_out = 1.001 * term * r / (1.0 - r);
      if (left_out < negligible * sum.value) break;
      left_out = 0.0;
    }
    term *= r;
    sum.value += term;
    if (sum.value > large) {
      term /= large;
      sum.value /= large;
      sum.exponent += 512;
    }
  }
  sum.error = 1.01 * 6.0 * unit * static_cast<double>(step) + 2.0 * left_out / sum.value;
  return sum;
}

/// P(X > k) / P(X <= k), enclosed. Its terms relative to P(X = k) need no factorial: they are products of the ratios
/// P(X = j + 1) / P(X = j) = (n - j) p / ((j + 1) (1 - p)), four roundings each with that of 1 - p.
/// @pre 0 <= k < n, smallest_p <= p < 1
Probability odds_above(Index k, Index n, double p) {
  const double q = 1.0 - p;
  const auto up = [&](Index j) { return static_cast<double>(n - j) * p / (static_cast<double>(j + 1) * q); };
  const auto down = [&](Index j) { return static_cast<double>(j) * q / (static_cast<double>(n - j + 1) * p); };
  const Sum at_most = sum_of_products(k, [&](Index step) { return down(k - step + 1); });
  const Sum above = sum_of_products(n - k - 1, [&](Index step) { return up(k + step); });
  const double odds = up(k) * (above.value / at_most.value);
  const double error = 1.01 * (at_most.error + above.error + 8.0 * unit);
  const int exponent = above.exponent - at_most.exponent;
  const double largest = std::numeric_limits<double>::max();
  return {.low = core::next_down(std::min(std::ldexp(odds * (1.0 - error), exponent), largest)),
          .high = core::next_up(std::ldexp(odds * (1.0 + error), exponent))};
}

void check(Index k, Index n, double p) {
  QUANTBOUND_ASSERT(n >= 0 && n <= most_samples && p >= 0.0 && p <= 1.0, k, n, p);
}

/// 1 - confidence, rounded down.
double failure_probability(double confidence) {
  QUANTBOUND_ASSERT(confidence > 0.0 && confidence < 1.0, confidence);
  return -core::add_up(confidence, -1.0);
}

/// Upper bound of x^n, exact where all products are. @pre 0 <= x <= 1, n >= 0
double power_up(double x, Index n) {
  double result = 1.0;
  for (double square = x; n > 0; n /= 2, square = core::multiply_up(square, square)) {
    if (n % 2 != 0) result = core::multiply_up(result, square);
  }
  return result;
}

/// Where a monotone property begins to hold: not yet at `low`, but at `high`.
template <class Number>
struct Bracket {
  Number low, high;
};

/// Looks from `start` outwards with strides that double, because sums are short near the mean.
/// @pre lowest <= start <= highest, stride > 0; `holds` is known to be false at `lowest` and true at `highest`
template <class Number, class Holds>
Bracket<Number> bracket(Number start, Number stride, Bracket<Number> range, const Holds& holds) {
  Number low = start, high = start;
  if (start >= range.high || (start > range.low && holds(start))) {
    do {
      high = low;
      low = std::max(high - stride, range.low);
      stride *= 2;
    } while (low > range.low && holds(low));
  } else {
    do {
      low = high;
      high = std::min(low + stride, range.high);
      stride *= 2;
    } while (high < range.high && !holds(high));
  }
  return {low, high};
}

/// Smallest index of (low, high] that holds.
template <class Holds>
Index first_of(Bracket<Index> range, const Holds& holds) {
  while (range.high - range.low > 1) {
    const Index middle = range.low + (range.high - range.low) / 2;
    (holds(middle) ? range.high : range.low) = middle;
  }
  return range.high;
}

}  // namespace

Probability binomial_at_most(Index k, Index n, double p) {
  check(k, n, p);
  if (k < 0) return {0.0, 0.0};
  if (k >= n || p == 0.0) return {1.0, 1.0};
  if (p == 1.0) return {0.0, 0.0};
  if (p < smallest_p) return {binomial_at_most(k, n, smallest_p).low, 1.0};
  const Probability odds = odds_above(k, n, p);
  return {std::max(0.0, core::next_down(1.0 / core::next_up(1.0 + odds.high))),
          std::min(1.0, core::next_up(1.0 / core::next_down(1.0 + odds.low)))};
}

Probability binomial_above(Index k, Index n, double p) {
  check(k, n, p);
  if (k < 0) return {1.0, 1.0};
  if (k >= n || p == 0.0) return {0.0, 0.0};
  if (p == 1.0) return {1.0, 1.0};
  if (p < smallest_p) return {0.0, binomial_above(k, n, smallest_p).high};
  const Probability odds = odds_above(k, n, p);
  const auto fraction = [](double x) { return x < 1.0 ? x / (1.0 + x) : 1.0 / (1.0 + 1.0 / x); };
  return {std::max(0.0, core::next_down(fraction(odds.low) * (1.0 - 4.0 * unit))),
          std::min(1.0, core::next_up(fraction(odds.high) * (1.0 + 4.0 * unit)))};
}

double binomial_cdf(Index k, Index n, double p) {
  const Probability value = binomial_at_most(k, n, p);
  return value.low + 0.5 * (value.high - value.low);
}

std::optional<Index> quantile_upper_rank(Index n, double q, double confidence) {
  QUANTBOUND_ASSERT(n >= 0 && n <= most_samples && q >= 0.0 && q <= 1.0, n, q);
  const double failure = failure_probability(confidence);
  if (n == 0 || power_up(q, n) > failure) return std::nullopt;
  const auto proved = [&](Index k) { return binomial_above(k, n, q).high <= failure; };
  const auto size = static_cast<double>(n);
  const auto mean = static_cast<Index>(q * size);
  const auto deviation = static_cast<Index>(1.0 + std::sqrt(size * q * (1.0 - q)));
  return first_of(bracket<Index>(std::min(mean, n - 1), deviation, {-1, n - 1}, proved), proved);
}

Index samples_needed(double q, double confidence) {
  QUANTBOUND_ASSERT(q > 0.0 && q < 1.0, q);
  const double failure = failure_probability(confidence);
  const auto enough = [&](Index n) { return power_up(q, n) <= failure; };
  Index low = 0, high = 1;
  for (; !enough(high); high *= 2) {
    // Beyond what the other functions take, n (1 - q) >= -log(failure) will do: q^n <= exp(-n (1 - q)).
    if (high >= most_samples) return static_cast<Index>(std::ceil(-std::log(failure) / (1.0 - q) * (1.0 + 1e-12)));
    low = high;
  }
  return first_of({low, high}, enough);
}

double exceedance_upper(Index n, double confidence) {
  QUANTBOUND_ASSERT(n >= 0, n);
  const double failure = failure_probability(confidence);
  if (n == 0) return 1.0;
  // The library's functions make a guess; what is returned was checked without them.
  double fraction = -std::expm1(std::log1p(-confidence) / static_cast<double>(n));
  for (double raise = 0x1p-52; fraction < 1.0; raise *= 2.0) {
    if (power_up(core::add_up(1.0, -fraction), n) <= failure) return fraction;
    fraction *= 1.0 + raise;
  }
  return 1.0;
}

double fraction_upper(Index successes, Index n, double confidence) {
  QUANTBOUND_ASSERT(successes >= 0 && successes <= n && n <= most_samples, successes, n);
  const double failure = failure_probability(confidence);
  if (successes == n) return 1.0;
  if (successes == 0) return exceedance_upper(n, confidence);
  const auto proved = [&](double p) { return binomial_at_most(successes, n, p).high <= failure; };
  const auto size = static_cast<double>(n), seen = static_cast<double>(successes);
  auto [low, high] = bracket<double>(seen / size, (1.0 + std::sqrt(seen)) / size, {0.0, 1.0}, proved);
  while (high - low > 0x1p-42 * high) {
    const double middle = low + 0.5 * (high - low);
    (proved(middle) ? high : low) = middle;
  }
  return high;
}

}  // namespace quantbound::observe
