#include "linear_operators.hpp"

#include <algorithm>
#include <cmath>

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/adjoint.hpp"
#include "quantbound/tensor/convolution.hpp"
#include "quantbound/tensor/matrix.hpp"
#include "quantbound/tensor/pooling.hpp"
#include "quantbound/tensor/rearrange.hpp"

namespace quantbound::certify::detail {

namespace {

using network::Node;
using network::Shape;
using tensor::Rearrangement;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

tensor::Image image_of(const Shape& shape) { return {shape[0], shape[1], shape[2]}; }
tensor::Divisor divisor_of(const network::AveragePool& op) {
  return op.divisor_includes_pads ? tensor::Divisor::window : tensor::Divisor::inside;
}

/// Which constant of a ScaleShift belongs to an element.
std::size_t constant_index(const std::vector<double>& constants, const Shape& shape, std::size_t element) {
  if (constants.size() == 1) return 0;
  const std::size_t size = at(tensor::elements(shape));
  return constants.size() == size ? element : element / (size / at(shape.front()));
}

void scale_rows(const network::ScaleShift& op, const Shape& shape, Values& values) {
  const std::size_t size = at(tensor::elements(shape));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] *= op.scale[constant_index(op.scale, shape, i % size)];
}

/// How the elements of input `which` are moved to the output, where the operator only moves.
Rearrangement movement(const Graph& graph, const Node& node, std::size_t which) {
  const Shape& in = graph.nodes[at(node.inputs[which])].shape;
  if (const auto* op = std::get_if<network::Pad>(&node.op)) return tensor::placement(in, node.shape, op->before);
  if (const auto* op = std::get_if<network::Slice>(&node.op)) return tensor::slice(in, op->start, op->step, op->count);
  if (const auto* op = std::get_if<network::Permute>(&node.op)) return tensor::permutation(in, op->axes);
  const auto& concat = std::get<network::Concat>(node.op);
  std::vector<Index> before(node.shape.size(), 0);
  for (std::size_t i = 0; i < which; ++i)
    before[at(concat.axis)] += graph.nodes[at(node.inputs[i])].shape[at(concat.axis)];
  return tensor::placement(in, node.shape, before);
}

bool only_moves(const network::Operator& op) {
  return std::holds_alternative<network::Pad>(op) || std::holds_alternative<network::Slice>(op) ||
         std::holds_alternative<network::Permute>(op) || std::holds_alternative<network::Concat>(op);
}

}  // namespace

bool is_affine(const network::Operator& op) {
  return only_moves(op) || layer_of(op) >= 0 || std::holds_alternative<network::Add>(op) ||
         std::holds_alternative<network::AveragePool>(op) || std::holds_alternative<network::GlobalAveragePool>(op) ||
         std::holds_alternative<network::Reshape>(op) || std::holds_alternative<network::ScaleShift>(op);
}

Index layer_of(const network::Operator& op) {
  if (const auto* dense = std::get_if<network::Dense>(&op)) return dense->layer;
  if (const auto* convolution = std::get_if<network::Convolution>(&op)) return convolution->layer;
  return -1;
}

Values forward_linear(const Graph& graph, NodeId id, std::span<const double> weights,
                      std::span<const Values* const> inputs, Index rows) {
  const Node& node = graph.nodes[at(id)];
  const Values& in = *inputs.front();
  const Shape& shape = graph.nodes[at(node.inputs.front())].shape;
  if (const auto* op = std::get_if<network::Dense>(&node.op)) return tensor::dense(op->outputs, weights, {}, in, rows);
  if (const auto* op = std::get_if<network::Convolution>(&node.op))
    return tensor::convolve(op->geometry, weights, {}, in, rows);
  if (const auto* op = std::get_if<network::AveragePool>(&node.op))
    return tensor::average_pool(op->window, image_of(shape), divisor_of(*op), in, rows);
  if (std::holds_alternative<network::GlobalAveragePool>(node.op))
    return tensor::global_average_pool(image_of(shape), in, rows);
  Values out = in;
  if (const auto* op = std::get_if<network::ScaleShift>(&node.op)) scale_rows(*op, node.shape, out);
  if (std::holds_alternative<network::Add>(node.op))
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += (*inputs[1])[i];
  if (!only_moves(node.op)) return out;
  const Index size = tensor::elements(node.shape);
  out.assign(at(rows * size), 0.0);
  for (std::size_t which = 0; which < inputs.size(); ++which) {
    const Rearrangement move = movement(graph, node, which);
    const Index in_size = std::ssize(*inputs[which]) / rows;
    for (Index r = 0; r < rows; ++r)
      tensor::rearrange(move, inputs[which]->data() + r * in_size, out.data() + r * size);
  }
  return out;
}

