/// Linear programs whose every variable lies in a known interval, and lower bounds of linear forms over them that are
/// proved whoever found them: for ANY multipliers m of the rows low <= a_i.v <= high,
///   c.v >= sum_i (m_i > 0 ? m_i low_i : m_i high_i) + sum_j min over [low_j, high_j] of (c - A^T m)_j v_j
/// (Neumaier and Shcherbina, "Safe bounds in linear and mixed-integer programming", 2004), evaluated rounding outward
/// (docs/theory.md 9.5). Good multipliers come from linear_program_solver.hpp; bad ones cost tightness alone. The rows
/// must be true for the doubles that are stored: whoever adds a row rounds its limits outward.
#pragma once

#include <span>
#include <vector>

#include "quantbound/network/graph.hpp"

namespace quantbound::certify::linear {

using network::Index;

struct Interval {
  double low = 0.0, high = 0.0;
};

struct Term {
  Index variable = 0;
  double coefficient = 0.0;
};

class LinearProgram {
 public:
  /// Limits may be infinite; multipliers then have to cancel the variable to bound anything.
  Index add_variable(Interval limits);
  /// The intersection with what is known already. An empty one (two proofs that touch but for rounding) keeps the old.
  void tighten(Index variable, Interval limits);
  /// low <= sum of the terms <= high. A variable may occur in several terms. @pre coefficients finite
  void add_row(std::span<const Term> terms, Interval limits);

  Index variables() const { return std::ssize(variables_); }
  Index rows() const { return std::ssize(rows_); }
  Index nonzeros() const { return std::ssize(terms_); }
  Interval variable(Index v) const { return variables_[static_cast<std::size_t>(v)]; }
  Interval row_limits(Index row) const { return rows_[static_cast<std::size_t>(row)]; }
  std::span<const Term> row(Index row) const {
    const auto i = static_cast<std::size_t>(row);
    return std::span(terms_).subspan(starts_[i], starts_[i + 1] - starts_[i]);
  }

 private:
  std::vector<Interval> variables_, rows_;
  std::vector<Term> terms_;  ///< row after row
  std::vector<std::size_t> starts_ = {0};
};

/// The bound above: no feasible v has a smaller sum of the objective's terms. -infinity where the multipliers prove
/// nothing; multipliers that are not finite, or that push against a limit that is infinite, count as zero.
/// @pre multipliers.size() == program.rows()
double proved_minimum(const LinearProgram& program, std::span<const Term> objective,
                      std::span<const double> multipliers);

}  // namespace quantbound::certify::linear
