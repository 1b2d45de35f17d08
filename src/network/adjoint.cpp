#include "quantbound/network/adjoint.hpp"

#include <algorithm>
#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/adjoint.hpp"
#include "quantbound/tensor/worth_threads.hpp"

#include "image.hpp"
#include "node_evaluation.hpp"

namespace quantbound::network {

namespace {

using detail::Values;

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

/// The derivative at x; at a kink, the one from the left.
double slope(const Activation& op, double x) {
  switch (op.kind) {
    case ActivationKind::relu:
      return x > 0.0 ? 1.0 : 0.0;
    case ActivationKind::leaky_relu:
      return x > 0.0 ? 1.0 : op.alpha;
    case ActivationKind::clip:
      return x > op.alpha && x <= op.beta ? 1.0 : 0.0;
    case ActivationKind::sigmoid:
      return op(x) * (1.0 - op(x));
    case ActivationKind::tanh:
      return 1.0 - op(x) * op(x);
    case ActivationKind::hard_swish:
      return x <= -3.0 ? 0.0 : (x <= 3.0 ? x / 3.0 + 0.5 : 1.0);
    case ActivationKind::hard_sigmoid: {
      const double line = op.alpha * x + op.beta;
      return line > 0.0 && line < 1.0 ? op.alpha : 0.0;
    }
  }
  return 0.0;
}

template <class Function>
void for_each_element(Values& values, Function function) {
#pragma omp parallel for schedule(static) if (tensor::worth_threads(std::ssize(values)))
  for (Index i = 0; i < std::ssize(values); ++i) values.data()[i] = function(i, values.data()[i]);
}

/// Gradients from the output to the input, node after node. A gradient is dropped when its node has passed it on.
class Reverse {
 public:
  Reverse(const Graph& graph, std::span<const LayerParameters> layers, const std::vector<Values>& values, Index batch)
      : graph_(graph), layers_(layers), values_(values), batch_(batch), gradients_(graph.nodes.size()) {}

  Values run(std::span<const double> weights) {
    gradients_[index(graph_.output)].assign(weights.begin(), weights.end());
    for (std::size_t id = index(graph_.output); id > 0; --id) {
      if (gradients_[id].empty()) continue;  // nothing reads it on the way to the output
      const Node& node = graph_.nodes[id];
      std::visit([&](const auto& op) { pass(op, node, std::move(gradients_[id])); }, node.op);
      gradients_[id] = {};
    }
    Values& result = gradients_.front();
    if (result.empty()) result.assign(values_.front().size(), 0.0);  // the output ignores the input
    return std::move(result);
  }

  std::vector<LayerParameters> run_to_layers(std::span<const double> weights) {
    layer_gradients_.assign(layers_.begin(), layers_.end());
    for (LayerParameters& layer : layer_gradients_) {
      std::fill(layer.weights.begin(), layer.weights.end(), 0.0);
      std::fill(layer.bias.begin(), layer.bias.end(), 0.0);
    }
    run(weights);
    return std::move(layer_gradients_);
  }

 private:
  const Values& input(const Node& node, std::size_t which = 0) const { return values_[index(node.inputs[which])]; }
  const Shape& input_shape(const Node& node, std::size_t which = 0) const {
    return graph_.nodes[index(node.inputs[which])].shape;
  }

  void give(const Node& node, Values gradient, std::size_t which = 0) {
    Values& sum = gradients_[index(node.inputs[which])];
    QUANTBOUND_ASSERT(gradient.size() == input(node, which).size(), node.name, gradient.size());
    if (sum.empty()) {
      sum = std::move(gradient);
    } else {
      for_each_element(sum, [&](Index i, double g) { return g + gradient.data()[i]; });
    }
  }

  void pass(const Input& /*op*/, const Node& node, const Values& /*g*/) { QUANTBOUND_ASSERT(false, node.name); }

  /// Every channel of the output has one bias.
  static std::vector<double> bias_gradient(const Node& node, const Values& g) {
    const Index channels = node.shape.front(), pixels = tensor::elements(node.shape) / channels;
    std::vector<double> sums(index(channels), 0.0);
    for (Index i = 0; i < std::ssize(g); ++i) sums[index(i / pixels % channels)] += g[index(i)];
    return sums;
  }

  void pass(const Convolution& op, const Node& node, const Values& g) {
    if (!layer_gradients_.empty())
      layer_gradients_[index(op.layer)] = {
          tensor::convolve_weight_adjoint_reference(op.geometry, input(node), g, batch_), bias_gradient(node, g)};
    give(node, tensor::convolve_adjoint(op.geometry, layers_[index(op.layer)].weights, g, batch_));
  }

  void pass(const Dense& op, const Node& node, const Values& g) {
    if (!layer_gradients_.empty())
      layer_gradients_[index(op.layer)] = {tensor::dense_weight_adjoint_reference(op.outputs, input(node), g, batch_),
                                           bias_gradient(node, g)};
    give(node, tensor::dense_adjoint(op.outputs, layers_[index(op.layer)].weights, g, batch_));
  }

