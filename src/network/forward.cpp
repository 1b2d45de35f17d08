#include "quantbound/network/forward.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/convolution.hpp"
#include "quantbound/tensor/matrix.hpp"
#include "quantbound/tensor/pooling.hpp"
#include "quantbound/tensor/rearrange.hpp"
#include "quantbound/tensor/worth_threads.hpp"

#include "image.hpp"

namespace quantbound::network {

namespace {

using Values = std::vector<double>;

/// One rearrangement per sample.
void rearrange_batch(const tensor::Rearrangement& r, Index batch, const Values& in, Index in_elements, Values& out,
                     Index out_elements) {
#pragma omp parallel for schedule(static) if (tensor::worth_threads(std::ssize(out)))
  for (Index n = 0; n < batch; ++n) tensor::rearrange(r, in.data() + n * in_elements, out.data() + n * out_elements);
}

/// The graph at one batch of samples, node after node. A value is dropped when its last reader has run.
class Evaluation {
 public:
  Evaluation(const Graph& graph, std::span<const LayerParameters> layers, Index batch)
      : graph_(graph),
        layers_(layers),
        batch_(batch),
        values_(graph.nodes.size()),
        readers_(graph.nodes.size()),
        measured_(graph.nodes.size()) {
    for (const Node& node : graph.nodes)
      for (const NodeId input : node.inputs) ++readers_[index(input)];
    ++readers_[index(graph.output)];
    for (Index layer = 0; layer < std::ssize(layers); ++layer) measured_[index(graph.measured_output(layer))] = layer;
  }

  Values run(std::span<const double> samples, const LayerVisitor& visitor) {
    values_.front().assign(samples.begin(), samples.end());
    for (std::size_t id = 0; id < graph_.nodes.size(); ++id) {
      const Node& node = graph_.nodes[id];
      if (id > 0) values_[id] = std::visit([&](const auto& op) { return apply(op, node); }, node.op);
      QUANTBOUND_ASSERT(std::ssize(values_[id]) == batch_ * tensor::elements(node.shape), node.name,
                        values_[id].size());
      if (visitor && measured_[id]) visitor(*measured_[id], values_[id]);
      for (const NodeId input : node.inputs) release(input);
      if (readers_[id] == 0) values_[id] = {};
    }
    return std::move(values_[index(graph_.output)]);
  }

 private:
  static std::size_t index(Index i) { return static_cast<std::size_t>(i); }
  const Values& input(const Node& node, std::size_t which = 0) const { return values_[index(node.inputs[which])]; }
  const Shape& input_shape(const Node& node, std::size_t which = 0) const {
    return graph_.nodes[index(node.inputs[which])].shape;
  }
  Values empty_output(const Node& node, double value = 0.0) const {
    return Values(index(batch_ * tensor::elements(node.shape)), value);
  }

  void release(NodeId id) {
    if (--readers_[index(id)] == 0) values_[index(id)] = {};
  }

  /// The input itself where this node is its only remaining reader, else a copy.
  Values take_input(const Node& node) {
    Values& value = values_[index(node.inputs.front())];
    return readers_[index(node.inputs.front())] == 1 ? std::move(value) : value;
  }

  template <class Function>
  static void for_each_element(Values& values, Function function) {
#pragma omp parallel for schedule(static) if (tensor::worth_threads(std::ssize(values)))
    for (std::ptrdiff_t i = 0; i < std::ssize(values); ++i) values.data()[i] = function(i, values.data()[i]);
  }

  Values apply(const Input&, const Node& node) const {
    QUANTBOUND_ASSERT(false, node.name);  // Only node 0 is an Input.
    return {};
  }

  Values apply(const Convolution& op, const Node& node) const {
    const LayerParameters& layer = layers_[index(op.layer)];
    return tensor::convolve(op.geometry, layer.weights, layer.bias, input(node), batch_);
  }

  Values apply(const Dense& op, const Node& node) const {
    const LayerParameters& layer = layers_[index(op.layer)];
    return tensor::dense(op.outputs, layer.weights, layer.bias, input(node), batch_);
  }

  Values apply(const Activation& op, const Node& node) {
    Values values = take_input(node);
    for_each_element(values, [&](Index, double x) { return op(x); });
    return values;
  }

  Values apply(const Add&, const Node& node) {
    Values sum = input(node);
    const double* other = input(node, 1).data();
    for_each_element(sum, [=](Index i, double x) { return x + other[i]; });
    return sum;
  }

