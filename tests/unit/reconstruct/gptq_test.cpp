#include "quantbound/reconstruct/gptq.hpp"

#include <cmath>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/core/error.hpp"

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
};

Problem problem_of(const network::Operator& op, Index samples, unsigned seed, const Configuration& configuration) {
  Problem problem{testing_data::random_layer(op, samples, seed), {}, {}};
  GramAccumulator accumulator(op, problem.data.original, problem.data.quantized_bias);
  accumulator.add(problem.data.inputs, problem.data.quantized_inputs);
  problem.gram = accumulator.finish();
  problem.grids = quantize::choose_grids(problem.data.original.weights, problem.gram.rows, configuration);
  return problem;
}

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// The inverse of a positive definite matrix by Gauss and Jordan.
std::vector<double> inverse(std::vector<double> a, Index n) {
  std::vector<double> result(a.size());
  for (Index i = 0; i < n; ++i) result[at(i * (n + 1))] = 1.0;
  for (Index i = 0; i < n; ++i) {
    const double pivot = a[at(i * (n + 1))];
    for (Index k = 0; k < n; ++k) {
      a[at(i * n + k)] /= pivot;
      result[at(i * n + k)] /= pivot;
    }
    for (Index r = 0; r < n; ++r) {
      const double factor = a[at(r * n + i)];
      if (r == i || factor == 0.0) continue;
      for (Index k = 0; k < n; ++k) {
        a[at(r * n + k)] -= factor * a[at(i * n + k)];
        result[at(r * n + k)] -= factor * result[at(i * n + k)];
      }
    }
  }
  return result;
}

/// H of a group with its damping, and the columns in the order of rounding.
std::vector<double> plain_damped(std::span<const double> moments, Index columns, double damping) {
  std::vector<double> h(moments.begin(), moments.end());
  double sum = 0.0, live = 0.0;
  for (Index i = 0; i < columns; ++i) {
    sum += h[at(i * (columns + 1))];
    live += h[at(i * (columns + 1))] > 0.0 ? 1.0 : 0.0;
  }
  const double mean = live > 0.0 ? sum / live : 1.0;
  for (Index i = 0; i < columns; ++i) {
    double& diagonal = h[at(i * (columns + 1))];
    diagonal = (diagonal > 0.0 ? diagonal : mean) + damping * mean;
  }
  return h;
}

/// Optimal brain surgeon with a fixed order: the inverse of what is left is brought up to date by elimination.
GptqResult plain_obs(const Problem& problem, const GptqOptions& options) {
  const Index columns = problem.gram.columns, rows = problem.gram.group_rows();
  GptqResult result{problem.data.original.weights, std::vector<double>(problem.data.original.weights.size())};
  for (Index group = 0; group < problem.gram.groups; ++group) {
    const auto moments = problem.gram.moments_of(group);
    std::vector<Index> order(at(columns));
    std::iota(order.begin(), order.end(), Index{0});
    if (options.order == ColumnOrder::descending_diagonal)
      std::ranges::stable_sort(
          order, [&](Index a, Index b) { return moments[at(a * (columns + 1))] > moments[at(b * (columns + 1))]; });
    std::vector<double> left = inverse(plain_damped(moments, columns, options.damping), columns);
    for (std::size_t step = 0; step < order.size(); ++step) {
      const Index j = order[step];
      const double pivot = left[at(j * (columns + 1))];
      for (Index row = group * rows; row < (group + 1) * rows; ++row) {
        double* w = result.weights.data() + row * columns;
        const double level = quantize::quantize_value(w[j], problem.grids[at(row)], quantize::Quantizer::round, 0.0);
        const double error = w[j] - level;
        result.losses[at(row * columns + j)] = error * error / pivot;
        for (std::size_t rest = step + 1; rest < order.size(); ++rest)
          w[order[rest]] -= error / pivot * left[at(j * columns + order[rest])];
        w[j] = level;
      }
      const std::vector<double> row(left.begin() + j * columns, left.begin() + (j + 1) * columns);
      for (Index a = 0; a < columns; ++a)
        for (Index b = 0; b < columns; ++b) left[at(a * columns + b)] -= row[at(a)] * row[at(b)] / pivot;
    }
  }
  return result;
}

std::vector<double> nearest(const Problem& problem) {
  std::vector<double> result;
  for (const double weight : problem.data.original.weights) {
    const auto row = result.size() / at(problem.gram.columns);
    result.push_back(quantize::quantize_value(weight, problem.grids[row], quantize::Quantizer::round, 0.0));
  }
  return result;
}

