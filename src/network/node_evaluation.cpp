#include "node_evaluation.hpp"

#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/convolution.hpp"
#include "quantbound/tensor/matrix.hpp"
#include "quantbound/tensor/pooling.hpp"
#include "quantbound/tensor/worth_threads.hpp"

#include "image.hpp"

namespace quantbound::network::detail {

namespace {

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

/// One rearrangement per sample.
void rearrange_batch(const tensor::Rearrangement& r, Index batch, const Values& in, Index in_elements, Values& out,
                     Index out_elements) {
#pragma omp parallel for schedule(static) if (tensor::worth_threads(std::ssize(out)))
  for (Index n = 0; n < batch; ++n) tensor::rearrange(r, in.data() + n * in_elements, out.data() + n * out_elements);
}

template <class Function>
void for_each_element(Values& values, Function function) {
#pragma omp parallel for schedule(static) if (tensor::worth_threads(std::ssize(values)))
  for (std::ptrdiff_t i = 0; i < std::ssize(values); ++i) values.data()[i] = function(i, values.data()[i]);
}

}  // namespace

tensor::Rearrangement placement_in_concat(const Graph& graph, const Concat& op, const Node& node, std::size_t which) {
  std::vector<Index> before(node.shape.size(), 0);
  for (std::size_t i = 0; i < which; ++i)
    before[index(op.axis)] += graph.nodes[index(node.inputs[i])].shape[index(op.axis)];
  return tensor::placement(graph.nodes[index(node.inputs[which])].shape, node.shape, before);
}

tensor::Rearrangement rearrangement_of(const Pad& op, const Shape& in, const Shape& out) {
  return tensor::placement(in, out, op.before);
}

tensor::Rearrangement rearrangement_of(const Slice& op, const Shape& in, const Shape& /*out*/) {
  return tensor::slice(in, op.start, op.step, op.count);
}

tensor::Rearrangement rearrangement_of(const Permute& op, const Shape& in, const Shape& /*out*/) {
  return tensor::permutation(in, op.axes);
}

Values NodeEvaluation::evaluate(const Node& node, FirstInput first_input) {
  Values values = std::visit([&](const auto& op) { return apply(op, node, first_input); }, node.op);
  QUANTBOUND_ASSERT(std::ssize(values) == batch_ * tensor::elements(node.shape), node.name, values.size());
  return values;
}

const Values& NodeEvaluation::input(const Node& node, std::size_t which) const {
  return values_[index(node.inputs[which])];
}

const Shape& NodeEvaluation::input_shape(const Node& node, std::size_t which) const {
  return graph_.nodes[index(node.inputs[which])].shape;
}

Values NodeEvaluation::take_input(const Node& node, FirstInput first_input) {
  Values& value = values_[index(node.inputs.front())];
  return first_input == FirstInput::last_use ? std::move(value) : value;
}

Values NodeEvaluation::rearranged(const tensor::Rearrangement& r, const Node& node, double fill) const {
  const Index elements = tensor::elements(node.shape);
  Values out(index(batch_ * elements), fill);
  rearrange_batch(r, batch_, input(node), tensor::elements(input_shape(node)), out, elements);
  return out;
}

Values NodeEvaluation::apply(const Input& /*op*/, const Node& node, FirstInput /*first_input*/) const {
  QUANTBOUND_ASSERT(false, node.name);  // Only node 0 is an Input.
  return {};
}

Values NodeEvaluation::apply(const Convolution& op, const Node& node, FirstInput /*first_input*/) const {
  const LayerParameters& layer = layers_[index(op.layer)];
  return tensor::convolve(op.geometry, layer.weights, layer.bias, input(node), batch_);
}

Values NodeEvaluation::apply(const Dense& op, const Node& node, FirstInput /*first_input*/) const {
  const LayerParameters& layer = layers_[index(op.layer)];
  return tensor::dense(op.outputs, layer.weights, layer.bias, input(node), batch_);
}

Values NodeEvaluation::apply(const Activation& op, const Node& node, FirstInput first_input) {
  Values values = take_input(node, first_input);
  for_each_element(values, [&](Index, double x) { return op(x); });
  return values;
}

Values NodeEvaluation::apply(const Add& /*op*/, const Node& node, FirstInput /*first_input*/) const {
  Values sum = input(node);
  const double* other = input(node, 1).data();
  for_each_element(sum, [=](Index i, double x) { return x + other[i]; });
  return sum;
}

Values NodeEvaluation::apply(const Product& /*op*/, const Node& node, FirstInput /*first_input*/) const {
  const bool first_is_small = input(node).size() < input(node, 1).size();
  Values product = input(node, first_is_small ? 1 : 0);
  const Values& factor = input(node, first_is_small ? 0 : 1);
  const Index repeat = std::ssize(product) / std::ssize(factor);  // the pixels of a channel when {c, 1, 1} broadcasts
  for_each_element(product, [&](Index i, double x) { return x * factor.data()[i / repeat]; });
  return product;
}

Values NodeEvaluation::apply(const Concat& op, const Node& node, FirstInput /*first_input*/) const {
  const Index elements = tensor::elements(node.shape);
  Values out(index(batch_ * elements), 0.0);
  for (std::size_t which = 0; which < node.inputs.size(); ++which)
    rearrange_batch(placement_in_concat(graph_, op, node, which), batch_, input(node, which),
                    tensor::elements(input_shape(node, which)), out, elements);
  return out;
}

Values NodeEvaluation::apply(const MaxPool& op, const Node& node, FirstInput /*first_input*/) const {
  return tensor::max_pool(op.window, image_of(input_shape(node)), input(node), batch_);
}

Values NodeEvaluation::apply(const AveragePool& op, const Node& node, FirstInput /*first_input*/) const {
  return tensor::average_pool(op.window, image_of(input_shape(node)), divisor_of(op), input(node), batch_);
}

Values NodeEvaluation::apply(const GlobalAveragePool& /*op*/, const Node& node, FirstInput /*first_input*/) const {
  return tensor::global_average_pool(image_of(input_shape(node)), input(node), batch_);
}

Values NodeEvaluation::apply(const Pad& op, const Node& node, FirstInput /*first_input*/) const {
  return rearranged(rearrangement_of(op, input_shape(node), node.shape), node, op.value);
}

Values NodeEvaluation::apply(const Slice& op, const Node& node, FirstInput /*first_input*/) const {
  return rearranged(rearrangement_of(op, input_shape(node), node.shape), node, 0.0);
}

Values NodeEvaluation::apply(const Permute& op, const Node& node, FirstInput /*first_input*/) const {
  return rearranged(rearrangement_of(op, input_shape(node), node.shape), node, 0.0);
}

Values NodeEvaluation::apply(const Reshape& /*op*/, const Node& node, FirstInput first_input) {
  return take_input(node, first_input);
}

Values NodeEvaluation::apply(const ScaleShift& op, const Node& node, FirstInput first_input) {
  Values values = take_input(node, first_input);
  const Index elements = tensor::elements(node.shape);
  const Index per_scale = elements / std::ssize(op.scale), per_shift = elements / std::ssize(op.shift);
  for_each_element(values, [&](Index i, double x) {
    const Index element = i % elements;
    return x * op.scale.data()[element / per_scale] + op.shift.data()[element / per_shift];
  });
  return values;
}

}  // namespace quantbound::network::detail
