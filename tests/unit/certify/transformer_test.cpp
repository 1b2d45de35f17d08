#include "../../../src/certify/transformer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <gtest/gtest.h>
#include <omp.h>

#include "../../support/network_builder.hpp"

namespace quantbound::certify::detail {
namespace {

using core::Interval;
using network::Activation;
using network::ActivationKind;
using quantbound::testing::Draws;

Interval random_interval(Draws& draws) {
  const double scale = std::pow(10.0, draws.uniform(-3.0, 1.0)), a = scale * draws.normal(), b = scale * draws.normal();
  return draws.chance(0.1) ? Interval{a, a} : Interval{std::min(a, b), std::max(a, b)};
}

/// Three intervals that some (y, y') satisfies; the one for d may cut either end of the other two.
Triple random_triple(Draws& draws) {
  Triple in{random_interval(draws), random_interval(draws), {}};
  const double y = draws.uniform(in.f.low, in.f.high), yq = draws.uniform(in.fq.low, in.fq.high);
  const double below = std::abs(draws.normal()) * draws.uniform(), above = std::abs(draws.normal()) * draws.uniform();
  in.difference = {yq - y - below, yq - y + above};
  return in;
}

/// The range of sigma(y') - sigma(y) by brute force: the extreme y' at many y, among them every place where a slope may
/// change.
Interval searched(const Activation& sigma, const Triple& in) {
  const double low = std::max(in.f.low, in.fq.low - in.difference.high),
               high = std::min(in.f.high, in.fq.high - in.difference.low);
  std::vector<double> places;
  for (int k = 0; k <= 200; ++k) places.push_back(low + (high - low) * k / 200.0);
  for (const double kink : {0.0, sigma.alpha, sigma.beta, in.fq.high, in.fq.low}) {
    for (const double shift : {0.0, in.difference.low, in.difference.high}) places.push_back(kink - shift);
  }
  Interval range{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (const double place : places) {
    const double y = std::min(std::max(place, low), high);
    range.high = std::max(range.high, sigma(std::min(in.fq.high, y + in.difference.high)) - sigma(y));
    range.low = std::min(range.low, sigma(std::max(in.fq.low, y + in.difference.low)) - sigma(y));
  }
  return range;
}

const std::vector<Activation> piecewise{{ActivationKind::relu, 0.0, 0.0},       {ActivationKind::clip, 0.0, 6.0},
                                        {ActivationKind::clip, -0.5, 0.75},     {ActivationKind::leaky_relu, 0.1, 0.0},
                                        {ActivationKind::leaky_relu, 0.0, 0.0}, {ActivationKind::leaky_relu, 1.5, 0.0}};

TEST(Transformer, IsTheRangeOfTheDifferenceForPiecewiseLinearActivations) {
  Draws draws(1, "transformer");
  for (int k = 0; k < 4000; ++k) {
    const Activation& sigma = piecewise[static_cast<std::size_t>(k) % piecewise.size()];
    const Triple in = random_triple(draws);
    const Interval found = searched(sigma, in), proved = activate(sigma, in).difference;
    const double scale = 1e-14 * (1.0 + std::abs(found.low) + std::abs(found.high) + std::abs(in.f.low) +
                                  std::abs(in.f.high) + std::abs(in.fq.low) + std::abs(in.fq.high));
    ASSERT_NEAR(proved.low, found.low, scale) << network::to_string(sigma.kind) << ' ' << sigma.alpha << " case " << k;
    ASSERT_NEAR(proved.high, found.high, scale)
        << network::to_string(sigma.kind) << ' ' << sigma.alpha << " case " << k;
  }
}

TEST(Transformer, HoldsEveryDifferenceOfEveryActivation) {
  Draws draws(2, "transformer");
  std::vector<Activation> all = piecewise;
  all.insert(all.end(), {{ActivationKind::sigmoid, 0.0, 0.0},
                         {ActivationKind::tanh, 0.0, 0.0},
                         {ActivationKind::hard_swish, 0.0, 0.0},
                         {ActivationKind::hard_sigmoid, 0.2, 0.5}});
  for (int k = 0; k < 20000; ++k) {
    const Activation& sigma = all[static_cast<std::size_t>(k) % all.size()];
    const Triple in = random_triple(draws);
    const Triple out = activate(sigma, in);
    for (int point = 0; point < 20; ++point) {
      const double y = draws.uniform(in.f.low, in.f.high), yq = draws.uniform(in.fq.low, in.fq.high);
      if (yq - y < in.difference.low || yq - y > in.difference.high) continue;
      const double tolerance = 1e-15 * (1.0 + std::abs(sigma(y)) + std::abs(sigma(yq)));  // of evaluating here
      ASSERT_GE(sigma(yq) - sigma(y), out.difference.low - tolerance)
          << network::to_string(sigma.kind) << " case " << k;
      ASSERT_LE(sigma(yq) - sigma(y), out.difference.high + tolerance)
          << network::to_string(sigma.kind) << " case " << k;
    }
  }
}

TEST(Transformer, OfABoxIsThatOfItsElementsOnAnyNumberOfThreads) {
  Draws draws(6, "transformer");
  std::vector<Activation> all = piecewise;
  all.push_back({ActivationKind::sigmoid, 0.0, 0.0});
  const int threads_before = omp_get_max_threads();
  for (const Activation& sigma : all) {
    PairBox box;
    std::vector<Triple> expected;
    for (int k = 0; k < 5003; ++k) {
      const Triple in = random_triple(draws);
      expected.push_back(activate(sigma, in));
      for (const auto& [numbers, interval] :
           {std::pair(&box.f, in.f), std::pair(&box.fq, in.fq), std::pair(&box.difference, in.difference)}) {
        numbers->low.push_back(interval.low);
        numbers->high.push_back(interval.high);
      }
    }
    omp_set_num_threads(3);
    box = activate(sigma, std::nullopt, std::move(box));
    omp_set_num_threads(threads_before);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(box.f.low[i], expected[i].f.low) << i;
      ASSERT_EQ(box.f.high[i], expected[i].f.high) << i;
      ASSERT_EQ(box.fq.low[i], expected[i].fq.low) << i;
      ASSERT_EQ(box.fq.high[i], expected[i].fq.high) << i;
      ASSERT_EQ(box.difference.low[i], expected[i].difference.low) << i;
      ASSERT_EQ(box.difference.high[i], expected[i].difference.high) << i;
    }
  }
}

TEST(Transformer, NeverMakesADifferenceOfAContractionLarger) {
  Draws draws(3, "transformer");
  for (int k = 0; k < 4000; ++k) {
    const Triple in = random_triple(draws);
    for (const Activation& sigma : {piecewise[0], piecewise[1], piecewise[2], piecewise[3]}) {
      const Interval d = activate(sigma, in).difference;
      EXPECT_GE(d.low, std::min(in.difference.low, 0.0));
      EXPECT_LE(d.high, std::max(in.difference.high, 0.0));
    }
  }
  const Interval zero = activate(piecewise[0], {{-1.0, 2.0}, {-1.0, 2.0}, {0.0, 0.0}}).difference;
  EXPECT_EQ(zero.low, 0.0);
  EXPECT_EQ(zero.high, 0.0);
  const Interval active = activate(piecewise[0], {{1.0, 2.0}, {1.0, 2.0}, {1e-30, 2e-30}}).difference;
  EXPECT_EQ(active.low, 1e-30);
  EXPECT_EQ(active.high, 2e-30);
}

/// f keeps its activation, f_q rounds and clamps.
TEST(Transformer, OnAGridHoldsEveryDifference) {
  Draws draws(4, "transformer");
  for (int k = 0; k < 2000; ++k) {
    const Activation& sigma = piecewise[k % 2 == 0 ? 0 : 3];
    const ActivationGrid grid{0.25, 0.0, 0.25 * static_cast<double>(draws.integer(1, 15))};
    const Triple in = random_triple(draws);
    const Interval proved = activate_on_grid(sigma, grid, in).difference;
    for (int point = 0; point < 20; ++point) {
      const double y = draws.uniform(in.f.low, in.f.high), yq = draws.uniform(in.fq.low, in.fq.high);
      if (yq - y < in.difference.low || yq - y > in.difference.high) continue;
      const double d = std::clamp(std::round(yq / grid.step) * grid.step, grid.low, grid.high) - sigma(y);
      ASSERT_GE(d, proved.low - 1e-15);
      ASSERT_LE(d, proved.high + 1e-15);
    }
  }
}

}  // namespace
}  // namespace quantbound::certify::detail
