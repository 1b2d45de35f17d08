#include "../../../src/certify/star_lines.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "quantbound/core/rounding.hpp"

#include "../../support/network_builder.hpp"

namespace quantbound::certify::linear {
namespace {

using network::Activation;
using network::ActivationKind;
using Wide = long double;

/// The function with 11 bits more than what is tested.
Wide wide(const Activation& activation, double x) {
  const Wide alpha = activation.alpha, beta = activation.beta, w = x;
  switch (activation.kind) {
    case ActivationKind::relu:
      return std::max(w, 0.0L);
    case ActivationKind::leaky_relu:
      return w < 0.0L ? alpha * w : w;
    case ActivationKind::clip:
      return std::clamp(w, alpha, beta);
    case ActivationKind::hard_sigmoid:
      return std::clamp(alpha * w + beta, 0.0L, 1.0L);
    case ActivationKind::sigmoid:
      return 1.0L / (1.0L + std::exp(-w));
    case ActivationKind::tanh:
      return std::tanh(w);
    default:
      return w;
  }
}

const std::vector<Activation> functions = {{ActivationKind::relu},
                                           {ActivationKind::leaky_relu, 0.1},
                                           {ActivationKind::leaky_relu, -0.3},
                                           {ActivationKind::leaky_relu, 1.7},
                                           {ActivationKind::clip, 0.0, 6.0},
                                           {ActivationKind::clip, -1.0, 1.0},
                                           {ActivationKind::sigmoid},
                                           {ActivationKind::hard_sigmoid, 0.2, 0.5},
                                           {ActivationKind::tanh},
                                           {ActivationKind::hard_sigmoid, 1.0 / 6.0, 0.5}};

Interval draw_interval(testing::Draws& draws) {
  const double scale = std::pow(10.0, draws.uniform(-6.0, 2.5));
  double low = scale * draws.normal(), high = low + scale * std::abs(draws.normal());
  if (draws.chance(0.1)) low = 0.0;
  if (draws.chance(0.05)) high = std::nextafter(low, 1e300);
  return {std::min(low, high), std::max(low, high)};
}

std::vector<double> points_of(Interval limits, testing::Draws& draws) {
  std::vector<double> points = {limits.low, limits.high};
  for (const double special : {0.0, 6.0, -1.0, 1.0, -2.5, 2.5, 3.0, -3.0}) {
    if (limits.low <= special && special <= limits.high) points.push_back(special);
  }
  for (int i = 0; i < 40; ++i) {
    points.push_back(std::clamp(limits.low + draws.uniform() * (limits.high - limits.low), limits.low, limits.high));
  }
  return points;
}

TEST(StarLines, LinesAreOverAndUnderTheFunction) {
  testing::Draws draws(1, "star lines");
  for (const Activation& f : functions) {
    for (int trial = 0; trial < 2000; ++trial) {
      const Interval limits = draw_interval(draws);
      const Lines lines = activation_lines(f, limits);
      for (const double x : points_of(limits, draws)) {
        const Wide y = wide(f, x), error = 1e-18L * std::abs(y);  // of `wide` itself
        for (const Line& line : lines.above) {
          const Wide at = static_cast<Wide>(line.slope) * x + line.offset;
          ASSERT_GE(at, y - error - 1e-19L * std::abs(line.offset))
              << to_string(f.kind) << ' ' << x << " in " << limits.low << ' ' << limits.high;
        }
        for (const Line& line : lines.below) {
          const Wide at = static_cast<Wide>(line.slope) * x + line.offset;
          ASSERT_LE(at, y + error + 1e-19L * std::abs(line.offset))
              << to_string(f.kind) << ' ' << x << " in " << limits.low << ' ' << limits.high;
        }
      }
    }
  }
}

TEST(StarLines, ReluHasTheTriangle) {
  const Lines lines = activation_lines({ActivationKind::relu}, {-1.0, 3.0});
  ASSERT_EQ(lines.above.size(), 1u);
  EXPECT_NEAR(lines.above[0].slope, 0.75, 1e-15);
  EXPECT_NEAR(lines.above[0].offset, 0.75, 1e-15);
  ASSERT_EQ(lines.below.size(), 1u);
  EXPECT_EQ(lines.below[0].slope, 1.0);
  EXPECT_EQ(lines.below[0].offset, 0.0);
}

TEST(StarLines, TouchTheFunction) {
  // A line that does not come near the function anywhere would be sound and useless.
  testing::Draws draws(2, "star lines");
  for (const Activation& f : functions) {
    for (int trial = 0; trial < 300; ++trial) {
      const double low = draws.uniform(-4.0, 3.0), high = low + draws.uniform(0.1, 4.0);
      const Lines lines = activation_lines(f, {low, high});
      for (const Line& line : lines.above) {
        double gap = 1e300;
        for (int i = 0; i <= 2000; ++i) {
          const double x = low + (high - low) * i / 2000.0;
          gap = std::min(gap, line.slope * x + line.offset - f(x));
        }
        EXPECT_LT(gap, 1e-2) << to_string(f.kind) << ' ' << low << ' ' << high;
      }
    }
  }
}

TEST(StarLines, SinglePieceIsTheFunction) {
  testing::Draws draws(3, "star lines");
  for (const Activation& f : functions) {
    int found = 0;
    for (int trial = 0; trial < 500; ++trial) {
      const Interval limits = draw_interval(draws);
      const auto piece = single_piece(f, limits);
      if (!piece) continue;
      ++found;
      for (const double x : points_of(limits, draws)) {
        const Wide y = wide(f, x), at = static_cast<Wide>(piece->slope) * x + piece->offset;
        ASSERT_LE(std::abs(at - y), 1e-18L * (1.0L + std::abs(y)));
      }
    }
    const bool smooth = f.kind == ActivationKind::sigmoid || f.kind == ActivationKind::tanh;
    EXPECT_EQ(found > 0, !smooth) << to_string(f.kind);
  }
}

TEST(StarLines, SlopesAndTheirLinesHoldForPairsOfPoints) {
  testing::Draws draws(4, "star lines");
  for (const Activation& f : functions) {
    for (int trial = 0; trial < 1000; ++trial) {
      const Interval limits = draw_interval(draws);
      const auto slopes = slope_range(f, limits);
      ASSERT_TRUE(slopes.has_value());
      for (int i = 0; i < 20; ++i) {
        const double p = points_of(limits, draws)[2 + static_cast<std::size_t>(i)], q = points_of(limits, draws).back();
        const Wide d = static_cast<Wide>(q) - p, g = wide(f, q) - wide(f, p);
        const Wide error = 1e-18L * (std::abs(wide(f, q)) + std::abs(wide(f, p)));
        const Wide a = slopes->low * d, b = slopes->high * d;
        ASSERT_GE(g, std::min(a, b) - error) << to_string(f.kind);
        ASSERT_LE(g, std::max(a, b) + error) << to_string(f.kind);
        const auto rounded = static_cast<double>(d);
        const double around = std::abs(rounded) * draws.uniform(1.0, 2.0);
        const Interval differences{std::min(core::next_down(rounded), -around),
                                   std::max(core::next_up(rounded), draws.chance(0.5) ? around : 0.0)};
        const Lines lines = slope_lines(*slopes, differences);
        for (const Line& line : lines.above)
          ASSERT_GE(static_cast<Wide>(line.slope) * d + line.offset, g - error - 1e-19L * std::abs(d));
        for (const Line& line : lines.below)
          ASSERT_LE(static_cast<Wide>(line.slope) * d + line.offset, g + error + 1e-19L * std::abs(d));
      }
    }
  }
}

TEST(StarLines, HardSwishHasNone) {
  const Activation f{ActivationKind::hard_swish};
  EXPECT_TRUE(activation_lines(f, {-1.0, 1.0}).above.empty());
  EXPECT_FALSE(single_piece(f, {-1.0, 1.0}).has_value());
  EXPECT_FALSE(slope_range(f, {-1.0, 1.0}).has_value());
}

}  // namespace
}  // namespace quantbound::certify::linear