TEST(Gptq, IsOptimalBrainSurgeonInAFixedOrder) {
  unsigned seed = 100;
  for (const network::Operator& op : testing_data::layers())
    for (const ColumnOrder order : {ColumnOrder::natural, ColumnOrder::descending_diagonal})
      for (const Index block : {1, 7, 128}) {
        const Configuration configuration{.granularity = seed % 2 == 0 ? Granularity::tensor : Granularity::channel,
                                          .bits = 3,
                                          .grid = seed % 3 == 0 ? Grid::symmetric : Grid::affine};
        const Problem problem = problem_of(op, 30, ++seed, configuration);
        const GptqOptions options{.block = block, .order = order};
        const GptqResult result = gptq(problem.data.original.weights, problem.gram, problem.grids, options);
        const GptqResult expected = plain_obs(problem, options);
        EXPECT_EQ(result.weights, expected.weights);
        for (std::size_t i = 0; i < result.losses.size(); ++i)
          EXPECT_NEAR(result.losses[i], expected.losses[i], 1e-9 * (expected.losses[i] + 1e-12)) << i;
      }
}

TEST(Gptq, LossesOfARowAddUpToItsQuadraticForm) {
  const Problem problem =
      problem_of(testing_data::dense(150, 6), 400, 7, {.granularity = Granularity::channel, .bits = 4});
  const GptqResult result = gptq(problem.data.original.weights, problem.gram, problem.grids, {.damping = 0.01});
  const std::vector<double> h = plain_damped(problem.gram.moments, 150, 0.01);
  for (Index row = 0; row < 6; ++row) {
    std::vector<double> change;
    for (Index j = 0; j < 150; ++j)
      change.push_back(result.weights[at(row * 150 + j)] - problem.data.original.weights[at(row * 150 + j)]);
    double form = 0.0;
    for (Index i = 0; i < 150; ++i)
      for (Index j = 0; j < 150; ++j) form += change[at(i)] * h[at(i * 150 + j)] * change[at(j)];
    const auto first = result.losses.begin() + row * 150;
    EXPECT_NEAR(std::accumulate(first, first + 150, 0.0), form, 1e-9 * form);
  }
}

TEST(Gptq, DeviatesLessThanRoundingOnCorrelatedInputs) {
  for (const int bits : {2, 3, 4, 8})
    for (const unsigned seed : {1U, 2U, 3U}) {
      Problem problem = problem_of(testing_data::dense(60, 24), 300, seed,
                                   {.granularity = Granularity::channel, .bits = bits, .grid = Grid::affine});
      problem.data.quantized_inputs = problem.data.inputs;
      GramAccumulator accumulator(problem.data.op, problem.data.original, problem.data.quantized_bias);
      accumulator.add(problem.data.inputs, problem.data.inputs);
      problem.gram = accumulator.finish();
      const GptqResult result = gptq(problem.data.original.weights, problem.gram, problem.grids, {});
      const double loss = testing_data::direct_loss(problem.data, result.weights);
      EXPECT_LT(loss, 0.7 * testing_data::direct_loss(problem.data, nearest(problem))) << bits << " bits";
    }
}

TEST(Gptq, RoundsWeightsOfDeadInputsToNearest) {
  Problem problem = problem_of(testing_data::dense(20, 5), 50, 8, {.bits = 3});
  LayerData& data = problem.data;
  for (std::size_t i = 0; i < data.inputs.size(); ++i)
    if (i % 20 == 3 || i % 20 == 11) data.inputs[i] = data.quantized_inputs[i] = 0.0F;
  GramAccumulator accumulator(data.op, data.original, data.quantized_bias);
  accumulator.add(data.inputs, data.quantized_inputs);
  const GptqResult result = gptq(data.original.weights, accumulator.finish(), problem.grids, {});
  const std::vector<double> expected = nearest(problem);
  for (const std::size_t row : {0U, 1U, 2U, 3U, 4U})
    for (const std::size_t column : {3U, 11U})
      EXPECT_EQ(result.weights[row * 20 + column], expected[row * 20 + column]);
  EXPECT_NE(result.weights, expected);

  std::ranges::fill(data.inputs, 0.0F);
  GramAccumulator nothing(data.op, data.original, data.quantized_bias);
  nothing.add(data.inputs, data.inputs);
  EXPECT_EQ(gptq(data.original.weights, nothing.finish(), problem.grids, {}).weights, expected);
}

TEST(Gptq, SaysThatUndampedMomentsAreSingular) {
  const Problem problem = problem_of(testing_data::dense(40, 3), 10, 9, {.bits = 4});
  EXPECT_THROW(gptq(problem.data.original.weights, problem.gram, problem.grids, {.damping = 0.0}),
               core::NumericalError);
  EXPECT_NO_THROW(gptq(problem.data.original.weights, problem.gram, problem.grids, {.damping = 0.01}));
}

TEST(Gptq, BitsDoNotDependOnThreads) {
  const int threads = omp_get_max_threads();
  for (const network::Operator& op : testing_data::layers()) {
    const Problem problem = problem_of(op, 30, 10, {.granularity = Granularity::channel, .bits = 3});
    omp_set_num_threads(1);
    const GptqResult one = gptq(problem.data.original.weights, problem.gram, problem.grids, {});
    omp_set_num_threads(3);
    const GptqResult three = gptq(problem.data.original.weights, problem.gram, problem.grids, {});
    EXPECT_EQ(one.weights, three.weights);
    EXPECT_EQ(one.losses, three.losses);
  }
  omp_set_num_threads(threads);
}

}  // namespace
}  // namespace quantbound::reconstruct
