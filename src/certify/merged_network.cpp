// One network that computes f_q(x) - f(x) (docs/theory.md 4.1): f and f_q side by side along the first axis, f first,
// and [-I, I] at the end. What comes before the first weight layer is computed once. Side by side, a convolution is one
// of twice the groups; an operator that mixes the first axis is applied to each half.

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "quantbound/certify/pair.hpp"
#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

namespace quantbound::certify {

namespace {

using network::Node;
using network::Operator;
using network::Shape;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

std::vector<double> joined(std::vector<double> a, const std::vector<double>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class Merge {
 public:
  explicit Merge(const Pair& pair) : pair_(pair) {
    merged_.name = pair.name + " merged";
    merged_.notes.push_back("computes the second network minus the first");
  }

  network::Network run() {
    for (const Node& node : pair_.graph.nodes)
      values_.push_back(std::visit([&](const auto& op) { return apply(op, node); }, node.op));
    compare(stacked(pair_.graph.output));
    network::validate(merged_.graph, merged_.name);
    network::validate(merged_, merged_.name);
    return std::move(merged_);
  }

 private:
  /// Where the merged network has the value of a node: once for both, or the two stacked.
  enum class Form { shared, stacked };
  struct Value {
    NodeId node;
    Form form;
  };

  // ---- nodes of the merged network

  NodeId add(const std::string& name, Operator op, std::vector<NodeId> inputs) {
    std::vector<Shape> shapes;
    shapes.reserve(inputs.size());
    for (const NodeId input : inputs) shapes.push_back(shape(input));
    Shape result = network::infer_shape(op, shapes, name, merged_.name);
    return add_shaped(name, std::move(op), std::move(inputs), std::move(result));
  }
  NodeId add_shaped(const std::string& name, Operator op, std::vector<NodeId> inputs, Shape result) {
    merged_.graph.nodes.push_back({name, std::move(op), std::move(inputs), std::move(result)});
    return std::ssize(merged_.graph.nodes) - 1;
  }
  const Shape& shape(NodeId node) const { return merged_.graph.nodes[at(node)].shape; }
  Index next_layer() const { return std::ssize(merged_.layers); }

  // ---- values

  Form form(NodeId of_pair) const { return values_[at(of_pair)].form; }
  bool all_shared(const Node& node) const {
    return std::all_of(node.inputs.begin(), node.inputs.end(),
                       [&](NodeId input) { return form(input) == Form::shared; });
  }
  /// The value of a node twice, where it was shared.
  NodeId stacked(NodeId of_pair) {
    const Value& value = values_[at(of_pair)];
    if (value.form == Form::stacked) return value.node;
    return add(pair_.graph.nodes[at(of_pair)].name + "_twice", network::Concat{0}, {value.node, value.node});
  }
  std::vector<NodeId> all_stacked(const Node& node) {
    std::vector<NodeId> result;
    for (const NodeId input : node.inputs) result.push_back(stacked(input));
    return result;
  }
  /// The half of a stacked value that belongs to f (0) or f_q (1).
  NodeId half(NodeId node, Index which) {
    const Shape whole = shape(node);
    network::Slice slice{std::vector<Index>(whole.size(), 0), std::vector<Index>(whole.size(), 1), whole};
    slice.count[0] = whole[0] / 2;
    slice.start[0] = which * slice.count[0];
    return add(fmt::format("{}_{}", merged_.graph.nodes[at(node)].name, which == 0 ? "f" : "g"), slice, {node});
  }

  // ---- operators

  Value apply(const network::Input& op, const Node& node) {
    return {add_shaped(node.name, op, {}, node.shape), Form::shared};
  }

  /// An operator that treats the parts of the first axis alike.
  Value alike(const Operator& shared_op, const Operator& stacked_op, const Node& node) {
    const bool shared = all_shared(node);
    std::vector<NodeId> inputs;
    for (const NodeId input : node.inputs) inputs.push_back(shared ? values_[at(input)].node : stacked(input));
    return {add(node.name, shared ? shared_op : stacked_op, std::move(inputs)), shared ? Form::shared : Form::stacked};
  }

  /// Any operator: on the halves, which are stacked again.
  Value on_halves(const Operator& op, const Node& node) {
    if (all_shared(node)) return alike(op, op, node);
    const std::vector<NodeId> inputs = all_stacked(node);
    NodeId results[2];
    for (const Index which : {0, 1}) {
      std::vector<NodeId> halves;
      halves.reserve(inputs.size());
      for (const NodeId input : inputs) halves.push_back(half(input, which));
      results[which] = add(fmt::format("{}_{}", node.name, which == 0 ? "f" : "g"), op, std::move(halves));
    }
    return {add(node.name, network::Concat{0}, {results[0], results[1]}), Form::stacked};
  }

  template <class Alike>
  Value apply(const Alike& op, const Node& node) {
    return alike(op, op, node);  // Add, Product, pools
  }

  Value apply(const network::Activation& op, const Node& node) {
    const auto id = static_cast<std::size_t>(&node - pair_.graph.nodes.data());
    if (!pair_.activation_grids.empty() && pair_.activation_grids[id]) {
      throw core::InputError(fmt::format("the rounded activation '{}' ({}) has no operator in a merged network",
                                         node.name, network::operator_name(node.op)),
                             pair_.name);
    }
    return alike(op, op, node);
  }

  Value apply(const network::Concat& op, const Node& node) {
    return op.axis == 0 ? on_halves(op, node) : alike(op, op, node);
  }

  Value apply(const network::Pad& op, const Node& node) {
    return op.before[0] == 0 && op.after[0] == 0 ? alike(op, op, node) : on_halves(op, node);
  }

  Value apply(const network::Slice& op, const Node& node) {
    const Index extent = pair_.graph.nodes[at(node.inputs.front())].shape[0];
    if (op.start[0] != 0 || op.step[0] != 1 || op.count[0] != extent) return on_halves(op, node);
    network::Slice both = op;
    both.count[0] *= 2;
    return alike(op, both, node);
  }

  Value apply(const network::Permute& op, const Node& node) {
    return op.axes[0] == 0 ? alike(op, op, node) : on_halves(op, node);
  }

  /// Row-major elements of f, then those of f_q: so they stay in any shape with the first axis doubled.
  Value apply(const network::Reshape& op, const Node& node) {
    const Value& input = values_[at(node.inputs.front())];
    Shape result = node.shape;
    if (input.form == Form::stacked) result[0] *= 2;
    return {add_shaped(node.name, op, {input.node}, std::move(result)), input.form};
  }

  Value apply(const network::ScaleShift& op, const Node& node) {
    network::ScaleShift both = op;
    if (op.scale.size() != 1) both = {joined(op.scale, op.scale), joined(op.shift, op.shift)};
    return alike(op, both, node);
  }

  // ---- weight layers

  LayerParameters both_layers(Index layer) const {
    const LayerParameters &f = pair_.f[at(layer)], &fq = pair_.fq[at(layer)];
    return {joined(f.weights, fq.weights), joined(f.bias, fq.bias)};
  }

  Value apply(const network::Convolution& op, const Node& node) {
    network::Convolution both{next_layer(), op.geometry};
    both.geometry.channels_out *= 2;
    NodeId input = values_[at(node.inputs.front())].node;
    if (form(node.inputs.front()) == Form::stacked || op.geometry.groups > 1) {
      input = stacked(node.inputs.front());
      both.geometry.channels_in *= 2;
      both.geometry.groups *= 2;
    }
    const NodeId result = add(node.name, both, {input});
    merged_.layers.push_back(both_layers(op.layer));
    return {result, Form::stacked};
  }

  Value apply(const network::Dense& op, const Node& node) {
    const Value& input = values_[at(node.inputs.front())];
    const bool shared = input.form == Form::shared;
    const NodeId result =
        add(node.name, network::Dense{next_layer(), shared ? op.inputs : 2 * op.inputs, 2 * op.outputs}, {input.node});
    merged_.layers.push_back(shared ? both_layers(op.layer) : block_diagonal(op));
    return {result, Form::stacked};
  }

  LayerParameters block_diagonal(const network::Dense& op) const {
    LayerParameters both{std::vector<double>(at(4 * op.outputs * op.inputs), 0.0), both_layers(op.layer).bias};
    for (Index row = 0; row < 2 * op.outputs; ++row) {
      const bool first = row < op.outputs;
      const LayerParameters& layer = first ? pair_.f[at(op.layer)] : pair_.fq[at(op.layer)];
      std::copy_n(layer.weights.begin() + (first ? row : row - op.outputs) * op.inputs, op.inputs,
                  both.weights.begin() + row * 2 * op.inputs + (first ? 0 : op.inputs));
    }
    return both;
  }

  /// The comparison layer [-I, I]: a convolution of one pixel on images, else a matrix.
  void compare(NodeId value) {
    const Shape whole = shape(value);
    const bool image = whole.size() == 3;
    const Index rows = (image ? whole[0] : tensor::elements(whole)) / 2;
    LayerParameters layer{std::vector<double>(at(rows * 2 * rows), 0.0), std::vector<double>(at(rows), 0.0)};
    for (Index row = 0; row < rows; ++row) {
      layer.weights[at(row * 2 * rows + row)] = -1.0;
      layer.weights[at(row * 2 * rows + rows + row)] = 1.0;
    }
    if (image) {
      const tensor::Convolution geometry{2 * rows, whole[1], whole[2], rows, 1, {}};
      merged_.graph.output = add("difference", network::Convolution{next_layer(), geometry}, {value});
    } else {
      if (whole.size() != 1) value = add_shaped("difference_flat", network::Reshape{}, {value}, {2 * rows});
      merged_.graph.output = add("difference", network::Dense{next_layer(), 2 * rows, rows}, {value});
    }
    merged_.layers.push_back(std::move(layer));
  }

  const Pair& pair_;
  network::Network merged_;
  std::vector<Value> values_;  ///< per node of the pair's graph
};

}  // namespace

network::Network merged_network(const Pair& pair) { return Merge(pair).run(); }

}  // namespace quantbound::certify
