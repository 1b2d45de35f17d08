#include "quantbound/network/graph.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "quantbound/core/assert.hpp"

namespace quantbound::network {

namespace {

std::size_t at(NodeId node) { return static_cast<std::size_t>(node); }

double hard_sigmoid(double x, double slope, double offset) {
  return std::max(std::min(slope * x + offset, 1.0), 0.0);  // in this order NaN stays NaN
}

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

bool is_weight_layer(const Operator& op) {
  return std::holds_alternative<Convolution>(op) || std::holds_alternative<Dense>(op);
}

}  // namespace

std::string_view to_string(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::relu:
      return "relu";
    case ActivationKind::leaky_relu:
      return "leaky_relu";
    case ActivationKind::clip:
      return "clip";
    case ActivationKind::sigmoid:
      return "sigmoid";
    case ActivationKind::tanh:
      return "tanh";
    case ActivationKind::hard_swish:
      return "hard_swish";
    case ActivationKind::hard_sigmoid:
      return "hard_sigmoid";
  }
  return "?";
}

double Activation::operator()(double x) const {
  switch (kind) {
    case ActivationKind::relu:
      return x < 0.0 ? 0.0 : x;
    case ActivationKind::leaky_relu:
      return x < 0.0 ? alpha * x : x;
    case ActivationKind::clip:
      return x < alpha ? alpha : (x > beta ? beta : x);
    case ActivationKind::sigmoid:
      return sigmoid(x);
    case ActivationKind::tanh:
      return std::tanh(x);
    case ActivationKind::hard_swish:
      return x * hard_sigmoid(x, 1.0 / 6.0, 0.5);
    case ActivationKind::hard_sigmoid:
      return hard_sigmoid(x, alpha, beta);
  }
  return x;
}

double Activation::lipschitz() const {
  switch (kind) {
    case ActivationKind::relu:
    case ActivationKind::clip:
    case ActivationKind::tanh:
      return 1.0;
    case ActivationKind::leaky_relu:
      return std::max(1.0, std::abs(alpha));
    case ActivationKind::sigmoid:
      return 0.25;
    case ActivationKind::hard_swish:
      return 1.5;
    case ActivationKind::hard_sigmoid:
      return std::abs(alpha);
  }
  return 1.0;
}

bool Activation::fixes_zero() const {
  switch (kind) {
    case ActivationKind::relu:
    case ActivationKind::leaky_relu:
    case ActivationKind::tanh:
    case ActivationKind::hard_swish:
      return true;
    case ActivationKind::clip:
      return alpha <= 0.0 && beta >= 0.0;
    case ActivationKind::sigmoid:
      return false;
    case ActivationKind::hard_sigmoid:
      return beta <= 0.0;
  }
  return false;
}

std::optional<double> Activation::magnitude() const {
  switch (kind) {
    case ActivationKind::clip: {
      const double largest = std::max(std::abs(alpha), std::abs(beta));
      return std::isfinite(largest) ? std::optional(largest) : std::nullopt;  // one side may be open
    }
    case ActivationKind::sigmoid:
    case ActivationKind::tanh:
    case ActivationKind::hard_sigmoid:
      return 1.0;
    case ActivationKind::relu:
    case ActivationKind::leaky_relu:
    case ActivationKind::hard_swish:
      return std::nullopt;
  }
  return std::nullopt;
}

std::string_view operator_name(const Operator& op) {
  if (const auto* activation = std::get_if<Activation>(&op)) {
    switch (activation->kind) {
      case ActivationKind::relu:
        return "Relu";
      case ActivationKind::leaky_relu:
        return "LeakyRelu";
      case ActivationKind::clip:
        return "Clip";
      case ActivationKind::sigmoid:
        return "Sigmoid";
      case ActivationKind::tanh:
        return "Tanh";
      case ActivationKind::hard_swish:
        return "HardSwish";
      case ActivationKind::hard_sigmoid:
        return "HardSigmoid";
    }
  }
  // In the order of the variant.
  constexpr std::array<std::string_view, std::variant_size_v<Operator>> names{
      "Input", "Conv",   "Gemm",      "Activation",  "Add",
      "Mul",   "Concat", "MaxPool",   "AveragePool", "GlobalAveragePool",
      "Pad",   "Slice",  "Transpose", "Reshape",     "ScaleShift"};
  return names[op.index()];
}

std::vector<NodeId> Graph::weight_layers() const {
  std::vector<NodeId> layers;
  for (std::size_t v = 0; v < nodes.size(); ++v) {
    if (is_weight_layer(nodes[v].op)) layers.push_back(static_cast<NodeId>(v));
  }
  return layers;
}

std::vector<std::vector<NodeId>> Graph::consumers() const {
  std::vector<std::vector<NodeId>> readers(nodes.size());
  for (std::size_t v = 0; v < nodes.size(); ++v) {
    for (const NodeId input : nodes[v].inputs) {
      auto& list = readers[at(input)];
      if (list.empty() || list.back() != static_cast<NodeId>(v)) list.push_back(static_cast<NodeId>(v));  // x * x
    }
  }
  return readers;
}

NodeId Graph::measured_output(Index layer) const {
  const std::vector<NodeId> layers = weight_layers();
  QUANTBOUND_ASSERT(layer >= 0 && layer < std::ssize(layers), layer, layers.size());
  const NodeId node = layers[at(layer)];
  if (node == output) return node;
  NodeId only_reader = node;
  for (std::size_t v = at(node) + 1; v < nodes.size(); ++v) {
    for (const NodeId input : nodes[v].inputs) {
      if (input != node) continue;
      if (only_reader != node) return node;
      only_reader = static_cast<NodeId>(v);
    }
  }
  return std::holds_alternative<Activation>(nodes[at(only_reader)].op) ? only_reader : node;
}

bool Graph::is_chain() const {
  const auto readers = consumers();
  for (std::size_t v = 0; v < nodes.size(); ++v) {
    const std::size_t arity = std::holds_alternative<Input>(nodes[v].op) ? 0 : 1;
    const std::size_t used = static_cast<NodeId>(v) == output ? 0 : 1;
    if (nodes[v].inputs.size() != arity || readers[v].size() != used) return false;
  }
  return true;
}

}  // namespace quantbound::network
