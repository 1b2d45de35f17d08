#include "pair_padding.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"

namespace quantbound::certify::detail {

namespace {

using network::LayerParameters;
using network::Node;

bool is_relu(const Node& node) {
  const auto* activation = std::get_if<network::Activation>(&node.op);
  return activation && activation->kind == network::ActivationKind::relu;
}

/// `depth` layers, the new ones identities before the last.
void deepen(ReluChain& chain, std::size_t depth, const std::string& where) {
  if (chain.layers.size() == depth) return;
  if (chain.layers.size() < 2) {
    throw core::InputError(
        fmt::format("a network of one layer cannot be padded to {} layers: its input may be negative", depth), where);
  }
  const std::size_t width = chain.inputs(chain.layers.size() - 1);
  LayerParameters identity{std::vector<double>(width * width, 0.0), std::vector<double>(width, 0.0)};
  for (std::size_t i = 0; i < width; ++i) identity.weights[i * width + i] = 1.0;
  chain.layers.insert(chain.layers.end() - 1, depth - chain.layers.size(), identity);
}

/// The same matrix in the upper left corner of a larger one.
void widen(LayerParameters& layer, std::size_t outputs, std::size_t inputs) {
  const std::size_t old_outputs = layer.bias.size(), old_inputs = layer.weights.size() / old_outputs;
  std::vector<double> weights(outputs * inputs, 0.0);
  for (std::size_t o = 0; o < old_outputs; ++o) {
    std::copy_n(layer.weights.begin() + static_cast<std::ptrdiff_t>(o * old_inputs), old_inputs,
                weights.begin() + static_cast<std::ptrdiff_t>(o * inputs));
  }
  layer.weights = std::move(weights);
  layer.bias.resize(outputs, 0.0);
}

}  // namespace

std::optional<ReluChain> relu_chain(const network::Network& network) {
  if (!network.graph.is_chain()) return std::nullopt;
  ReluChain chain;
  enum class Expected { dense, relu } next = Expected::dense;
  for (std::size_t v = 1; v < network.graph.nodes.size(); ++v) {
    const Node& node = network.graph.nodes[v];
    if (std::holds_alternative<network::Reshape>(node.op)) continue;
    if (next == Expected::dense && std::holds_alternative<network::Dense>(node.op)) {
      chain.layers.push_back(network.layers[chain.layers.size()]);
      next = Expected::relu;
    } else if (next == Expected::relu && is_relu(node)) {
      next = Expected::dense;
    } else {
      return std::nullopt;
    }
  }
  return next == Expected::relu ? std::optional(std::move(chain)) : std::nullopt;  // it ends with a layer
}

void pad_to_one_shape(ReluChain& a, ReluChain& b, const std::string& where) {
  const auto check = [&](const char* what, std::size_t of_a, std::size_t of_b) {
    if (of_a != of_b)
      throw core::InputError(fmt::format("{} {}, but {} in the other network", of_a, what, of_b), where);
  };
  check("inputs", a.inputs(0), b.inputs(0));
  check("outputs", a.outputs(a.layers.size() - 1), b.outputs(b.layers.size() - 1));
  const std::size_t depth = std::max(a.layers.size(), b.layers.size());
  deepen(a, depth, where);
  deepen(b, depth, where);
  std::size_t inputs = a.inputs(0);
  for (std::size_t layer = 0; layer < depth; ++layer) {
    const std::size_t outputs = std::max(a.outputs(layer), b.outputs(layer));
    for (ReluChain* chain : {&a, &b}) widen(chain->layers[layer], outputs, inputs);
    inputs = outputs;
  }
}

network::Graph chain_graph(const network::Shape& input, const ReluChain& chain) {
  network::Graph graph;
  const auto add = [&](std::string name, network::Operator op, network::Shape shape) {
    std::vector<network::NodeId> inputs;
    if (!graph.nodes.empty()) inputs.push_back(std::ssize(graph.nodes) - 1);
    graph.nodes.push_back({std::move(name), std::move(op), std::move(inputs), std::move(shape)});
  };
  add("input", network::Input{}, input);
  if (input.size() != 1) add("flatten", network::Reshape{}, {tensor::elements(input)});
  for (std::size_t l = 0; l < chain.layers.size(); ++l) {
    const auto outputs = static_cast<network::Index>(chain.outputs(l));
    add(fmt::format("layer{}", l + 1),
        network::Dense{static_cast<network::Index>(l), static_cast<network::Index>(chain.inputs(l)), outputs},
        {outputs});
    if (l + 1 < chain.layers.size()) {
      add(fmt::format("relu{}", l + 1), network::Activation{network::ActivationKind::relu}, {outputs});
    }
  }
  graph.output = std::ssize(graph.nodes) - 1;
  return graph;
}

}  // namespace quantbound::certify::detail
