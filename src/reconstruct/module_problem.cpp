#include "module_problem.hpp"

#include <algorithm>

#include "quantbound/core/assert.hpp"
#include "quantbound/quantize/bias_correction.hpp"

#include "evaluate.hpp"

namespace quantbound::reconstruct::detail {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// Samples evaluated at once where only a mean is kept: a multiple of evaluation_batch, so that bits are the same.
constexpr Index chunk = 8 * evaluation_batch;

/// Mean over samples of every element of a node's value, in a fixed order.
std::vector<double> element_means(const ModuleProblem& problem, std::span<const LayerParameters> layers, NodeId node,
                                  std::span<const float> inputs) {
  Graph until = problem.graph;
  until.output = node;
  const std::size_t width = inputs.size() / at(problem.samples), size = at(tensor::elements(until.output_shape()));
  std::vector<double> means(size);
  for (Index first = 0; first < problem.samples; first += chunk) {
    const Index count = std::min(chunk, problem.samples - first);
    auto values = inputs.subspan(at(first) * width, at(count) * width);
    std::vector<float> evaluated;
    if (node != 0) values = evaluated = evaluate(until, layers, values, count);
    for (std::size_t s = 0; s < at(count); ++s) {
      for (std::size_t i = 0; i < size; ++i) means[i] += static_cast<double>(values[s * size + i]);
    }
  }
  for (double& mean : means) mean /= static_cast<double>(problem.samples);
  return means;
}

/// Layer after layer, each behind the corrected ones before it.
void correct_biases(const ModuleProblem& problem, std::span<LayerParameters> layers) {
  const std::vector<NodeId> nodes = problem.graph.weight_layers();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const network::Node& node = problem.graph.nodes[at(nodes[i])];
    const NodeId input = node.inputs.front();
    const auto original = element_means(problem, problem.original, input, problem.original_input);
    const auto quantized = element_means(problem, layers, input, problem.quantized_input);
    const auto original_columns = quantize::column_means(node.op, original);
    const auto quantized_columns = quantize::column_means(node.op, quantized);
    layers[i].bias =
        quantize::corrected_bias(node.op, problem.original[i], layers[i], {original_columns, quantized_columns});
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
      mean_loss(problem.graph.output_shape(), problem.target, result.output, {}, problem.samples, problem.module.name);
  return result;
}

}  // namespace quantbound::reconstruct::detail
