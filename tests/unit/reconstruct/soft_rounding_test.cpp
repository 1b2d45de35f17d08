#include "quantbound/reconstruct/soft_rounding.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/core/error.hpp"

#include "../../../src/reconstruct/soft_rounding_loops.hpp"

namespace quantbound::reconstruct {
namespace {

using quantize::Configuration;
using quantize::Granularity;
using quantize::Grid;
using quantize::RowGrid;

std::vector<double> normal_numbers(std::size_t count, unsigned seed, double scale = 0.1) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> distribution(0.0, scale);
  std::vector<double> numbers(count);
  for (double& number : numbers) number = distribution(engine);
  return numbers;
}

std::vector<float> normal_floats(std::size_t count, unsigned seed, double scale) {
  const std::vector<double> numbers = normal_numbers(count, seed, scale);
  return {numbers.begin(), numbers.end()};
}

/// Symmetric and affine, per tensor and per channel; with mse some weights are beyond the grid.
std::vector<Configuration> configurations() {
  std::vector<Configuration> result;
  for (const Grid grid : {Grid::symmetric, Grid::affine})
    for (const Granularity granularity : {Granularity::tensor, Granularity::channel})
      for (const quantize::StepRule rule : {quantize::StepRule::max, quantize::StepRule::mse})
        for (const int bits : {2, 4, 8})
          result.push_back({.granularity = granularity, .bits = bits, .grid = grid, .step_rule = rule});
  return result;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

TEST(SoftRounding, BeginsAtTheWeightsAndRoundsAsQuantizeDoes) {
  std::vector<double> weights = normal_numbers(7 * 45, 1);
  std::fill_n(weights.begin() + 2 * 45, 45, 0.0);  // a row whose grid has step 0
  for (const Configuration& configuration : configurations()) {
    const std::vector<RowGrid> grids = quantize::choose_grids(weights, 7, configuration);
    const SoftRounding soft(weights, grids, {});
    const std::vector<double> rounded = soft.rounded();
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const RowGrid& grid = grids[i / 45];
      const double low = (grid.lowest - grid.zero_point) * grid.step;
      const double high = (grid.highest - grid.zero_point) * grid.step;
      EXPECT_NEAR(soft.weights()[i], std::clamp(weights[i], low, high), 2e-6 * grid.step + 1e-7 * std::abs(weights[i]));
      EXPECT_EQ(rounded[i], quantize::quantize_value(weights[i], grid, quantize::Quantizer::round, 0.0))
          << quantize::label(configuration) << " weight " << i;
      EXPECT_FALSE(std::signbit(rounded[i]) && rounded[i] == 0.0);
    }
  }
}

TEST(SoftRounding, EveryRoundedWeightIsOneOfItsTwoLevels) {
  const std::vector<double> weights = normal_numbers(5 * 40, 2);
  for (const Configuration& configuration : configurations()) {
    const std::vector<RowGrid> grids = quantize::choose_grids(weights, 5, configuration);
    SoftRounding soft(weights, grids, {.iterations = 3000, .learning_rate = 0.05});
    // A gradient larger than any regularizer turns every free weight round.
    std::vector<float> push(weights.size());
    const std::vector<double> nearest = soft.rounded();
    for (std::size_t i = 0; i < push.size(); ++i) push[i] = nearest[i] > weights[i] ? 1e3F : -1e3F;
    for (int i = 0; i < 400; ++i) soft.update(push);
    const std::vector<double> rounded = soft.rounded();
    Index turned = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const RowGrid& grid = grids[i / 40];
      const double quotient = weights[i] / grid.step, whole = std::nearbyint(quotient);
      const bool on_level = std::abs(quotient - whole) < 1e-6;
      const double below = on_level ? whole : std::floor(quotient);
      const double up = push[i] > 0.0F || on_level ? 0.0 : 1.0;
      const double level = std::clamp(below + up, grid.lowest - grid.zero_point, grid.highest - grid.zero_point);
      EXPECT_EQ(rounded[i], level * grid.step) << quantize::label(configuration) << " weight " << i;
      turned += rounded[i] != nearest[i] ? 1 : 0;
    }
    EXPECT_EQ(turned, soft.free_weights()) << quantize::label(configuration);
    EXPECT_EQ(soft.fraction_settled(), 1.0);
  }
}

