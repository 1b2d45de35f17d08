#include "quantbound/quantize/quantize.hpp"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"

#include "../../../src/quantize/weight_loops.hpp"

namespace quantbound::quantize {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double denormal = std::numeric_limits<double>::denorm_min();

Configuration configuration(Quantizer quantizer, int bits, Granularity granularity = Granularity::tensor) {
  return {.quantizer = quantizer, .granularity = granularity, .bits = bits};
}

std::vector<double> quantized(std::vector<double> weights, const Configuration& c, std::size_t rows = 1) {
  return quantize_layer({std::move(weights), std::vector<double>(rows, 0.0)}, 0, c).weights;
}

std::vector<double> random_weights(std::size_t count, std::uint64_t seed, double scale = 1.0) {
  const core::RandomStream random(seed, "quantize-test");
  std::vector<double> weights(count);
  for (std::size_t i = 0; i < count; ++i) weights[i] = scale * random.normal(i);
  return weights;
}

/// docs/theory.md 9.2's reference, checks/bounds_reference.py `quant`, word for word.
double reference(double weight, double eta, int bits, Quantizer quantizer) {
  const double high = std::pow(2.0, bits - 1) - 1.0;
  const double q = quantizer == Quantizer::floor ? std::floor(weight / eta) : std::nearbyint(weight / eta);
  const double low = quantizer == Quantizer::floor ? -high - 1.0 : -high;
  return std::min(std::max(q, low), high) * eta;
}

TEST(Quantize, ThreeBitsByHand) {
  // Three bits: the largest level is 3, so eta = 3.6 / 3 = 1.2. Quotients -3, 0.5, 1.5, -0.5, 2.25, -1.75.
  const std::vector<double> weights{-3.6, 0.6, 1.8, -0.6, 2.7, -2.1};

  const auto round = quantized(weights, configuration(Quantizer::round, 3));
  const auto floor = quantized(weights, configuration(Quantizer::floor, 3));
  const auto truncate = quantized(weights, configuration(Quantizer::truncate, 3));

  const double eta = 3.6 / 3.0;
  EXPECT_THAT(round, ElementsAre(-3 * eta, 0.0, 2 * eta, 0.0, 2 * eta, -2 * eta));
  EXPECT_THAT(floor, ElementsAre(-3 * eta, 0.0, 1 * eta, -1 * eta, 2 * eta, -2 * eta));
  EXPECT_THAT(truncate, ElementsAre(-3 * eta, 0.0, 1 * eta, 0.0, 2 * eta, -1 * eta));
}

TEST(Quantize, TiesGoToEven) {
  // Two bits more than needed: eta = 7 / 7 = 1.
  EXPECT_THAT(quantized({7.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5}, configuration(Quantizer::round, 4)),
              ElementsAre(7.0, 0.0, 2.0, 2.0, 0.0, -2.0, -2.0));
}

TEST(Quantize, FloorAndRoundEqualTheReferenceOnRandomWeightsBitForBit) {
  for (const int bits : {2, 3, 5, 8, 12, 16}) {
    for (const Quantizer quantizer : {Quantizer::floor, Quantizer::round}) {
      const std::vector<double> weights = random_weights(1001, static_cast<std::uint64_t>(bits));
      double largest = 0.0;
      for (const double w : weights) largest = std::max(largest, std::abs(w));
      const double eta = largest / (std::pow(2.0, bits - 1) - 1.0);

      const std::vector<double> result = quantized(weights, configuration(quantizer, bits), 7);

      for (std::size_t i = 0; i < weights.size(); ++i) {
        ASSERT_EQ(result[i], reference(weights[i], eta, bits, quantizer)) << i;
      }
    }
  }
}

TEST(Quantize, ScalingByAPowerOfTwoScalesTheResultExactly) {
  const std::vector<double> weights = random_weights(300, 3);
  for (const Quantizer quantizer : {Quantizer::floor, Quantizer::round, Quantizer::truncate, Quantizer::stochastic}) {
    for (const Grid grid : {Grid::symmetric, Grid::affine}) {
      for (const StepRule rule : {StepRule::max, StepRule::mse}) {
        Configuration c = configuration(quantizer, 5, Granularity::channel);
        c.grid = grid;
        c.step_rule = rule;
        const std::vector<double> base = quantized(weights, c, 3);
        for (const int exponent : {-500, -100, 1, 100, 500}) {
          std::vector<double> scaled = weights;
          for (double& w : scaled) w = std::ldexp(w, exponent);

          const std::vector<double> result = quantized(scaled, c, 3);

          for (std::size_t i = 0; i < base.size(); ++i) ASSERT_EQ(result[i], std::ldexp(base[i], exponent));
        }
      }
    }
  }
}

TEST(Quantize, WeightsOnAPowerOfTwoGridArePreserved) {
  std::vector<double> weights;
  for (int k = -127; k <= 127; ++k) weights.push_back(k * 0x1p-7);
  for (const Quantizer quantizer : {Quantizer::floor, Quantizer::round, Quantizer::truncate, Quantizer::stochastic}) {
    EXPECT_EQ(quantized(weights, configuration(quantizer, 8)), weights);
  }
}

TEST(Quantize, ChannelGranularityGivesEveryRowItsOwnStep) {
  const auto grids = choose_grids(std::vector<double>{1.0, -2.0, 0.0, 0.0, 14.0, 7.0}, 3,
                                  configuration(Quantizer::round, 4, Granularity::channel));
  ASSERT_EQ(grids.size(), 3u);
  EXPECT_EQ(grids[0].step, 2.0 / 7.0);
  EXPECT_EQ(grids[1].step, 0.0);
  EXPECT_EQ(grids[2].step, 2.0);

  const auto tensor =
      choose_grids(std::vector<double>{1.0, -2.0, 0.0, 0.0, 14.0, 7.0}, 3, configuration(Quantizer::round, 4));
  for (const RowGrid& grid : tensor) EXPECT_EQ(grid.step, 2.0);
}

TEST(Quantize, AffineGridByHand) {
  // Two bits: s = (2 - -1) / 3 = 1, z = round(1 / 1) = 1, levels -1, 0, 1, 2.
  Configuration c = configuration(Quantizer::round, 2);
  c.grid = Grid::affine;
  const std::vector<double> weights{-1.0, 2.0, 0.4, 0.6, -0.4, -0.6};

  const auto grid = choose_grids(weights, 1, c).front();

  EXPECT_EQ(grid.step, 1.0);
  EXPECT_EQ(grid.zero_point, 1.0);
  EXPECT_THAT(quantized(weights, c), ElementsAre(-1.0, 2.0, 0.0, 1.0, 0.0, -1.0));
  c.quantizer = Quantizer::floor;
  EXPECT_THAT(quantized(weights, c), ElementsAre(-1.0, 2.0, 0.0, 0.0, -1.0, -1.0));
}

TEST(Quantize, ZeroStaysZeroOnEveryGridAndNoResultIsANegativeZero) {
  for (const Quantizer quantizer : {Quantizer::floor, Quantizer::round, Quantizer::truncate, Quantizer::stochastic}) {
    for (const Grid grid : {Grid::symmetric, Grid::affine}) {
      for (const StepRule rule : {StepRule::max, StepRule::mse, StepRule::fixed}) {
        Configuration c = configuration(quantizer, 3);
        c.grid = grid;
        c.step_rule = rule;
        c.fixed_step = 0.07;
        const std::vector<double> result = quantized({0.0, -0.0, 0.3, -0.9, 0.001, -denormal}, c);

        EXPECT_EQ(result[0], 0.0);
        EXPECT_EQ(result[1], 0.0);
        for (const double w : result) EXPECT_FALSE(w == 0.0 && std::signbit(w));
      }
    }
  }
}

TEST(Quantize, OneSidedAffineRangesIncludeZero) {
  Configuration c = configuration(Quantizer::round, 4);
  c.grid = Grid::affine;
  const auto positive = choose_grids(std::vector<double>{3.0, 5.0}, 1, c).front();
  const auto negative = choose_grids(std::vector<double>{-3.0, -5.0}, 1, c).front();
  EXPECT_EQ(positive.zero_point, 0.0);
  EXPECT_EQ(negative.zero_point, 15.0);
  EXPECT_EQ(positive.step, 5.0 / 15.0);
}

TEST(Quantize, FixedStepIsClippedToTheRangeOfTheBits) {
  Configuration c = configuration(Quantizer::round, 3);
  c.step_rule = StepRule::fixed;
  c.fixed_step = 0.25;
  EXPECT_THAT(quantized({10.0, -10.0, 0.3, -0.4}, c), ElementsAre(0.75, -0.75, 0.25, -0.5));
  c.quantizer = Quantizer::floor;
  EXPECT_THAT(quantized({10.0, -10.0, 0.3, -0.4}, c), ElementsAre(0.75, -1.0, 0.25, -0.5));
}

TEST(Quantize, AllZeroLayersStayZero) {
  for (const StepRule rule : {StepRule::max, StepRule::mse, StepRule::fixed}) {
    for (const Grid grid : {Grid::symmetric, Grid::affine}) {
      Configuration c = configuration(Quantizer::floor, 4, Granularity::channel);
      c.grid = grid;
      c.step_rule = rule;
      c.fixed_step = 1.0;
      EXPECT_THAT(quantized({0.0, -0.0, 0.0, 0.0}, c, 2), ElementsAre(0.0, 0.0, 0.0, 0.0));
    }
  }
}

TEST(Quantize, ExtremeMagnitudesStayFiniteAndWithinOneStep) {
  for (const double scale : {1e-321, 1e-310, 1e-300, 1e-30, 1.0, 1e30, 1e300}) {
    for (const Grid grid : {Grid::symmetric, Grid::affine}) {
      for (const Quantizer quantizer : {Quantizer::floor, Quantizer::round, Quantizer::truncate}) {
        Configuration c = configuration(quantizer, 8);
        c.grid = grid;
        std::vector<double> weights = random_weights(64, 11, 0.1);
        for (double& w : weights) w *= scale;
        const RowGrid row = choose_grids(weights, 1, c).front();

        const std::vector<double> result = quantized(weights, c);

        EXPECT_GT(row.step, 0.0);
        for (std::size_t i = 0; i < weights.size(); ++i) {
          ASSERT_TRUE(std::isfinite(result[i]));
          // A denormal step is itself rounded, so the outermost weights may be clipped by up to half a level each.
          const double slack = row.step < 1e-305 ? 130.0 * denormal : 1e-9 * row.step;
          ASSERT_LE(std::abs(result[i] - weights[i]), row.step + slack) << scale;
        }
      }
    }
  }
}

TEST(Quantize, ALoneDenormalIsRepresentedExactly) {
  EXPECT_THAT(quantized({denormal, -denormal, 0.0}, configuration(Quantizer::round, 8)),
              ElementsAre(denormal, -denormal, 0.0));
}

TEST(Quantize, LargestDoublesDoNotOverflowTheAffineRange) {
  Configuration c = configuration(Quantizer::round, 8);
  c.grid = Grid::affine;
  const double largest = 1e308;
  const auto grid = choose_grids(std::vector<double>{-largest, largest}, 1, c).front();
  EXPECT_TRUE(std::isfinite(grid.step));
  EXPECT_NEAR(grid.step / (largest / 255.0), 2.0, 1e-12);
}

TEST(Quantize, StochasticRoundsUpWithTheFractionAsProbability) {
  Configuration c = configuration(Quantizer::stochastic, 4);
  std::vector<double> weights(20001, 0.3);
  weights[0] = 7.0;  // eta = 1

  const std::vector<double> result = quantized(weights, c);

  double sum = 0.0;
  for (std::size_t i = 1; i < result.size(); ++i) {
    ASSERT_TRUE(result[i] == 0.0 || result[i] == 1.0);
    EXPECT_EQ(result[i] == 1.0, stochastic_uniform(c, 0, static_cast<Index>(i)) < 0.3);
    sum += result[i];
  }
  EXPECT_NEAR(sum / 20000.0, 0.3, 0.02);
}

TEST(Quantize, StochasticUniformsDependOnSeedLayerAndIndexOnly) {
  Configuration a = configuration(Quantizer::stochastic, 4), b = configuration(Quantizer::stochastic, 9);
  b.granularity = Granularity::channel;
  EXPECT_EQ(stochastic_uniform(a, 3, 17), stochastic_uniform(b, 3, 17));
  b.seed = 2;
  EXPECT_NE(stochastic_uniform(a, 3, 17), stochastic_uniform(b, 3, 17));
  EXPECT_NE(stochastic_uniform(a, 3, 17), stochastic_uniform(a, 4, 17));
  EXPECT_NE(stochastic_uniform(a, 3, 17), stochastic_uniform(a, 3, 18));
}

TEST(Quantize, MseSearchIsTheBestOfItsEightyCandidates) {
  for (const Grid grid : {Grid::symmetric, Grid::affine}) {
    for (const Quantizer quantizer : {Quantizer::round, Quantizer::floor}) {
      Configuration c = configuration(quantizer, 3);
      c.grid = grid;
      c.step_rule = StepRule::mse;
      std::vector<double> weights = random_weights(500, 5);
      weights[17] = 9.0;  // an outlier that a shrunken range gives up
      double low = 0.0, high = 0.0;
      for (const double w : weights) low = std::min(low, w), high = std::max(high, w);

      const auto error = [&](double step, double zero, double lowest, double highest) {
        double sum = 0.0;
        for (const double w : weights) {
          sum += std::pow(std::abs(quantize_value(w, {step, zero, lowest, highest}, quantizer, 0.0) - w), 2.4);
        }
        return sum;
      };
      double best = std::numeric_limits<double>::infinity(), best_step = 0.0;
      for (int i = 0; i < 80; ++i) {
        const double shrink = 1.0 - 0.01 * i;
        const bool affine = grid == Grid::affine;
        const double step =
            affine ? (high * shrink - low * shrink) / 7.0 : std::max(-low * shrink, high * shrink) / 3.0;
        const double zero = affine ? std::nearbyint(-low * shrink / step) : 0.0;
        const double lowest = affine ? 0.0 : quantizer == Quantizer::floor ? -4.0 : -3.0;
        const double e = error(step, zero, lowest, affine ? 7.0 : 3.0);
        if (e < best) best = e, best_step = step;
      }

      const RowGrid chosen = choose_grids(weights, 1, c).front();

      EXPECT_EQ(chosen.step, best_step);
      EXPECT_LT(chosen.step, grid == Grid::affine ? (high - low) / 7.0 : high / 3.0);
      EXPECT_EQ(error(chosen.step, chosen.zero_point, chosen.lowest, chosen.highest), best);
    }
  }
}

TEST(Quantize, PowerOfTwoPointFourIsThePowerFunction) {
  EXPECT_EQ(detail::power_2_4(0.0), 0.0);
  EXPECT_EQ(detail::power_2_4(1.0), 1.0);
  for (double x = 1e-60; x < 1e60; x *= 1.37) EXPECT_NEAR(detail::power_2_4(x) / std::pow(x, 2.4), 1.0, 2e-14) << x;
}

TEST(Quantize, MseSearchPerChannelEqualsTheSearchOfEachRow) {
  Configuration c = configuration(Quantizer::round, 4, Granularity::channel);
  c.step_rule = StepRule::mse;
  const std::vector<double> weights = random_weights(60, 8);

  const auto grids = choose_grids(weights, 3, c);

  for (std::size_t row = 0; row < 3; ++row) {
    const std::vector<double> alone(weights.begin() + static_cast<std::ptrdiff_t>(20 * row),
                                    weights.begin() + static_cast<std::ptrdiff_t>(20 * row + 20));
    EXPECT_EQ(grids[row].step, choose_grids(alone, 1, c).front().step);
  }
}

TEST(Quantize, BiasesAreKeptOrGetTheirOwnGrid) {
  const LayerParameters parameters{{1.0, 2.0, 3.0, 4.0}, {100.0, -33.0}};
  Configuration c = configuration(Quantizer::round, 4);
  EXPECT_EQ(quantize_layer(parameters, 0, c).bias, parameters.bias);

  c.bias_bits = 3;
  const double eta = 100.0 / 3.0;
  EXPECT_EQ(choose_bias_grid(parameters.bias, c).step, eta);
  EXPECT_THAT(quantize_layer(parameters, 0, c).bias, ElementsAre(3.0 * eta, -eta));
}

TEST(Quantize, LayersOfANetworkAreQuantizedOneByOne) {
  const std::vector<LayerParameters> layers{{random_weights(12, 1), random_weights(3, 2)},
                                            {random_weights(6, 3), random_weights(2, 4)}};
  Configuration c = configuration(Quantizer::stochastic, 3, Granularity::channel);
  c.bias_bits = 4;

  const auto result = quantize_layers(layers, c);

  ASSERT_EQ(result.size(), 2u);
  for (std::size_t l = 0; l < 2; ++l) {
    const LayerParameters alone = quantize_layer(layers[l], static_cast<Index>(l), c);
    EXPECT_EQ(result[l].weights, alone.weights);
    EXPECT_EQ(result[l].bias, alone.bias);
  }
}

TEST(Quantize, GridsChosenBeforeGiveTheSameLayer) {
  const LayerParameters layer{random_weights(3 * 700, 5), random_weights(3, 6)};
  for (const Quantizer quantizer : {Quantizer::floor, Quantizer::stochastic}) {
    for (const StepRule rule : {StepRule::max, StepRule::mse}) {
      for (const Granularity granularity : {Granularity::tensor, Granularity::channel}) {
        for (const int bias_bits : {0, 5}) {
          Configuration c = configuration(quantizer, 4, granularity);
          c.step_rule = rule;
          c.bias_bits = bias_bits;
          const LayerGrids grids = choose_grids(layer, c);

          const LayerParameters expected = quantize_layer(layer, 2, c), with_grids = quantize_layer(layer, 2, c, grids);
          std::vector<double> weights(layer.weights.size());
          quantize_weights(layer.weights, 2, c, grids.weights, weights);

          EXPECT_EQ(with_grids.weights, expected.weights);
          EXPECT_EQ(with_grids.bias, expected.bias);
          EXPECT_EQ(weights, expected.weights);
        }
      }
    }
  }
}

TEST(Quantize, EdgeLayersOfANetworkGetTheEdgeBits) {
  const std::vector<LayerParameters> layers(4, {random_weights(12, 1), random_weights(3, 2)});
  Configuration c = configuration(Quantizer::floor, 3);
  c.edge_bits = 8;

  const auto result = quantize_layers(layers, c);

  for (std::size_t l = 0; l < 4; ++l) {
    const int bits = l == 0 || l == 3 ? 8 : 3;
    EXPECT_EQ(result[l].weights, quantized(layers[l].weights, configuration(Quantizer::floor, bits), 3))
        << "layer " << l;
  }
}

TEST(QuantizeDeathTest, ALayerAloneRefusesTheConfigurationOfAWholeNetwork) {
  Configuration c = configuration(Quantizer::round, 3);
  c.edge_bits = 8;
  EXPECT_DEATH(quantize_layer({{1.0, 2.0}, {0.0}}, 0, c), "edge_bits == 0");
  EXPECT_DEATH(choose_grids(std::vector{Range{-1.0, 1.0}}, c), "edge_bits == 0");
}

TEST(Quantize, QuantizeValueAgreesWithQuantizeLayer) {
  const std::vector<double> weights = random_weights(200, 6);
  for (const Quantizer quantizer : {Quantizer::floor, Quantizer::round, Quantizer::truncate, Quantizer::stochastic}) {
    for (const Grid grid : {Grid::symmetric, Grid::affine}) {
      Configuration c = configuration(quantizer, 4, Granularity::channel);
      c.grid = grid;
      const auto grids = choose_grids(weights, 4, c);
      const auto result = quantize_layer({weights, std::vector<double>(4, 0.0)}, 5, c).weights;
      for (std::size_t i = 0; i < weights.size(); ++i) {
        ASSERT_EQ(result[i], quantize_value(weights[i], grids[i / 50], quantizer,
                                            stochastic_uniform(c, 5, static_cast<Index>(i))));
      }
    }
  }
}

TEST(Quantize, UnusableConfigurationsAreInputErrors) {
  const std::vector<double> weights{1.0};
  for (const int bits : {-1, 0, 1, 17}) {
    EXPECT_THROW(choose_grids(weights, 1, configuration(Quantizer::round, bits)), core::InputError);
  }
  Configuration c = configuration(Quantizer::round, 8);
  c.bias_bits = 1;
  EXPECT_THROW(choose_grids(weights, 1, c), core::InputError);
  c.bias_bits = 0;
  c.step_rule = StepRule::fixed;
  for (const double step : {0.0, -1.0, std::numeric_limits<double>::infinity(), std::nan("")}) {
    c.fixed_step = step;
    EXPECT_THROW(choose_grids(weights, 1, c), core::InputError);
  }
}

TEST(Quantize, AQuantizedWeightBeyondTheDoublesIsAnErrorNotAnInfinity) {
  Configuration c = configuration(Quantizer::floor, 2);
  const double largest = std::numeric_limits<double>::max();
  c.step_rule = StepRule::fixed;
  c.fixed_step = 0.6 * largest;  // floor(-1 / 0.6) = -2, and twice the step is beyond the doubles
  EXPECT_THROW(quantized({-largest}, c), core::NumericalError);
}

}  // namespace
}  // namespace quantbound::quantize
