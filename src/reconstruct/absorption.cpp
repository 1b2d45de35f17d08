#include "absorption.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "quantbound/quantize/bias_correction.hpp"
#include "quantbound/quantize/equalization.hpp"

#include "evaluate.hpp"

namespace quantbound::reconstruct::detail {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

struct Sums {
  double values = 0.0, squares = 0.0;
};

/// Samples whose values are held at once: a multiple of evaluation_batch, so that bits are the same.
constexpr Index chunk = 8 * evaluation_batch;

/// Mean and deviation of every channel of a node's value, summed sample after sample.
std::vector<quantize::ChannelStatistics> channel_statistics(const Graph& graph, std::span<const LayerParameters> layers,
                                                            NodeId node, const Calibration& calibration) {
  Graph until = graph;
  until.output = node;
  const std::size_t width = at(tensor::elements(graph.input_shape())),
                    size = at(tensor::elements(until.output_shape()));
  const std::size_t pixels = at(positions(until.output_shape()));
  std::vector<Sums> sums(size / pixels);
  for (Index first = 0; first < calibration.count; first += chunk) {
    const Index count = std::min(chunk, calibration.count - first);
    const auto values =
        evaluate(until, layers, calibration.inputs.subspan(at(first) * width, at(count) * width), count);
    for (std::size_t i = 0; i < values.size(); ++i) {
      Sums& sum = sums[i % size / pixels];
      const auto value = static_cast<double>(values[i]);
      sum.values += value;
      sum.squares += value * value;
    }
  }
  const double terms = static_cast<double>(calibration.count) * static_cast<double>(pixels);
  std::vector<quantize::ChannelStatistics> result;
  for (const Sums& sum : sums) {
    const double mean = sum.values / terms;
    result.push_back({.mean = mean, .deviation = std::sqrt(std::max(sum.squares / terms - mean * mean, 0.0))});
  }
  return result;
}

}  // namespace

std::vector<LayerParameters> with_absorbed_biases(const Graph& graph, std::span<const LayerParameters> layers,
                                                  const Calibration& calibration, double deviations) {
  std::vector<LayerParameters> result(layers.begin(), layers.end());
  const auto nodes = graph.weight_layers();
  for (const quantize::Link& link : quantize::find_links(graph).links) {
    if (!quantize::not_absorbing(graph, link).empty()) continue;
    const auto c =
        quantize::absorbable(channel_statistics(graph, layers, nodes[at(link.first)], calibration), deviations);
    LayerParameters &first = result[at(link.first)], &second = result[at(link.second)];
    auto biases = quantize::absorbed_biases(graph, link, first.bias, second.bias, layers[at(link.second)], c);
    first.bias = std::move(biases.first);
    second.bias = std::move(biases.second);
  }
  return result;
}

}  // namespace quantbound::reconstruct::detail