TEST(SoftRounding, WithoutALossTheRegularizerSettlesAlmostAllWeights) {
  const std::vector<double> weights = normal_numbers(60 * 100, 3);
  const std::vector<RowGrid> grids = quantize::choose_grids(
      weights, 60, Configuration{.granularity = Granularity::channel, .bits = 4, .grid = Grid::affine});
  const SoftRoundingOptions options;
  SoftRounding soft(weights, grids, options);
  const std::vector<float> nothing(weights.size());
  const std::vector<float> first(soft.weights().begin(), soft.weights().end());
  const std::vector<double> nearest = soft.rounded();
  while (soft.iteration() < options.iterations / 5) soft.update(nothing);
  EXPECT_TRUE(same_bits(soft.weights(), first)) << "no regularizer during the warm-up";
  EXPECT_LT(soft.fraction_settled(), 0.01);
  while (soft.iteration() < options.iterations) soft.update(nothing);
  EXPECT_GT(soft.fraction_settled(), 0.999);
  EXPECT_EQ(soft.rounded(), nearest) << "nothing pulls a weight across the middle";
}

TEST(SoftRounding, BetaFallsLinearlyAfterTheWarmUp) {
  const SoftRoundingOptions options{.iterations = 1000};
  EXPECT_EQ(annealed_beta(0, options), 0.0);
  EXPECT_EQ(annealed_beta(199, options), 0.0);
  EXPECT_DOUBLE_EQ(annealed_beta(200, options), 20.0);
  EXPECT_DOUBLE_EQ(annealed_beta(600, options), 11.0);
  EXPECT_DOUBLE_EQ(annealed_beta(1000, options), 2.0);
  EXPECT_EQ(annealed_beta(5000, options), 2.0);
  EXPECT_DOUBLE_EQ(annealed_beta(0, {.iterations = 10, .warm_up = 0.0}), 20.0);
}

TEST(SoftRounding, RegularizerSlopeIsTheDerivativeOfTheRegularizer) {
  for (const double beta : {2.0, 3.5, 9.0, 20.0})
    for (const double variable : {-2.2, -1.0, -0.3, 0.2, 1.4, 2.3}) {
      const auto value = [&](double v) {
        return 1.0 - std::pow(std::abs(2.0 * detail::rectified_sigmoid(v) - 1.0), beta);
      };
      const double h = 1e-5, difference = (value(variable + h) - value(variable - h)) / (2.0 * h);
      const double slope = detail::regularizer_slope(detail::rectified_sigmoid(variable), beta) *
                           detail::rectified_sigmoid_slope(variable);
      EXPECT_NEAR(slope, difference, 1e-7 * (1.0 + std::abs(difference))) << beta << ' ' << variable;
    }
}

TEST(SoftRounding, RegularizerIsThatOfItsSoftWeights) {
  const std::vector<double> weights = normal_numbers(200, 4);
  const std::vector<RowGrid> grids = quantize::choose_grids(weights, 4, Configuration{.bits = 3});
  SoftRounding soft(weights, grids, {.iterations = 100, .warm_up = 0.0, .regularization = 0.5});
  double sum = 0.0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double quotient = weights[i] / grids[i / 50].step, rest = quotient - std::floor(quotient);
    sum += 1.0 - std::pow(std::abs(2.0 * rest - 1.0), 20.0);
  }
  EXPECT_NEAR(soft.regularizer(), 0.5 * sum, 1e-4 * sum);
  const SoftRounding warm(weights, grids, {.iterations = 100});
  EXPECT_EQ(warm.regularizer(), 0.0);
}

TEST(SoftRounding, GoesOnFromItsStateBitForBit) {
  const std::vector<double> weights = normal_numbers(3 * 333, 5);
  const std::vector<RowGrid> grids = quantize::choose_grids(weights, 3, Configuration{.bits = 4});
  const SoftRoundingOptions options{.iterations = 60};
  SoftRounding whole(weights, grids, options), stopped(weights, grids, options);
  core::Bytes state;
  for (unsigned i = 0; i < 60; ++i) {
    if (i == 25) state = whole.state();
    whole.update(normal_floats(weights.size(), 100 + i, 0.01));
  }
  stopped.restore(state);
  EXPECT_EQ(stopped.iteration(), 25);
  for (unsigned i = 25; i < 60; ++i) stopped.update(normal_floats(weights.size(), 100 + i, 0.01));
  EXPECT_TRUE(same_bits(whole.weights(), stopped.weights()));
  EXPECT_EQ(whole.state(), stopped.state());

  SoftRounding other{std::span<const double>(weights).first(333), std::span<const RowGrid>(grids).first(1), options};
  EXPECT_THROW(other.restore(state), core::Error);
  state.pop_back();
  EXPECT_THROW(stopped.restore(state), core::Error);
}