  Values apply(const Product&, const Node& node) const {
    const bool first_is_small = input(node).size() < input(node, 1).size();
    Values product = input(node, first_is_small ? 1 : 0);
    const Values& factor = input(node, first_is_small ? 0 : 1);
    const Index repeat = std::ssize(product) / std::ssize(factor);  // the pixels of a channel when {c, 1, 1} broadcasts
    for_each_element(product, [&](Index i, double x) { return x * factor.data()[i / repeat]; });
    return product;
  }

  Values apply(const Concat& op, const Node& node) const {
    Values out = empty_output(node);
    std::vector<Index> before(node.shape.size(), 0);
    for (std::size_t which = 0; which < node.inputs.size(); ++which) {
      const Shape& shape = input_shape(node, which);
      rearrange_batch(tensor::placement(shape, node.shape, before), batch_, input(node, which), tensor::elements(shape),
                      out, tensor::elements(node.shape));
      before[index(op.axis)] += shape[index(op.axis)];
    }
    return out;
  }

  Values apply(const MaxPool& op, const Node& node) const {
    return tensor::max_pool(op.window, image_of(input_shape(node)), input(node), batch_);
  }

  Values apply(const AveragePool& op, const Node& node) const {
    return tensor::average_pool(op.window, image_of(input_shape(node)), divisor_of(op), input(node), batch_);
  }

  Values apply(const GlobalAveragePool&, const Node& node) const {
    return tensor::global_average_pool(image_of(input_shape(node)), input(node), batch_);
  }

  Values apply(const Pad& op, const Node& node) const {
    Values out = empty_output(node, op.value);
    rearrange_batch(tensor::placement(input_shape(node), node.shape, op.before), batch_, input(node),
                    tensor::elements(input_shape(node)), out, tensor::elements(node.shape));
    return out;
  }

  Values apply(const Slice& op, const Node& node) const {
    Values out = empty_output(node);
    rearrange_batch(tensor::slice(input_shape(node), op.start, op.step, op.count), batch_, input(node),
                    tensor::elements(input_shape(node)), out, tensor::elements(node.shape));
    return out;
  }

  Values apply(const Permute& op, const Node& node) const {
    Values out = empty_output(node);
    rearrange_batch(tensor::permutation(input_shape(node), op.axes), batch_, input(node),
                    tensor::elements(input_shape(node)), out, tensor::elements(node.shape));
    return out;
  }

  Values apply(const Reshape&, const Node& node) { return take_input(node); }

  Values apply(const ScaleShift& op, const Node& node) {
    Values values = take_input(node);
    const Index elements = tensor::elements(node.shape);
    const Index per_scale = elements / std::ssize(op.scale), per_shift = elements / std::ssize(op.shift);
    for_each_element(values, [&](Index i, double x) {
      const Index element = i % elements;
      return x * op.scale.data()[element / per_scale] + op.shift.data()[element / per_shift];
    });
    return values;
  }

  const Graph& graph_;
  std::span<const LayerParameters> layers_;
  Index batch_;
  std::vector<Values> values_;
  std::vector<Index> readers_;  ///< of each value, still to run
  std::vector<std::optional<Index>> measured_;
};

/// As many samples as keep a value within 32 MiB, but enough to keep threads and kernels busy.
Index samples_at_once(const Graph& graph) {
  Index largest = 1;
  for (const Node& node : graph.nodes) largest = std::max(largest, tensor::elements(node.shape));
  return std::clamp<Index>((Index{1} << 22) / largest, 8, 1024);
}

}  // namespace

std::vector<double> forward(const Graph& graph, std::span<const LayerParameters> layers,
                            std::span<const double> samples, Index batch, const LayerVisitor& visitor) {
  const Index in = tensor::elements(graph.input_shape());
  QUANTBOUND_ASSERT(std::ssize(samples) == batch * in, samples.size(), batch, in);
  if (visitor) return Evaluation(graph, layers, batch).run(samples, visitor);

  // Kernels give a sample the same bits in any batch, so cutting the batch bounds the memory and changes nothing else.
  const Index block = samples_at_once(graph);
  std::vector<double> output;
  output.reserve(static_cast<std::size_t>(batch * tensor::elements(graph.output_shape())));
  for (Index first = 0; first < batch; first += block) {
    const Index count = std::min(block, batch - first);
    const auto part = samples.subspan(static_cast<std::size_t>(first * in), static_cast<std::size_t>(count * in));
    const std::vector<double> values = Evaluation(graph, layers, count).run(part, visitor);
    output.insert(output.end(), values.begin(), values.end());
  }
  return output;
}

}  // namespace quantbound::network
