#include "quantbound/network/network.hpp"

#include <algorithm>
#include <cmath>
#include <span>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"

namespace quantbound::network {

namespace {

struct LayerSizes {
  Index weights = 0, biases = 0;
};

LayerSizes sizes_of(const Operator& op) {
  if (const auto* convolution = std::get_if<Convolution>(&op)) {
    return {convolution->geometry.weight_count(), convolution->geometry.channels_out};
  }
  const auto& dense = std::get<Dense>(op);
  return {dense.inputs * dense.outputs, dense.outputs};
}

void check_values(std::span<const double> values, Index expected, const std::string& what, const std::string& where) {
  if (std::ssize(values) != expected) {
    throw core::InputError(fmt::format("{}: {} values where {} are needed", what, values.size(), expected), where);
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    throw core::InputError(fmt::format("{}: value {} is {}; only finite numbers can be quantized", what, i, values[i]),
                           where);
  }
}

}  // namespace

Index parameter_count(const Network& network) {
  Index count = 0;
  for (const LayerParameters& layer : network.layers) count += std::ssize(layer.weights) + std::ssize(layer.bias);
  return count;
}

Index width(const Graph& graph) {
  Index widest = 0;
  for (const NodeId v : graph.weight_layers()) {
    const Node& node = graph.nodes[static_cast<std::size_t>(v)];
    const Node& input = graph.nodes[static_cast<std::size_t>(node.inputs.front())];
    widest = std::max({widest, tensor::elements(input.shape), tensor::elements(node.shape)});
  }
  return widest;
}

void validate(const Network& network, const std::string& where) {
  const std::vector<NodeId> layers = network.graph.weight_layers();
  if (layers.size() != network.layers.size()) {
    throw core::InputError(
        fmt::format("weights for {} layers where the graph has {}", network.layers.size(), layers.size()), where);
  }
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const Node& node = network.graph.nodes[static_cast<std::size_t>(layers[l])];
    const LayerSizes sizes = sizes_of(node.op);
    const std::string name = fmt::format("layer {} '{}'", l, node.name);
    check_values(network.layers[l].weights, sizes.weights, name + ", weights", where);
    check_values(network.layers[l].bias, sizes.biases, name + ", bias", where);
  }
}

}  // namespace quantbound::network