TEST(SoftRounding, BitsDoNotDependOnThreads) {
  const std::vector<double> weights = normal_numbers(11 * 2000, 6);
  const std::vector<RowGrid> grids = quantize::choose_grids(weights, 11, Configuration{.bits = 4});
  const int threads = omp_get_max_threads();
  std::vector<core::Bytes> states;
  for (const int count : {1, 3}) {
    omp_set_num_threads(count);
    SoftRounding soft(weights, grids, {.iterations = 10});
    for (unsigned i = 0; i < 10; ++i) soft.update(normal_floats(weights.size(), 200 + i, 0.01));
    states.push_back(soft.state());
  }
  omp_set_num_threads(threads);
  EXPECT_EQ(states[0], states[1]);
}

TEST(SoftRounding, RefusesStepsBeyondFloatsAndReportsDivergence) {
  const std::vector<double> weights{1e-50, -2e-50};
  const std::vector<RowGrid> grids = quantize::choose_grids(weights, 1, Configuration{.bits = 4});
  EXPECT_THROW(SoftRounding(weights, grids, {}), core::NumericalError);

  const std::vector<double> usual{0.3, -0.7};
  SoftRounding soft(usual, quantize::choose_grids(usual, 1, Configuration{.bits = 4}), {});
  soft.update(std::vector<float>(2, std::nanf("")));
  EXPECT_THROW(soft.rounded(), core::NumericalError);
}

/// Soft values and variables of one step with every instruction set.
struct OneStep {
  std::vector<float> variable, first, second, soft;
};

struct Problem {
  std::vector<float> gradient, base, step, variable, first, second;
};

Problem random_problem(std::size_t count) {
  Problem problem{normal_floats(count, 10, 0.1), std::vector<float>(count),      std::vector<float>(count, 0.02F),
                  normal_floats(count, 11, 1.5), normal_floats(count, 12, 1e-4), normal_floats(count, 13, 1e-4)};
  for (std::size_t i = 0; i < count; ++i) {
    problem.base[i] = static_cast<float>(static_cast<int>(i % 31) - 15);
    problem.second[i] = problem.second[i] * problem.second[i];
    if (i % 5 == 0) problem.gradient[i] *= 1e-4F;  // where the regularizer counts
  }
  return problem;
}

OneStep step_with(const detail::InstructionSet& set, const Problem& problem, const detail::StepRates& rates) {
  OneStep result{problem.variable, problem.first, problem.second, std::vector<float>(problem.base.size())};
  set.step({problem.gradient.data(), problem.base.data(), problem.step.data(), result.variable.data(),
            result.first.data(), result.second.data(), result.soft.data()},
           0, std::ssize(problem.base), rates);
  return result;
}

class SoftRoundingLoops : public testing::TestWithParam<detail::StepRates> {};

TEST_P(SoftRoundingLoops, StepIsThatOfTheReference) {
  const Problem problem = random_problem(5001);
  const detail::StepRates& rates = GetParam();
  const OneStep result = step_with(detail::instruction_sets().front(), problem, rates);
  for (std::size_t i = 0; i < problem.base.size(); ++i) {
    const auto wide = [](float value) { return static_cast<double>(value); };
    // A clipped h has no gradient: next to the clip float and double may differ on which side they are.
    if (std::abs(std::abs(wide(problem.variable[i])) - std::log(11.0)) < 1e-5) continue;
    const detail::WeightState expected =
        detail::reference_step({wide(problem.variable[i]), wide(problem.first[i]), wide(problem.second[i])},
                               wide(problem.gradient[i]), wide(problem.step[i]), rates);
    // The two parts of the gradient may cancel: the error is relative to their sizes.
    const double slope = detail::rectified_sigmoid_slope(wide(problem.variable[i]));
    const double h = detail::rectified_sigmoid(wide(problem.variable[i]));
    const double size = slope * (std::abs(wide(problem.gradient[i]) * wide(problem.step[i])) +
                                 rates.regularization * std::abs(detail::regularizer_slope(h, rates.beta)));
    const double error = 0.1 * size * (1e-5 + 2e-6 / std::max(1e-6, std::abs(2.0 * h - 1.0)));
    EXPECT_NEAR(wide(result.first[i]), expected.first_moment, error + 2e-7 * std::abs(wide(problem.first[i])));
    EXPECT_NEAR(wide(result.second[i]), expected.second_moment, error * 0.1 * size + 2e-7 * wide(problem.second[i]));
    const double moved = std::abs(expected.variable - wide(problem.variable[i]));
    EXPECT_NEAR(wide(result.variable[i]), expected.variable,
                1e-4 * moved + 3e-7 + rates.learning_rate * error / (std::sqrt(expected.second_moment) + 1e-9));
    const double soft =
        wide(problem.step[i]) * (wide(problem.base[i]) + detail::rectified_sigmoid(wide(result.variable[i])));
    EXPECT_NEAR(wide(result.soft[i]), soft, wide(problem.step[i]) * (3e-7 + 2.5e-7 * std::abs(wide(problem.base[i]))));
  }
}

