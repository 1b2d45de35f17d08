#include "../../../src/certify/linear_program.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "../../../src/certify/linear_program_solver.hpp"
#include "../../support/network_builder.hpp"

namespace quantbound::certify::linear {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
const StopRequest never;

/// max x + 2 y with x + y <= 4, x - y >= -2, 0 <= x, y <= 3: 7 at (1, 3).
LinearProgram textbook() {
  LinearProgram program;
  const Index x = program.add_variable({0.0, 3.0}), y = program.add_variable({0.0, 3.0});
  program.add_row(std::vector<Term>{{x, 1.0}, {y, 1.0}}, {-infinity, 4.0});
  program.add_row(std::vector<Term>{{x, 1.0}, {y, -1.0}}, {-2.0, infinity});
  return program;
}

TEST(LinearProgram, BoundOfATextbookProgramIsItsOptimum) {
  const LinearProgram program = textbook();
  LinearProgramSolver solver(program);
  const std::vector<Term> objective = {{0, -1.0}, {1, -2.0}};
  const double minimum = solver.minimum(objective, 1000, never);
  EXPECT_LE(minimum, -7.0);
  EXPECT_NEAR(minimum, -7.0, 1e-9);
  EXPECT_NEAR(solver.minimum(std::vector<Term>{{0, 1.0}, {1, -1.0}}, 1000, never), -2.0, 1e-9);
}

TEST(LinearProgram, BoundByHandOfGivenMultipliers) {
  // -x - 2y with multiplier -1 of x + y <= 4: -4 + min (0 x - 1 y) = -7.
  const double bound =
      proved_minimum(textbook(), std::vector<Term>{{0, -1.0}, {1, -2.0}}, std::vector<double>{-1.0, 0.0});
  EXPECT_LE(bound, -7.0);
  EXPECT_NEAR(bound, -7.0, 1e-13);
}

TEST(LinearProgram, MultiplierAgainstAnInfiniteLimitCountsAsZero) {
  const std::vector<Term> objective = {{0, -1.0}, {1, -2.0}};
  const double without = proved_minimum(textbook(), objective, std::vector<double>{0.0, 0.0});
  EXPECT_EQ(proved_minimum(textbook(), objective, std::vector<double>{5.0, -3.0}), without);
  EXPECT_EQ(proved_minimum(textbook(), objective, std::vector<double>{std::nan(""), -infinity}), without);
}

TEST(LinearProgram, RoundingGoesDownWhereTheExactSumIsKnown) {
  // 0.1 x + 0.2 x - 0.3 x at x = 1 is 2^-54 of the stored doubles, which the bound may not exceed.
  LinearProgram program;
  const Index x = program.add_variable({1.0, 1.0});
  const double bound = proved_minimum(program, std::vector<Term>{{x, 0.1}, {x, 0.2}, {x, -0.3}}, {});
  EXPECT_LE(bound, 0x1p-55);
  EXPECT_GT(bound, -1e-15);
}

TEST(LinearProgram, UnboundedVariableProvesNothingUnlessCancelled) {
  LinearProgram program;
  const Index x = program.add_variable({-infinity, infinity}), y = program.add_variable({0.0, 1.0});
  program.add_row(std::vector<Term>{{x, 1.0}, {y, -2.0}}, {3.0, 3.0});
  const std::vector<Term> objective = {{x, 1.0}};
  EXPECT_EQ(proved_minimum(program, objective, std::vector<double>{0.0}), -infinity);
}

/// A random program that holds at a known point v.
struct Drawn {
  LinearProgram program;
  std::vector<double> point;
};

Drawn draw(testing::Draws& draws) {
  Drawn drawn;
  const double spread = draws.chance(0.3) ? 30.0 : 1.0;
  const auto number = [&] { return draws.normal() * std::pow(10.0, draws.uniform(-spread, spread)); };
  const Index variables = draws.integer(1, 6), rows = draws.integer(0, 8);
  for (Index v = 0; v < variables; ++v) {
    const double low = number(), high = low + (draws.chance(0.1) ? 0.0 : std::abs(number()));
    drawn.program.add_variable({low, high});
    drawn.point.push_back(std::clamp(low + draws.uniform() * (high - low), low, high));
  }
  for (Index i = 0; i < rows; ++i) {
    std::vector<Term> terms;
    long double at_point = 0.0L, magnitude = 0.0L;
    for (Index v = 0; v < variables; ++v) {
      if (draws.chance(0.3)) continue;
      terms.push_back({v, number()});
      const auto product =
          static_cast<long double>(terms.back().coefficient) * drawn.point[static_cast<std::size_t>(v)];
      at_point += product;
      magnitude += std::abs(product);
    }
    const auto slack = static_cast<long double>(draws.chance(0.5) ? 0.0 : std::abs(number())) + 1e-15L * magnitude;
    drawn.program.add_row(terms, {draws.chance(0.3) ? -infinity : static_cast<double>(at_point - slack),
                                  draws.chance(0.3) ? infinity : static_cast<double>(at_point + slack)});
  }
  return drawn;
}

double at(const std::vector<Term>& objective, const std::vector<double>& point) {
  long double sum = 0.0L;
  for (const Term& term : objective) {
    sum += static_cast<long double>(term.coefficient) * point[static_cast<std::size_t>(term.variable)];
  }
  return static_cast<double>(sum);
}

TEST(LinearProgram, NoMultipliersEverExcludeAFeasiblePoint) {
  testing::Draws draws(1, "linear program");
  for (int trial = 0; trial < 5000; ++trial) {
    const Drawn drawn = draw(draws);
    std::vector<Term> objective;
    for (Index v = 0; v < drawn.program.variables(); ++v) objective.push_back({v, draws.normal()});
    std::vector<double> multipliers(static_cast<std::size_t>(drawn.program.rows()));
    for (double& m : multipliers) m = draws.normal() * std::pow(10.0, draws.uniform(-3.0, 3.0));
    const double value = at(objective, drawn.point);
    EXPECT_LE(proved_minimum(drawn.program, objective, multipliers), value + 1e-15 * std::abs(value)) << trial;
  }
}

TEST(LinearProgram, SolverIsNeverLooserThanTheIntervalsAndNeverExcludesAFeasiblePoint) {
  testing::Draws draws(2, "linear program");
  for (int trial = 0; trial < 500; ++trial) {
    const Drawn drawn = draw(draws);
    LinearProgramSolver solver(drawn.program);
    for (int repeat = 0; repeat < 3; ++repeat) {
      std::vector<Term> objective;
      for (Index v = 0; v < drawn.program.variables(); ++v) objective.push_back({v, draws.normal()});
      const std::vector<double> none(static_cast<std::size_t>(drawn.program.rows()), 0.0);
      const double minimum = solver.minimum(objective, 200, never);
      const double value = at(objective, drawn.point);
      EXPECT_GE(minimum, proved_minimum(drawn.program, objective, none));
      EXPECT_LE(minimum, value + 1e-15 * std::abs(value)) << trial;
    }
  }
}

TEST(LinearProgram, StoppedAtOnceIsStillProved) {
  const LinearProgram program = textbook();
  LinearProgramSolver solver(program);
  const double minimum = solver.minimum(std::vector<Term>{{0, -1.0}, {1, -2.0}}, 1000, [] { return true; });
  EXPECT_LE(minimum, -7.0);
  EXPECT_GE(minimum, -9.0 - 1e-12);
}

TEST(LinearProgram, SolverPrintsNothing) {
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const LinearProgram program = textbook();
  LinearProgramSolver solver(program);
  LinearProgramSolver other = solver.copy();
  other.minimum(std::vector<Term>{{0, -1.0}}, 1000, never);
  LinearProgram infeasible = textbook();
  infeasible.add_row(std::vector<Term>{{0, 1.0}}, {10.0, 11.0});
  LinearProgramSolver(infeasible).minimum(std::vector<Term>{{0, -1.0}}, 1000, never);
  std::fflush(stdout);
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace quantbound::certify::linear