Values constant_part(const Graph& graph, NodeId id, std::span<const double> bias) {
  const Node& node = graph.nodes[at(id)];
  const std::size_t size = at(tensor::elements(node.shape));
  Values constants(size, 0.0);
  if (layer_of(node.op) >= 0)
    for (std::size_t i = 0; i < size; ++i) constants[i] = bias[i / (size / bias.size())];
  if (const auto* op = std::get_if<network::ScaleShift>(&node.op))
    for (std::size_t i = 0; i < size; ++i) constants[i] = op->shift[constant_index(op->shift, node.shape, i)];
  if (const auto* op = std::get_if<network::Pad>(&node.op)) {
    constants.assign(size, op->value);
    const Values zeros(at(tensor::elements(graph.nodes[at(node.inputs.front())].shape)), 0.0);
    tensor::rearrange(movement(graph, node, 0), zeros.data(), constants.data());
  }
  return constants;
}

std::vector<Values> backward_linear(const Graph& graph, NodeId id, std::span<const double> weights,
                                    const Values& coefficients, Index rows) {
  const Node& node = graph.nodes[at(id)];
  const Shape& shape = graph.nodes[at(node.inputs.front())].shape;
  if (const auto* op = std::get_if<network::Dense>(&node.op))
    return {tensor::dense_adjoint(op->outputs, weights, coefficients, rows)};
  if (const auto* op = std::get_if<network::Convolution>(&node.op))
    return {tensor::convolve_adjoint(op->geometry, weights, coefficients, rows)};
  if (const auto* op = std::get_if<network::AveragePool>(&node.op))
    return {tensor::average_pool_adjoint(op->window, image_of(shape), divisor_of(*op), coefficients, rows)};
  if (std::holds_alternative<network::GlobalAveragePool>(node.op))
    return {tensor::global_average_pool_adjoint(image_of(shape), coefficients, rows)};
  if (std::holds_alternative<network::Add>(node.op)) return {coefficients, coefficients};
  if (const auto* op = std::get_if<network::ScaleShift>(&node.op)) {
    Values scaled = coefficients;
    scale_rows(*op, node.shape, scaled);
    return {std::move(scaled)};
  }
  if (!only_moves(node.op)) return {coefficients};
  const Index size = tensor::elements(node.shape);
  std::vector<Values> result;
  for (std::size_t which = 0; which < node.inputs.size(); ++which) {
    const Rearrangement move = movement(graph, node, which);
    const Index in_size = tensor::elements(graph.nodes[at(node.inputs[which])].shape);
    result.emplace_back(at(rows * in_size), 0.0);
    for (Index r = 0; r < rows; ++r)
      tensor::rearrange_adjoint(move, coefficients.data() + r * size, result.back().data() + r * in_size);
  }
  return result;
}

Index backward_terms(const Graph& graph, NodeId id) {
  const Node& node = graph.nodes[at(id)];
  if (const auto* op = std::get_if<network::Dense>(&node.op)) return op->outputs;
  if (const auto* op = std::get_if<network::Convolution>(&node.op))
    return op->geometry.channels_out * op->geometry.window.kernel_height * op->geometry.window.kernel_width;
  if (const auto* op = std::get_if<network::AveragePool>(&node.op))
    return op->window.kernel_height * op->window.kernel_width + 2;
  return std::holds_alternative<network::GlobalAveragePool>(node.op) ||
                 std::holds_alternative<network::ScaleShift>(node.op)
             ? 2
             : 0;
}

Index forward_terms(const Graph& graph, NodeId id) {
  const Node& node = graph.nodes[at(id)];
  if (const auto* op = std::get_if<network::Dense>(&node.op)) return op->inputs;
  if (const auto* op = std::get_if<network::Convolution>(&node.op)) return op->geometry.fan_in();
  if (const auto* op = std::get_if<network::AveragePool>(&node.op))
    return op->window.kernel_height * op->window.kernel_width + 2;
  if (std::holds_alternative<network::GlobalAveragePool>(node.op)) {
    const Shape& shape = graph.nodes[at(node.inputs.front())].shape;
    return shape[1] * shape[2] + 2;
  }
  return 2;
}

}  // namespace quantbound::certify::detail