TEST_P(SoftRoundingLoops, InstructionSetsAgree) {
  const Problem problem = random_problem(1003);
  const OneStep expected = step_with(detail::instruction_sets().back(), problem, GetParam());
  for (const detail::InstructionSet& set : detail::instruction_sets()) {
    const OneStep result = step_with(set, problem, GetParam());
    EXPECT_TRUE(same_bits(result.variable, expected.variable)) << set.name;
    EXPECT_TRUE(same_bits(result.first, expected.first)) << set.name;
    EXPECT_TRUE(same_bits(result.second, expected.second)) << set.name;
    EXPECT_TRUE(same_bits(result.soft, expected.soft)) << set.name;
    OneStep softened = result;
    std::ranges::fill(softened.soft, -1.0F);
    set.soften({.base = problem.base.data(),
                .step = problem.step.data(),
                .variable = softened.variable.data(),
                .soft = softened.soft.data()},
               0, std::ssize(softened.soft));
    EXPECT_TRUE(same_bits(softened.soft, result.soft)) << set.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Rates, SoftRoundingLoops,
                         testing::Values(detail::StepRates{1e-3, 0.0, 2.0, 1}, detail::StepRates{1e-3, 0.01, 20.0, 7},
                                         detail::StepRates{1e-3, 0.1, 2.0, 20000},
                                         detail::StepRates{1e-2, 1.0, 5.5, 300}));

TEST(SoftRoundingLoops, RectifiedSigmoidIsAccurateToThreeTenMillionths) {
  std::vector<float> variable, base, step, soft;
  for (int i = -30000; i <= 30000; ++i) variable.push_back(static_cast<float>(i) * 1e-3F);
  base.assign(variable.size(), 0.0F);
  step.assign(variable.size(), 1.0F);
  soft.assign(variable.size(), -1.0F);
  detail::instruction_sets().front().soften(
      {.base = base.data(), .step = step.data(), .variable = variable.data(), .soft = soft.data()}, 0,
      std::ssize(soft));
  double worst = 0.0;
  for (std::size_t i = 0; i < soft.size(); ++i) {
    const double error =
        std::abs(static_cast<double>(soft[i]) - detail::rectified_sigmoid(static_cast<double>(variable[i])));
    worst = std::max(worst, error);
  }
  EXPECT_LT(worst, 3e-7);
  RecordProperty("worst_error", std::to_string(worst * 1e9));
}

/// Without a loss the first step moves by the learning rate whatever the gradient's size: the first moment shows it.
TEST(SoftRoundingLoops, PowerOfTheRegularizerIsAccurateToATenThousandth) {
  double worst = 0.0;
  for (const double beta : {2.0, 4.0, 11.0, 20.0}) {
    std::vector<float> variable;
    for (int i = -2390; i <= 2390; ++i)
      if (std::abs(i) >= 20) variable.push_back(static_cast<float>(i) * 1e-3F);
    const std::size_t count = variable.size();
    const std::vector<float> start = variable, zero(count), one(count, 1.0F);
    std::vector<float> first(count), second(count), soft(count);
    detail::instruction_sets().front().step(
        {zero.data(), zero.data(), one.data(), variable.data(), first.data(), second.data(), soft.data()}, 0,
        std::ssize(soft), {1e-3, 1.0, beta, 1});
    for (std::size_t i = 0; i < count; ++i) {
      const double v = static_cast<double>(start[i]);
      const double slope = detail::regularizer_slope(detail::rectified_sigmoid(v), beta);
      const double expected = 0.1 * slope * detail::rectified_sigmoid_slope(v);
      if (std::abs(expected) < 1e-12) continue;  // next to Adam's epsilon
      worst = std::max(worst, std::abs(static_cast<double>(first[i]) / expected - 1.0));
    }
  }
  EXPECT_LT(worst, 1e-4);
  RecordProperty("worst_error", std::to_string(worst * 1e9));
}

}  // namespace
}  // namespace quantbound::reconstruct
