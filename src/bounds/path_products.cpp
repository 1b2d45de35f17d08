#include "quantbound/bounds/path_products.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"

namespace quantbound::bounds {

namespace {

using core::Upper;
using network::Activation;
using network::Graph;
using network::Node;
using network::NodeId;

std::size_t at(NodeId node) { return static_cast<std::size_t>(node); }

/// Layer number of a Convolution or Dense; -1 for other operators.
Index layer_of(const Node& node) {
  if (const auto* convolution = std::get_if<network::Convolution>(&node.op)) return convolution->layer;
  if (const auto* dense = std::get_if<network::Dense>(&node.op)) return dense->layer;
  return -1;
}

double largest_magnitude(const std::vector<double>& values) {
  double largest = 0.0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

/// What an error at the input of a node is multiplied by at most.
Upper error_gain(const Node& node, std::span<const Upper> gains) {
  if (const Index layer = layer_of(node); layer >= 0) return gains[static_cast<std::size_t>(layer)];
  if (const auto* activation = std::get_if<Activation>(&node.op)) return Upper(activation->lipschitz());
  if (const auto* affine = std::get_if<network::ScaleShift>(&node.op)) return Upper(largest_magnitude(affine->scale));
  return Upper(1.0);
}

class Heads {
 public:
  Heads(const Graph& graph, const Domain& domain, std::span<const Upper> gains, Constants constants)
      : graph_(graph), gains_(gains), constants_(constants), head_(graph.nodes.size()) {
    for (std::size_t v = 0; v < graph.nodes.size(); ++v) {
      // Before the first weights |y| <= D by the definition of D.
      if (domain.precedes_weights(static_cast<NodeId>(v))) head_[v] = Upper(1.0);
    }
    // What the output does not depend on has no tail; its head is left at zero, assumptions need not hold there.
    for (const NodeId v : affected_nodes(graph, domain)) head_[at(v)] = head_of(graph.nodes[at(v)]);
  }

  Upper at_input(const Node& node) const { return head_[at(node.inputs.front())]; }

 private:
  Upper head_of(const Node& node) const {
    const Upper first = at_input(node);
    if (const Index layer = layer_of(node); layer >= 0) {
      const Upper entering = constants_ == Constants::none ? first : max(first, Upper(1.0));
      return gains_[static_cast<std::size_t>(layer)] * entering;
    }
    if (const auto* activation = std::get_if<Activation>(&node.op)) return Upper(magnitude_gain(*activation)) * first;
    if (const auto* affine = std::get_if<network::ScaleShift>(&node.op)) return head_of(*affine, node, first);
    if (const auto* pad = std::get_if<network::Pad>(&node.op)) return max(first, Upper(std::abs(pad->value)));
    if (std::holds_alternative<network::Add>(node.op)) return first + head_[at(node.inputs[1])];
    Upper largest = first;  // Concat; the other operators have one input
    for (const NodeId input : node.inputs) largest = max(largest, head_[at(input)]);
    return largest;
  }

  /// Elementwise |scale| H + |shift|; for sources apart the larger of the two.
  Upper head_of(const network::ScaleShift& op, const Node& node, Upper first) const {
    if (constants_ == Constants::separate) {
      return max(Upper(largest_magnitude(op.scale)) * first, Upper(largest_magnitude(op.shift)));
    }
    const auto elements = static_cast<std::size_t>(tensor::elements(node.shape));
    const std::size_t count = std::max(op.scale.size(), op.shift.size());
    Upper largest;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t element = i * (elements / count);
      const double scale = op.scale[element / (elements / op.scale.size())];
      const double shift = op.shift[element / (elements / op.shift.size())];
      largest = max(largest, Upper(std::abs(scale)) * first + Upper(std::abs(shift)));
    }
    return largest;
  }

  const Graph& graph_;
  std::span<const Upper> gains_;
  Constants constants_;
  std::vector<Upper> head_;
};

/// T at every node, from the output backward. A node that reads a value twice counts twice.
std::vector<Upper> tails(const Graph& graph, std::span<const Upper> gains) {
  std::vector<Upper> tail(graph.nodes.size());
  tail[at(graph.output)] = Upper(1.0);
  for (std::size_t v = graph.nodes.size(); v-- > 0;) {
    const Upper through = error_gain(graph.nodes[v], gains) * tail[v];
    for (const NodeId input : graph.nodes[v].inputs) tail[at(input)] += through;
  }
  return tail;
}

std::string describe(const Node& node) { return fmt::format("{} '{}'", network::operator_name(node.op), node.name); }

bool adds_constant(const Node& node) {
  if (const auto* affine = std::get_if<network::ScaleShift>(&node.op)) return largest_magnitude(affine->shift) > 0.0;
  if (const auto* pad = std::get_if<network::Pad>(&node.op)) return pad->value != 0.0;
  return false;
}

}  // namespace

double magnitude_gain(const Activation& activation) {
  QUANTBOUND_ASSERT(activation.fixes_zero(), activation.alpha, activation.beta);
  return activation.kind == network::ActivationKind::hard_swish ? 1.0 : activation.lipschitz();
}

PathProducts path_products(const Graph& graph, const Domain& domain, std::span<const Upper> gains,
                           Constants constants) {
  const Heads heads(graph, domain, gains, constants);
  const std::vector<Upper> tail = tails(graph, gains);
  PathProducts products;
  for (const NodeId node : graph.weight_layers()) {
    products.head.push_back(heads.at_input(graph.nodes[at(node)]));
    products.tail.push_back(tail[at(node)]);
  }
  return products;
}

PathProducts path_products(const Graph& graph, const Domain& domain, Upper gain, Constants constants) {
  const std::vector<Upper> gains(graph.weight_layers().size(), gain);
  return path_products(graph, domain, gains, constants);
}

std::vector<NodeId> affected_nodes(const Graph& graph, const Domain& domain) {
  std::vector<char> used(graph.nodes.size(), 0);
  used[at(graph.output)] = 1;
  std::vector<NodeId> affected;
  for (std::size_t v = graph.nodes.size(); v-- > 0;) {
    if (used[v] == 0) continue;
    for (const NodeId input : graph.nodes[v].inputs) used[at(input)] = 1;
    if (!domain.precedes_weights(static_cast<NodeId>(v))) affected.push_back(static_cast<NodeId>(v));
  }
  std::reverse(affected.begin(), affected.end());
  return affected;
}

std::string first_violation(const Graph& graph, const Domain& domain, Assumption assumption) {
  for (const NodeId v : affected_nodes(graph, domain)) {
    const Node& node = graph.nodes[at(v)];
    if (std::holds_alternative<network::Product>(node.op)) return describe(node) + " multiplies two values";
    if (assumption == Assumption::no_product) continue;
    const auto* activation = std::get_if<Activation>(&node.op);
    if (activation != nullptr && !activation->fixes_zero()) return describe(node) + " does not map 0 to 0";
    if (assumption == Assumption::no_constants && adds_constant(node)) return describe(node) + " adds a constant";
  }
  return {};
}

Index constant_count(const Graph& graph, const Domain& domain) {
  const std::vector<NodeId> affected = affected_nodes(graph, domain);
  return std::count_if(affected.begin(), affected.end(), [&](NodeId v) { return adds_constant(graph.nodes[at(v)]); });
}

}  // namespace quantbound::bounds
