#include "float_lowering.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "quantbound/core/assert.hpp"

#include "image.hpp"

namespace quantbound::network::detail {

namespace {

using tensor::FloatProgram;
using tensor::PointFunction;
using Value = FloatProgram::Value;

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

PointFunction point_function(const Activation& activation) {
  const auto kind = [&] {
    switch (activation.kind) {
      case ActivationKind::relu:
        return tensor::PointKind::relu;
      case ActivationKind::leaky_relu:
        return tensor::PointKind::leaky_relu;
      case ActivationKind::clip:
        return tensor::PointKind::clip;
      case ActivationKind::sigmoid:
        return tensor::PointKind::sigmoid;
      case ActivationKind::tanh:
        return tensor::PointKind::tanh;
      case ActivationKind::hard_swish:
        return tensor::PointKind::hard_swish;
      case ActivationKind::hard_sigmoid:
        return tensor::PointKind::hard_sigmoid;
    }
    QUANTBOUND_ASSERT(false, static_cast<int>(activation.kind));
    return tensor::PointKind::relu;
  }();
  return {kind, activation.alpha, activation.beta};
}

/// Turns a graph into a float program: which nodes are computed, and which become one operator.
class Lowering {
 public:
  Lowering(const Graph& graph, std::span<const NodeId> captured, FloatProgram& program)
      : graph_(graph),
        program_(program),
        observed_(graph.nodes.size(), false),
        readers_(graph.nodes.size()),
        values_(graph.nodes.size()),
        convolution_of_add_(graph.nodes.size()),
        skipped_(graph.nodes.size(), false) {
    observed_[index(graph.output)] = true;
    for (const NodeId id : captured) {
      QUANTBOUND_ASSERT(id > 0 && id < std::ssize(graph.nodes), id, graph.nodes.size());
      observed_[index(id)] = true;
    }
    find_readers();
    find_residual_sums();
    find_merged_pads();
  }

  void run() {
    values_.front() = program_.input(graph_.input_shape());
    for (NodeId id = 1; id < std::ssize(graph_.nodes); ++id) {
      if (values_[index(id)] || skipped_[index(id)]) continue;
      std::visit([&](const auto& op) { lower(op, id); }, node(id).op);
    }
    program_.output(value(graph_.output));
  }

  Value value(NodeId id) const {
    QUANTBOUND_ASSERT(values_[index(id)].has_value(), id, node(id).name);
    return *values_[index(id)];
  }

 private:
  const Node& node(NodeId id) const { return graph_.nodes[index(id)]; }
  Value input(NodeId id, std::size_t which = 0) const { return value(node(id).inputs[which]); }

  /// The nodes whose values this node's operator reads: a dense layer reads flattened values where they come from.
  std::vector<NodeId> sources(NodeId id) const {
    if (!std::holds_alternative<Dense>(node(id).op)) return node(id).inputs;
    NodeId source = node(id).inputs.front();
    while (std::holds_alternative<Reshape>(node(source).op)) source = node(source).inputs.front();
    return {source};
  }

  /// Who reads a node, of those that the observed values depend on; the others are skipped.
  void find_readers() {
    for (NodeId id = std::ssize(graph_.nodes) - 1; id > 0; --id) {
      skipped_[index(id)] = !observed_[index(id)] && readers_[index(id)].empty();
      if (skipped_[index(id)]) continue;
      for (const NodeId source : sources(id)) {
        auto& readers = readers_[index(source)];
        if (readers.empty() || readers.back() != id) readers.push_back(id);  // x * x
      }
    }
  }

  /// The only reader of a node that no one observes.
  std::optional<NodeId> only_reader(NodeId id) const {
    const auto& readers = readers_[index(id)];
    if (observed_[index(id)] || readers.size() != 1) return {};
    return readers.front();
  }

  /// The activation that alone reads a node: it becomes part of the node's operator.
  std::optional<NodeId> following_activation(NodeId id) const {
    const std::optional<NodeId> reader = only_reader(id);
    const bool fits = reader && std::holds_alternative<Activation>(node(*reader).op);
    return fits ? reader : std::nullopt;
  }

  /// Names the value of a node and, where an activation was fused, of the activation.
  void define(NodeId id, std::optional<NodeId> activation, Value value) {
    values_[index(activation.value_or(id))] = value;
  }

  std::optional<PointFunction> function_of(std::optional<NodeId> activation) const {
    if (!activation) return {};
    return point_function(std::get<Activation>(node(*activation).op));
  }

  bool is_convolution(NodeId id) const { return std::holds_alternative<Convolution>(node(id).op); }

  /// A convolution that only an addition reads does the addition itself, when its turn comes.
  void find_residual_sums() {
    for (NodeId id = 1; id < std::ssize(graph_.nodes); ++id) {
      if (skipped_[index(id)] || !std::holds_alternative<Add>(node(id).op)) continue;
      std::vector<NodeId> operands = node(id).inputs;
      std::sort(operands.rbegin(), operands.rend());  // the later one first: it waits for nothing
      for (const NodeId operand : operands) {
        if (operands[0] == operands[1] || !is_convolution(operand) || only_reader(operand) != id) continue;
        convolution_of_add_[index(id)] = operand;
        skipped_[index(operand)] = true;
        break;
      }
    }
  }

