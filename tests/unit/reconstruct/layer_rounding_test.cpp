#include "quantbound/reconstruct/layer_rounding.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>
#include <omp.h>

#include "../../../src/reconstruct/packed_matrix.hpp"
#include "layer_data.hpp"

namespace quantbound::reconstruct {
namespace {

using quantize::Configuration;
using quantize::Granularity;
using quantize::Grid;
using quantize::RowGrid;
using testing_data::LayerData;

struct Problem {
  LayerData data;
  Gram gram;
  std::vector<RowGrid> grids;
  std::span<const double> weights() const { return data.original.weights; }
};

enum class Prefix { float_network, quantized };

Problem problem_of(const network::Operator& op, Index samples, unsigned seed, const Configuration& configuration,
                   Prefix prefix = Prefix::quantized) {
  Problem problem{testing_data::random_layer(op, samples, seed), {}, {}};
  if (prefix == Prefix::quantized) {
    problem.data.quantized_bias[0] += 0.02;
  } else {
    problem.data.quantized_inputs = problem.data.inputs;
  }
  GramAccumulator accumulator(op, problem.data.original, problem.data.quantized_bias);
  accumulator.add(problem.data.inputs, problem.data.quantized_inputs);
  problem.gram = accumulator.finish();
  problem.grids = quantize::choose_grids(problem.weights(), problem.gram.rows, configuration);
  return problem;
}

constexpr Configuration three_bits{.granularity = Granularity::channel, .bits = 3, .grid = Grid::affine};

std::vector<double> nearest(const Problem& problem) {
  std::vector<double> result;
  for (const double weight : problem.weights()) {
    const std::size_t row = result.size() / static_cast<std::size_t>(problem.gram.columns);
    result.push_back(quantize::quantize_value(weight, problem.grids[row], quantize::Quantizer::round, 0.0));
  }
  return result;
}

/// The gradient of the loss over all samples, from the samples: the loss is quadratic, so that central differences are
/// exact but for rounding.
std::vector<float> gradient_on_samples(const Problem& problem, std::span<const float> soft) {
  std::vector<double> weights(soft.begin(), soft.end());
  std::vector<float> gradient;
  for (double& weight : weights) {
    const double middle = weight, h = 0.125;
    weight = middle + h;
    const double above = testing_data::direct_loss(problem.data, weights);
    weight = middle - h;
    const double below = testing_data::direct_loss(problem.data, weights);
    weight = middle;
    gradient.push_back(static_cast<float>((above - below) / (2.0 * h)));
  }
  return gradient;
}

TEST(LayerRounding, IsAdaRoundOnAllSamples) {
  unsigned seed = 200;
  const std::vector<network::Operator> layers = testing_data::layers();
  for (const network::Operator& op : {testing_data::dense(9, 4), layers[3]}) {
    const Problem problem = problem_of(op, 5, ++seed, three_bits);
    const SoftRoundingOptions options{.iterations = 15, .learning_rate = 0.05};
    LayerRounding rounding(problem.weights(), problem.gram, problem.grids, options);
    SoftRounding direct(problem.weights(), problem.grids, options);
    for (Index i = 0; i < options.iterations; ++i) {
      const std::vector<double> soft(direct.weights().begin(), direct.weights().end());
      const double expected = testing_data::direct_loss(problem.data, soft);
      EXPECT_NEAR(rounding.loss(), expected, 1e-3 * expected);
      rounding.iterate();
      direct.update(gradient_on_samples(problem, direct.weights()));
    }
    for (std::size_t i = 0; i < direct.weights().size(); ++i) {
      const double step = problem.grids[i / static_cast<std::size_t>(problem.gram.columns)].step;
      EXPECT_NEAR(rounding.rounding().weights()[i], direct.weights()[i], 2e-3 * step) << i;
    }
  }
}

TEST(LayerRounding, LossIsThatOfTheLayerOnItsSamples) {
  unsigned seed = 220;
  for (const network::Operator& op : testing_data::layers()) {
    const Problem problem = problem_of(op, 20, ++seed, three_bits);
    const RoundedLayer result =
        round_layer(problem.weights(), problem.gram, problem.grids, {.iterations = 600, .learning_rate = 0.01});
    const double loss = testing_data::direct_loss(problem.data, result.weights);
    EXPECT_NEAR(result.loss, loss, 1e-10 * loss);
    const double plain = testing_data::direct_loss(problem.data, nearest(problem));
    EXPECT_NEAR(result.loss_nearest, plain, 1e-10 * plain);
    EXPECT_LT(result.loss, plain);
    for (std::size_t i = 0; i < result.weights.size(); ++i) {
      const RowGrid& grid = problem.grids[i / static_cast<std::size_t>(problem.gram.columns)];
      EXPECT_EQ(result.weights[i], quantize::quantize_value(result.weights[i], grid, quantize::Quantizer::round, 0.0));
      EXPECT_LT(std::abs(result.weights[i] - problem.weights()[i]), 1.000001 * grid.step);
    }
  }
}

/// d G d + 2 d e + c of one row.
double row_loss(const Problem& problem, Index row, const std::vector<double>& change) {
  const Index columns = problem.gram.columns;
  const auto moments = problem.gram.moments_of(row / problem.gram.group_rows());
  double sum = problem.gram.energy[static_cast<std::size_t>(row)];
  for (Index i = 0; i < columns; ++i) {
    double image = 2.0 * problem.gram.residual[static_cast<std::size_t>(row * columns + i)];
    for (Index j = 0; j < columns; ++j)
      image += moments[static_cast<std::size_t>(i * columns + j)] * change[static_cast<std::size_t>(j)];
    sum += image * change[static_cast<std::size_t>(i)];
  }
  return sum;
}

/// From rounding to nearest, a weight goes to its other level as long as that makes the row's loss smaller.
double descent_loss(const Problem& problem, Index row) {
  const auto columns = static_cast<std::size_t>(problem.gram.columns);
  const std::span<const double> weights = problem.weights().subspan(static_cast<std::size_t>(row) * columns, columns);
  const RowGrid& grid = problem.grids[static_cast<std::size_t>(row)];
  std::vector<double> change, other;
  for (const double weight : weights) {
    const double level = quantize::quantize_value(weight, grid, quantize::Quantizer::round, 0.0);
    const double turned = level > weight ? level - grid.step : level + grid.step;
    change.push_back(level - weight);
    other.push_back(quantize::quantize_value(turned, grid, quantize::Quantizer::round, 0.0) - weight);
  }
  double best = row_loss(problem, row, change), before = INFINITY;
  while (best < before) {
    before = best;
    for (std::size_t i = 0; i < columns; ++i) {
      std::swap(change[i], other[i]);
      const double loss = row_loss(problem, row, change);
      if (loss < best) {
        best = loss;
      } else {
        std::swap(change[i], other[i]);
      }
    }
  }
  return best;
}

TEST(LayerRounding, IsNoWorseThanTurningSingleWeights) {
  for (const network::Operator& op : testing_data::layers())
    for (const Prefix prefix : {Prefix::float_network, Prefix::quantized}) {
      const Problem problem = problem_of(op, 60, 230, three_bits, prefix);
      // Strong enough to settle the weights; with 0.01 the dense layer's last ones are rounded at a loss.
      const RoundedLayer result = round_layer(problem.weights(), problem.gram, problem.grids,
                                              {.iterations = 2000, .learning_rate = 0.01, .regularization = 0.1});
      double descent = 0.0;
      for (Index row = 0; row < problem.gram.rows; ++row) descent += descent_loss(problem, row);
      EXPECT_LT(descent, result.loss_nearest);
      EXPECT_LT(result.loss, descent);
      EXPECT_GT(result.settled, 0.99);
    }
}

/// The best of all choices between the two levels of every weight of a row.
double best_loss(const Problem& problem, Index row) {
  const Index columns = problem.gram.columns;
  std::vector<double> weights(problem.weights().begin(), problem.weights().end());
  const RowGrid& grid = problem.grids[static_cast<std::size_t>(row)];
  double best = INFINITY;
  for (unsigned choice = 0; choice < 1U << columns; ++choice) {
    for (Index j = 0; j < columns; ++j) {
      const auto i = static_cast<std::size_t>(row * columns + j);
      const double level = std::floor(problem.weights()[i] / grid.step) + (choice >> j & 1U);
      weights[i] = std::clamp(level, grid.lowest - grid.zero_point, grid.highest - grid.zero_point) * grid.step;
    }
    best = std::min(best, row_losses(problem.gram, problem.weights(), weights)[static_cast<std::size_t>(row)]);
  }
  return best;
}

TEST(LayerRounding, ComesCloseToTheBestChoice) {
  const Problem problem = problem_of(testing_data::dense(8, 6), 100, 240, three_bits);
  const RoundedLayer result = round_layer(problem.weights(), problem.gram, problem.grids, {.iterations = 10000});
  double best = 0.0;
  for (Index row = 0; row < problem.gram.rows; ++row) best += best_loss(problem, row);
  EXPECT_GE(result.loss, best * (1.0 - 1e-12));
  EXPECT_LT(result.loss, best * 1.3);
  EXPECT_LT(result.loss, result.loss_nearest);
  EXPECT_GT(result.settled, 0.95);
}

TEST(LayerRounding, RowsThatLearningMakesWorseAreRoundedToNearest) {
  const Problem problem = problem_of(testing_data::dense(30, 12), 100, 260, three_bits);
  // One leap by the gradient's sign, far beyond where it is worth anything.
  const RoundedLayer result =
      round_layer(problem.weights(), problem.gram, problem.grids, {.iterations = 1, .learning_rate = 10.0});
  EXPECT_GT(result.rows_kept_nearest, 6);
  EXPECT_LE(result.loss, result.loss_nearest);
  const std::vector<double> plain = nearest(problem);
  Index same = 0;
  for (Index row = 0; row < 12; ++row)
    same += std::equal(plain.begin() + row * 30, plain.begin() + (row + 1) * 30, result.weights.begin() + row * 30);
  EXPECT_EQ(same, result.rows_kept_nearest);
}

TEST(LayerRounding, GoesOnFromItsStateWithAnyNumberOfThreads) {
  const int threads = omp_get_max_threads();
  const std::vector<network::Operator> layers = testing_data::layers();
  for (const network::Operator& op : {testing_data::dense(300, 70), layers[3]}) {
    const Problem problem = problem_of(op, 40, 270, three_bits);
    const SoftRoundingOptions options{.iterations = 30};
    omp_set_num_threads(1);
    LayerRounding whole(problem.weights(), problem.gram, problem.grids, options);
    for (int i = 0; i < 30; ++i) whole.iterate();
    omp_set_num_threads(3);
    LayerRounding first(problem.weights(), problem.gram, problem.grids, options);
    for (int i = 0; i < 13; ++i) first.iterate();
    LayerRounding second(problem.weights(), problem.gram, problem.grids, options);
    second.restore(first.rounding().state());
    for (int i = 13; i < 30; ++i) second.iterate();
    EXPECT_EQ(whole.rounding().state(), second.rounding().state());
    EXPECT_EQ(whole.finish().weights, second.finish().weights);
  }
  omp_set_num_threads(threads);
}

std::vector<float> numbers(Index count, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> result(static_cast<std::size_t>(count));
  for (float& value : result) value = normal(engine);
  return result;
}

TEST(PackedMatrix, ProductHasTheBitsOfThePlainLoops) {
  for (const Index size : {1, 9, 31, 32, 33, 100})
    for (const Index rows : {1, 3, 5, 12, 19, 50, 101}) {
      const std::vector<float> values = numbers(size * size, 1), left = numbers(rows * size, 2);
      const detail::PackedMatrix matrix(std::vector<double>(values.begin(), values.end()), size);
      std::vector<float> result(left.size(), -1.0F), expected(left.size());
      matrix.multiply(left, result);
      matrix.multiply_reference(left, expected);
      EXPECT_EQ(std::memcmp(result.data(), expected.data(), result.size() * sizeof(float)), 0) << size << ' ' << rows;
    }
}

TEST(PackedMatrix, InstructionSetsAgree) {
  constexpr Index rows = 21, size = 37;
  const std::vector<float> left = numbers(rows * size, 3), panel = numbers(size * 32, 4);
  std::vector<float> expected(rows * 32);
  detail::multiply_panel(detail::product_instruction_sets() - 1, left.data(), rows, size, panel.data(),
                         expected.data());
  for (Index set = 0; set < detail::product_instruction_sets(); ++set) {
    std::vector<float> result(rows * 32, -1.0F);
    detail::multiply_panel(set, left.data(), rows, size, panel.data(), result.data());
    EXPECT_EQ(result, expected) << set;
  }
}

}  // namespace
}  // namespace quantbound::reconstruct
