#include "module_problem.hpp"

#include <array>

#include "quantbound/core/assert.hpp"

#include "evaluate.hpp"

namespace quantbound::reconstruct::detail {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// Mean over samples and positions of every channel, in a fixed order.
std::vector<double> channel_means(const tensor::Shape& shape, std::span<const float> values, Index samples) {
  const std::size_t channels = at(shape.front()), area = at(positions(shape));
  std::vector<double> means(channels);
  for (std::size_t s = 0; s < at(samples); ++s) {
    for (std::size_t c = 0; c < channels; ++c) {
      double sum = 0.0;
      for (const float value : values.subspan((s * channels + c) * area, area)) sum += static_cast<double>(value);
      means[c] += sum;
    }
  }
  for (double& mean : means) mean /= static_cast<double>(at(samples) * area);
  return means;
}

/// Means of the rows of layer number `layer` of the module, before any activation.
std::vector<double> row_means(const ModuleProblem& problem, std::span<const LayerParameters> layers, NodeId node,
                              std::span<const float> inputs) {
  Graph until = problem.graph;
  until.output = node;
  return channel_means(until.output_shape(), evaluate(until, layers, inputs, problem.samples), problem.samples);
}

/// Layer after layer, each behind the corrected ones before it.
void correct_biases(const ModuleProblem& problem, std::span<LayerParameters> layers) {
  const std::vector<NodeId> nodes = problem.graph.weight_layers();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto wanted = row_means(problem, problem.original, nodes[i], problem.original_input);
    const auto got = row_means(problem, layers, nodes[i], problem.quantized_input);
    for (std::size_t row = 0; row < wanted.size(); ++row) layers[i].bias[row] += wanted[row] - got[row];
  }
}

}  // namespace

std::vector<std::vector<double>> rounded_weights(const ModuleProblem& problem) {
  std::vector<std::vector<double>> result;
  for (std::size_t i = 0; i < problem.original.size(); ++i) {
    const auto& weights = problem.original[i].weights;
    quantize::quantize_weights(weights, problem.module.layers[i], problem.settings[i], problem.grids[i].weights,
                               result.emplace_back(weights.size()));
  }
  return result;
}

Candidate make_candidate(const ModuleProblem& problem, std::vector<std::vector<double>> weights,
                         BiasCorrection correction) {
  QUANTBOUND_ASSERT(weights.size() == problem.original.size(), weights.size(), problem.original.size());
  Candidate result;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    result.layers.push_back({std::move(weights[i]), problem.original[i].bias});
  }
  if (correction == BiasCorrection::empirical) correct_biases(problem, result.layers);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (problem.settings[i].bias_bits == 0) continue;
    auto& bias = result.layers[i].bias;
    bias = quantize::quantize_bias(bias, problem.module.layers[i], problem.settings[i]);
  }
  result.output = evaluate(problem.graph, result.layers, problem.quantized_input, problem.samples);
  result.loss =
      mean_loss(problem.graph.output_shape(), problem.target, result.output, problem.samples, problem.module.name);
  return result;
}

}  // namespace quantbound::reconstruct::detail
