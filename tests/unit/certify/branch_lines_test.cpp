#include "../../../src/certify/branch_lines.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "../../support/exact.hpp"

namespace quantbound::certify::detail {
namespace {

using quantbound::testing::Draws;
using quantbound::testing::Rational;

constexpr double infinity = std::numeric_limits<double>::infinity();

Rational exact(const Hinges& hinges, const Rational& x) {
  if (hinges.low != -infinity && x < Rational(hinges.low))
    return Rational(hinges.low) + Rational(hinges.below) * (x - Rational(hinges.low));
  if (hinges.high != infinity && x > Rational(hinges.high)) return Rational(hinges.high);
  return x;
}

Hinges random_hinges(Draws& draws) {
  switch (draws.integer(0, 3)) {
    case 0:
      return {0.0, infinity, draws.uniform()};
    case 1:
      return {draws.uniform(-1.0, 0.0), draws.uniform(0.0, 1.0), 0.0};
    case 2:
      return {0.0, 6.0, 0.0};
    default:
      return {0.0, infinity, 0.0};
  }
}

Interval random_interval(Draws& draws) {
  const double scale = std::pow(10.0, draws.uniform(-20.0, 20.0) * (draws.chance(0.3) ? 15.0 : 0.1));
  const double a = scale * draws.normal(), b = draws.chance(0.1) ? a : scale * draws.normal();
  return {std::min(a, b), std::max(a, b)};
}

std::vector<double> points_of(const Interval& x, Draws& draws) {
  std::vector<double> points{x.low, x.high};
  for (const double point : {0.0, 6.0, draws.uniform(-1.0, 1.0), x.low + draws.uniform() * (x.high - x.low)})
    if (x.low <= point && point <= x.high) points.push_back(point);
  return points;
}

TEST(BranchLines, EncloseTheActivationExactly) {
  Draws draws(1, "branch lines");
  for (int n = 0; n < 4000; ++n) {
    const Hinges hinges = random_hinges(draws);
    const Interval x = random_interval(draws);
    const Phase phase = phase_of(hinges, x);
    const HingeLines lines = activation_lines(hinges, phase, x);
    const Interval range = activation_range(hinges, x);
    ASSERT_GE(lines.slope_high, 0.0);
    ASSERT_LE(lines.slope_low, 1.0);
    std::vector<double> points = points_of(x, draws);
    for (const double bend : {hinges.low, hinges.high})
      if (x.low <= bend && bend <= x.high) points.push_back(bend);
    for (const double point : points) {
      const Rational value = exact(hinges, Rational(point));
      if (lines.offset_high < infinity) {
        ASSERT_LE(value, Rational(lines.slope_high) * Rational(point) + Rational(lines.offset_high)) << n;
      }
      if (lines.offset_low > -infinity) {
        ASSERT_GE(value, Rational(lines.slope_low) * Rational(point) + Rational(lines.offset_low)) << n;
      }
      ASSERT_GE(value, Rational(range.low));
      ASSERT_LE(value, Rational(range.high));
    }
  }
}

TEST(BranchLines, EncloseTheChangeOfTheActivationExactly) {
  Draws draws(2, "branch lines");
  for (int n = 0; n < 4000; ++n) {
    const Hinges hinges = random_hinges(draws);
    const Interval y = random_interval(draws);
    Interval d = random_interval(draws);
    const double scale =
        std::max({1e-30, std::abs(y.low), std::abs(y.high)}) / std::max(std::abs(d.low), std::abs(d.high));
    if (scale < infinity) d = {d.low * scale, d.high * scale};
    const Interval fq_y{y.low + d.low, y.high + d.high};
    const Phase f = phase_of(hinges, y), fq = phase_of(hinges, fq_y);
    const HingeLines lines = change_lines(hinges, f, fq, d);
    const Interval range = change_range(hinges, f, fq, y, fq_y, d);
    for (const double at : points_of(y, draws)) {
      for (const double change : points_of(d, draws)) {
        const Rational there = Rational(at) + Rational(change);
        if (there < Rational(fq_y.low) || there > Rational(fq_y.high)) continue;
        const Rational e = exact(hinges, there) - exact(hinges, Rational(at));
        if (lines.offset_high < infinity) {
          ASSERT_LE(e, Rational(lines.slope_high) * Rational(change) + Rational(lines.offset_high)) << n;
        }
        if (lines.offset_low > -infinity) {
          ASSERT_GE(e, Rational(lines.slope_low) * Rational(change) + Rational(lines.offset_low)) << n;
        }
        if (range.low > -infinity) {
          ASSERT_GE(e, Rational(range.low)) << n;
        }
        if (range.high < infinity) {
          ASSERT_LE(e, Rational(range.high)) << n;
        }
      }
    }
  }
}

TEST(BranchLines, ANeuronOnOnePieceIsEnclosedWithoutAGap) {
  const Hinges relu{0.0, infinity, 0.0}, leaky{0.0, infinity, 0.25}, clip{-1.0, 1.0, 0.0};
  for (const auto& [hinges, x, slope, offset] :
       {std::tuple{relu, Interval{1.0, 2.0}, 1.0, 0.0}, std::tuple{relu, Interval{-2.0, 0.0}, 0.0, 0.0},
        std::tuple{leaky, Interval{-2.0, -1.0}, 0.25, 0.0}, std::tuple{clip, Interval{-3.0, -1.0}, 0.0, -1.0},
        std::tuple{clip, Interval{-1.0, 1.0}, 1.0, 0.0}, std::tuple{clip, Interval{2.0, 3.0}, 0.0, 1.0}}) {
    const HingeLines lines = activation_lines(hinges, phase_of(hinges, x), x);
    EXPECT_EQ(lines.slope_high, slope);
    EXPECT_EQ(lines.slope_low, slope);
    EXPECT_EQ(lines.offset_high, offset);
    EXPECT_EQ(lines.offset_low, offset);
    EXPECT_EQ(lines.gap_high, 0.0);
    EXPECT_EQ(lines.gap_low, 0.0);
  }
}

TEST(BranchLines, AnOpenReluHasTheChordAboveAndTheCloserRayBelow) {
  const Hinges relu{0.0, infinity, 0.0};
  const HingeLines lines = activation_lines(relu, Phase::open, {-1.0, 3.0});
  EXPECT_EQ(lines.slope_high, 0.75);
  EXPECT_NEAR(lines.offset_high, 0.75, 1e-14);
  EXPECT_EQ(lines.slope_low, 1.0);
  EXPECT_EQ(lines.offset_low, 0.0);
  EXPECT_EQ(activation_lines(relu, Phase::open, {-3.0, 1.0}).slope_low, 0.0);
}

TEST(BranchLines, AnInfiniteIntervalGivesAnInfiniteOffsetNeverNaN) {
  for (const Hinges& hinges : {Hinges{0.0, infinity, 0.0}, Hinges{0.0, 6.0, 0.0}, Hinges{0.0, infinity, 0.5}}) {
    for (const Interval& x : {Interval{-infinity, infinity}, Interval{-1.0, infinity}, Interval{-infinity, 1.0}}) {
      const HingeLines lines = activation_lines(hinges, phase_of(hinges, x), x);
      EXPECT_FALSE(std::isnan(lines.offset_high));
      EXPECT_FALSE(std::isnan(lines.offset_low));
      EXPECT_EQ(lines.offset_high, infinity);
    }
  }
}

}  // namespace
}  // namespace quantbound::certify::detail