  /// The convolution with the pads of the node before it, where they are zeros around the image that oneDNN can take.
  std::optional<tensor::Convolution> with_pads(const Pad& pad, tensor::Convolution geometry) const {
    const bool around = pad.before.size() == 3 && pad.before[0] == 0 && pad.after[0] == 0 && pad.value == 0.0;
    if (!around) return {};
    tensor::Window& w = geometry.window;
    w.pad_top += pad.before[1];
    w.pad_left += pad.before[2];
    w.pad_bottom += pad.after[1];
    w.pad_right += pad.after[2];
    geometry.height -= pad.before[1] + pad.after[1];
    geometry.width -= pad.before[2] + pad.after[2];
    const Index reach_y = w.dilation_height * (w.kernel_height - 1), reach_x = w.dilation_width * (w.kernel_width - 1);
    const bool small = std::max(w.pad_top, w.pad_bottom) <= reach_y && std::max(w.pad_left, w.pad_right) <= reach_x;
    return small ? std::optional(geometry) : std::nullopt;
  }

  /// The merged geometry of a convolution whose input is a Pad that merges.
  std::optional<tensor::Convolution> merged_geometry(NodeId convolution) const {
    const auto* pad = std::get_if<Pad>(&node(node(convolution).inputs.front()).op);
    return pad ? with_pads(*pad, std::get<Convolution>(node(convolution).op).geometry) : std::nullopt;
  }

  /// A Pad read by nothing but convolutions that take it over needs no operator of its own.
  void find_merged_pads() {
    for (NodeId id = 1; id < std::ssize(graph_.nodes); ++id) {
      if (observed_[index(id)] || !std::holds_alternative<Pad>(node(id).op)) continue;
      const auto& readers = readers_[index(id)];
      const auto takes_over = [&](NodeId reader) { return is_convolution(reader) && merged_geometry(reader); };
      if (std::all_of(readers.begin(), readers.end(), takes_over)) skipped_[index(id)] = true;
    }
  }

  Value convolve(NodeId id, std::optional<NodeId> activation, std::optional<Value> summand) {
    const auto& op = std::get<Convolution>(node(id).op);
    const auto merged = merged_geometry(id);
    const Value in = merged ? input(node(id).inputs.front()) : input(id);
    return program_.convolution(in, op.layer, merged.value_or(op.geometry), function_of(activation), summand);
  }

  void lower(const Input&, NodeId id) { QUANTBOUND_ASSERT(false, id); }

  void lower(const Convolution&, NodeId id) {
    const auto activation = following_activation(id);
    define(id, activation, convolve(id, activation, {}));
  }

  void lower(const Dense& op, NodeId id) {
    const auto activation = following_activation(id);
    define(id, activation, program_.dense(value(sources(id).front()), op.layer, op.outputs, function_of(activation)));
  }

  void lower(const Activation& op, NodeId id) { define(id, {}, program_.pointwise(input(id), point_function(op))); }

  void lower(const Add&, NodeId id) {
    const auto activation = following_activation(id);
    if (const auto convolution = convolution_of_add_[index(id)]) {
      const NodeId first = node(id).inputs[0];
      const NodeId other = first == *convolution ? node(id).inputs[1] : first;
      define(id, activation, convolve(*convolution, activation, value(other)));
    } else {
      define(id, activation, program_.add(input(id, 0), input(id, 1), function_of(activation)));
    }
  }

  void lower(const Product&, NodeId id) { define(id, {}, program_.multiply(input(id, 0), input(id, 1))); }

  void lower(const Concat& op, NodeId id) {
    std::vector<Value> inputs;
    for (std::size_t which = 0; which < node(id).inputs.size(); ++which) inputs.push_back(input(id, which));
    define(id, {}, program_.concat(inputs, op.axis));
  }

  void lower(const MaxPool& op, NodeId id) { define(id, {}, program_.max_pool(input(id), op.window)); }
  void lower(const AveragePool& op, NodeId id) {
    define(id, {}, program_.average_pool(input(id), op.window, divisor_of(op)));
  }
  void lower(const GlobalAveragePool&, NodeId id) { define(id, {}, program_.global_average_pool(input(id))); }
  void lower(const Pad& op, NodeId id) { define(id, {}, program_.pad(input(id), op.before, op.after, op.value)); }
  void lower(const Slice& op, NodeId id) { define(id, {}, program_.slice(input(id), op.start, op.step, op.count)); }
  void lower(const Permute& op, NodeId id) { define(id, {}, program_.permute(input(id), op.axes)); }
  void lower(const Reshape&, NodeId id) { define(id, {}, program_.reshape(input(id), node(id).shape)); }
  void lower(const ScaleShift& op, NodeId id) { define(id, {}, program_.scale_shift(input(id), op.scale, op.shift)); }

  const Graph& graph_;
  FloatProgram& program_;
  std::vector<bool> observed_;  ///< the output and the captured nodes
  std::vector<std::vector<NodeId>> readers_;
  std::vector<std::optional<Value>> values_;  ///< of a fused operator: at its last node
  std::vector<std::optional<NodeId>> convolution_of_add_;
  std::vector<bool> skipped_;  ///< nothing depends on it, or an operator that comes later contains it
};

}  // namespace

std::vector<Value> lower(const Graph& graph, std::span<const NodeId> captured, FloatProgram& program) {
  Lowering lowering(graph, captured, program);
  lowering.run();
  std::vector<Value> values;
  for (const NodeId id : captured) values.push_back(lowering.value(id));
  return values;
}

}  // namespace quantbound::network::detail