  void pass(const Activation& op, const Node& node, Values g) {
    const double* x = input(node).data();
    for_each_element(g, [&](Index i, double gradient) { return gradient * slope(op, x[i]); });
    give(node, std::move(g));
  }

  void pass(const Add& /*op*/, const Node& node, const Values& g) {
    give(node, g, 0);
    give(node, g, 1);
  }

  void pass(const Product& /*op*/, const Node& node, const Values& g) {
    const std::size_t large = input(node, 0).size() < input(node, 1).size() ? 1 : 0, small = 1 - large;
    const Values &a = input(node, large), &b = input(node, small);
    const Index repeat = std::ssize(a) / std::ssize(b);  // the pixels of a channel when {c, 1, 1} broadcasts
    Values to_large = g, to_small(b.size());
    for_each_element(to_large, [&](Index i, double gradient) { return gradient * b.data()[i / repeat]; });
    for_each_element(to_small, [&](Index i, double sum) {
      for (Index k = i * repeat; k < (i + 1) * repeat; ++k) sum += g.data()[k] * a.data()[k];
      return sum;
    });
    give(node, std::move(to_large), large);
    give(node, std::move(to_small), small);
  }

  void pass(const Concat& op, const Node& node, const Values& g) {
    for (std::size_t which = 0; which < node.inputs.size(); ++which)
      give_rearranged(detail::placement_in_concat(graph_, op, node, which), node, g, which);
  }

  void pass(const MaxPool& op, const Node& node, const Values& g) {
    give(node, tensor::max_pool_adjoint(op.window, image_of(input_shape(node)), input(node), g, batch_));
  }

  void pass(const AveragePool& op, const Node& node, const Values& g) {
    give(node, tensor::average_pool_adjoint(op.window, image_of(input_shape(node)), divisor_of(op), g, batch_));
  }

  void pass(const GlobalAveragePool& /*op*/, const Node& node, const Values& g) {
    give(node, tensor::global_average_pool_adjoint(image_of(input_shape(node)), g, batch_));
  }

  void pass(const Pad& op, const Node& node, const Values& g) {
    give_rearranged(detail::rearrangement_of(op, input_shape(node), node.shape), node, g);
  }
  void pass(const Slice& op, const Node& node, const Values& g) {
    give_rearranged(detail::rearrangement_of(op, input_shape(node), node.shape), node, g);
  }
  void pass(const Permute& op, const Node& node, const Values& g) {
    give_rearranged(detail::rearrangement_of(op, input_shape(node), node.shape), node, g);
  }

  void pass(const Reshape& /*op*/, const Node& node, Values g) { give(node, std::move(g)); }

  void pass(const ScaleShift& op, const Node& node, Values g) {
    const Index elements = tensor::elements(node.shape), per_scale = elements / std::ssize(op.scale);
    for_each_element(g, [&](Index i, double gradient) { return gradient * op.scale.data()[i % elements / per_scale]; });
    give(node, std::move(g));
  }

  void give_rearranged(const tensor::Rearrangement& r, const Node& node, const Values& g, std::size_t which = 0) {
    const Index in = tensor::elements(input_shape(node, which)), out = tensor::elements(node.shape);
    Values result(index(batch_ * in), 0.0);
#pragma omp parallel for schedule(static) if (tensor::worth_threads(std::ssize(g)))
    for (Index n = 0; n < batch_; ++n) tensor::rearrange_adjoint(r, g.data() + n * out, result.data() + n * in);
    give(node, std::move(result), which);
  }

  const Graph& graph_;
  std::span<const LayerParameters> layers_;
  const std::vector<Values>& values_;
  Index batch_;
  std::vector<Values> gradients_;
  std::vector<LayerParameters> layer_gradients_;  ///< empty where nobody asks for them
};

}  // namespace

Tape::Tape(const Graph& graph, std::span<const LayerParameters> layers, std::span<const double> samples, Index batch)
    : graph_(&graph), layers_(layers), batch_(batch), values_(graph.nodes.size()) {
  QUANTBOUND_ASSERT(std::ssize(samples) == batch * tensor::elements(graph.input_shape()), samples.size(), batch);
  values_.front().assign(samples.begin(), samples.end());
  detail::NodeEvaluation nodes(graph, layers, batch, values_);
  for (std::size_t id = 1; id < graph.nodes.size(); ++id)
    values_[id] = nodes.evaluate(graph.nodes[id], detail::FirstInput::kept);
}

std::span<const double> Tape::output() const { return value(graph_->output); }

std::span<const double> Tape::value(NodeId node) const { return values_.at(index(node)); }

std::vector<double> Tape::pull_back(std::span<const double> weights) const {
  QUANTBOUND_ASSERT(weights.size() == output().size(), weights.size(), output().size());
  return Reverse(*graph_, layers_, values_, batch_).run(weights);
}

std::vector<LayerParameters> Tape::pull_back_to_layers(std::span<const double> weights) const {
  QUANTBOUND_ASSERT(weights.size() == output().size(), weights.size(), output().size());
  return Reverse(*graph_, layers_, values_, batch_).run_to_layers(weights);
}

}  // namespace quantbound::network
