#include "linear_program.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"

namespace quantbound::certify::linear {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

double add_down(double a, double b) { return -core::add_up(-a, -b); }
double multiply_down(double a, double b) { return -core::multiply_up(-a, b); }

/// A sum of products as it accumulates: its floating-point value and what bounds the error of that.
struct Accumulated {
  double value = 0.0, magnitude = 0.0;
  Index terms = 0;

  void add(double product) {
    value += product;
    magnitude += std::abs(product);
    ++terms;
  }

  /// What the exact sum is within (docs/theory.md 9.5.2): two more roundings than terms leave room for those here.
  Interval enclosure() const {
    if (terms == 0) return {};
    if (!std::isfinite(magnitude)) return {-infinity, infinity};
    const double n = static_cast<double>(terms);
    const double error =
        core::next_up(core::sum_up(magnitude, static_cast<std::size_t>(terms)) * (n + 4.0) * 0x1p-53 + n * 0x1p-1074);
    return {core::next_down(value - error), core::next_up(value + error)};
  }
};

/// Smallest product of two numbers, one from each interval, rounded down. Zero times infinity is zero: the limits are
/// those of finite numbers.
double smallest_product(Interval a, Interval b) {
  const auto product = [](double x, double y) { return x == 0.0 || y == 0.0 ? 0.0 : multiply_down(x, y); };
  return std::min({product(a.low, b.low), product(a.low, b.high), product(a.high, b.low), product(a.high, b.high)});
}

/// The multiplier, or zero where it could prove nothing.
double usable(double multiplier, Interval limits) {
  const double limit = multiplier > 0.0 ? limits.low : limits.high;
  return std::isfinite(multiplier) && std::isfinite(limit) ? multiplier : 0.0;
}

}  // namespace

Index LinearProgram::add_variable(Interval limits) {
  QUANTBOUND_ASSERT(limits.low <= limits.high, limits.low, limits.high);
  variables_.push_back(limits);
  return variables() - 1;
}

void LinearProgram::tighten(Index variable, Interval limits) {
  Interval& known = variables_[static_cast<std::size_t>(variable)];
  const Interval both{std::max(known.low, limits.low), std::min(known.high, limits.high)};
  if (both.low <= both.high) known = both;
}

void LinearProgram::add_row(std::span<const Term> terms, Interval limits) {
  QUANTBOUND_ASSERT(limits.low <= limits.high, limits.low, limits.high);
  for (const Term& term : terms) {
    QUANTBOUND_ASSERT(std::isfinite(term.coefficient) && term.variable < variables(), term.coefficient, term.variable);
    if (term.coefficient != 0.0) terms_.push_back(term);
  }
  starts_.push_back(terms_.size());
  rows_.push_back(limits);
}

double proved_minimum(const LinearProgram& program, std::span<const Term> objective,
                      std::span<const double> multipliers) {
  QUANTBOUND_ASSERT(std::ssize(multipliers) == program.rows(), multipliers.size(), program.rows());
  std::vector<Accumulated> reduced(static_cast<std::size_t>(program.variables()));
  for (const Term& term : objective) reduced[static_cast<std::size_t>(term.variable)].add(term.coefficient);

  double bound = 0.0;
  for (Index i = 0; i < program.rows(); ++i) {
    const Interval limits = program.row_limits(i);
    const double multiplier = usable(multipliers[static_cast<std::size_t>(i)], limits);
    if (multiplier == 0.0) continue;
    bound = add_down(bound, multiply_down(multiplier, multiplier > 0.0 ? limits.low : limits.high));
    for (const Term& term : program.row(i)) {
      reduced[static_cast<std::size_t>(term.variable)].add(-(multiplier * term.coefficient));
    }
  }
  for (Index j = 0; j < program.variables(); ++j) {
    const Accumulated& cost = reduced[static_cast<std::size_t>(j)];
    if (cost.terms > 0) bound = add_down(bound, smallest_product(cost.enclosure(), program.variable(j)));
  }
  return std::isfinite(bound) ? bound : -infinity;
}

}  // namespace quantbound::certify::linear
