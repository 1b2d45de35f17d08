// Shape inference and validation of graphs. Every extent is held against a limit before it is multiplied, so that a
// damaged file ends in an error instead of an overflow or an allocation that cannot succeed.
#include <algorithm>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/graph.hpp"

namespace quantbound::network {

namespace {

constexpr Index max_elements = Index{1} << 30;  // of one value: an image of 32768 x 32768
constexpr Index max_window = Index{1} << 20;    // kernel extents, strides, pads, dilations

/// Where in which file a shape went wrong: turns a message into the error.
struct Place {
  const Operator& op;
  const std::string& node;
  const std::string& where;

  [[noreturn]] void fail(const std::string& message) const {
    throw core::InputError(fmt::format("node '{}' ({}): {}", node, operator_name(op), message), where);
  }
};

Index checked_elements(const Shape& shape, const Place& place) {
  Index product = 1;
  for (const Index extent : shape) {
    if (extent < 1) place.fail(fmt::format("shape {} has an extent below 1", tensor::to_string(shape)));
    if (extent > max_elements / product) {
      place.fail(fmt::format("shape {} has more than 2^30 elements", tensor::to_string(shape)));
    }
    product *= extent;
  }
  return product;
}

void check_window(const tensor::Window& window, const Place& place) {
  for (const Index size : {window.kernel_height, window.kernel_width, window.stride_height, window.stride_width,
                           window.dilation_height, window.dilation_width}) {
    if (size < 1 || size > max_window) place.fail(fmt::format("kernel, stride or dilation {} is out of range", size));
  }
  for (const Index pad : {window.pad_top, window.pad_left, window.pad_bottom, window.pad_right}) {
    if (pad < 0 || pad > max_window) place.fail(fmt::format("pad {} is out of range", pad));
  }
}

void check_image(const Shape& shape, const Place& place) {
  if (shape.size() != 3) {
    place.fail(fmt::format("needs {{channels, height, width}}, got {}", tensor::to_string(shape)));
  }
}

/// A pooling window that lies in the pads alone has no maximum and no average. Only windows that begin in the first
/// pad, and the last one, can.
void check_pool_axis(Index size, Index pad, Index kernel, Index stride, Index dilation, Index count,
                     const Place& place) {
  const auto check = [&](Index position) {
    const Index first = position * stride - pad;
    const Index skipped = first < 0 ? (-first + dilation - 1) / dilation : 0;
    if (skipped >= kernel || first + skipped * dilation >= size) {
      place.fail(fmt::format("window {} lies in the padding alone; make the pads smaller", position));
    }
  };
  for (Index position = 0; position < count && position * stride < pad; ++position) check(position);
  if (count > 0) check(count - 1);
}

Shape pooled(const tensor::Window& window, const Shape& in, const Place& place) {
  check_image(in, place);
  check_window(window, place);
  const Index height = window.out_height(in[1]), width = window.out_width(in[2]);
  check_pool_axis(in[1], window.pad_top, window.kernel_height, window.stride_height, window.dilation_height, height,
                  place);
  check_pool_axis(in[2], window.pad_left, window.kernel_width, window.stride_width, window.dilation_width, width,
                  place);
  return {in[0], height, width};
}

Shape convolved(const tensor::Convolution& geometry, const Shape& in, const Place& place) {
  check_image(in, place);
  check_window(geometry.window, place);
  if (Shape{geometry.channels_in, geometry.height, geometry.width} != in) {
    place.fail(fmt::format("is made for {}x{}x{}, got {}", geometry.channels_in, geometry.height, geometry.width,
                           tensor::to_string(in)));
  }
  if (geometry.groups < 1 || geometry.channels_out < 1 || geometry.channels_in % geometry.groups != 0 ||
      geometry.channels_out % geometry.groups != 0) {
    place.fail(fmt::format("{} groups do not divide {} input and {} output channels", geometry.groups,
                           geometry.channels_in, geometry.channels_out));
  }
  const Index kernel_area = geometry.window.kernel_height * geometry.window.kernel_width;
  if (kernel_area > max_elements || geometry.channels_in / geometry.groups > max_elements / kernel_area) {
    place.fail("one output channel has more than 2^30 weights");
  }
  return {geometry.channels_out, geometry.out_height(), geometry.out_width()};
}

Shape product_of(const Shape& a, const Shape& b, const Place& place) {
  const auto scales = [](const Shape& small, const Shape& large) {
    return small.size() == 3 && large.size() == 3 && small == Shape{large[0], 1, 1};
  };
  if (a == b || scales(b, a)) return a;
  if (scales(a, b)) return b;
  place.fail(fmt::format("cannot multiply {} by {}; only {{c, 1, 1}} is broadcast over {{c, h, w}}",
                         tensor::to_string(a), tensor::to_string(b)));
}

Shape concatenated(Index axis, std::span<const Shape> inputs, const Place& place) {
  Shape out = inputs.front();
  if (axis < 0 || axis >= std::ssize(out)) place.fail(fmt::format("axis {} of {}", axis, tensor::to_string(out)));
  const auto along = static_cast<std::size_t>(axis);
  out[along] = 0;
  for (Shape shape : inputs) {
    if (shape.size() != out.size()) place.fail("inputs of different rank");
    out[along] += shape[along];
    shape[along] = inputs.front()[along];
    if (shape != inputs.front()) {
      place.fail(fmt::format("inputs {} and {} differ besides axis {}", tensor::to_string(inputs.front()),
                             tensor::to_string(shape), axis));
    }
  }
  return out;
}

Shape padded(const Pad& pad, const Shape& in, const Place& place) {
  if (pad.before.size() != in.size() || pad.after.size() != in.size())
    place.fail("one pad per axis and side is needed");
  if (!std::isfinite(pad.value)) place.fail("the padding value is not finite");
  Shape out = in;
  for (std::size_t i = 0; i < in.size(); ++i) {
    for (const Index amount : {pad.before[i], pad.after[i]}) {
      if (amount < 0 || amount > max_elements) place.fail(fmt::format("pad {} is out of range", amount));
    }
    out[i] += pad.before[i] + pad.after[i];
  }
  return out;
}

Shape sliced(const Slice& slice, const Shape& in, const Place& place) {
  if (slice.start.size() != in.size() || slice.step.size() != in.size() || slice.count.size() != in.size()) {
    place.fail("start, step and count are needed for every axis");
  }
  for (std::size_t i = 0; i < in.size(); ++i) {
    const Index start = slice.start[i], step = slice.step[i], count = slice.count[i];
    const bool starts_inside = start >= 0 && start < in[i];
    const bool sane = count >= 1 && count <= in[i] && step != 0 && std::abs(step) <= max_elements;
    if (!starts_inside || !sane || start + (count - 1) * step < 0 || start + (count - 1) * step >= in[i]) {
      place.fail(fmt::format("axis {}: {} elements from {} in steps of {} do not lie in 0..{}", i, count, start, step,
                             in[i] - 1));
    }
  }
  return slice.count;
}

Shape permuted(const Permute& permute, const Shape& in, const Place& place) {
  std::vector<Index> sorted = permute.axes;
  std::sort(sorted.begin(), sorted.end());
  bool is_permutation = sorted.size() == in.size();
  for (std::size_t i = 0; is_permutation && i < sorted.size(); ++i) {
    is_permutation = sorted[i] == static_cast<Index>(i);
  }
  if (!is_permutation) place.fail(fmt::format("axes are not a permutation of those of {}", tensor::to_string(in)));
  Shape out;
  for (const Index axis : permute.axes) out.push_back(in[static_cast<std::size_t>(axis)]);
  return out;
}

void check_scale_shift(const ScaleShift& op, const Shape& in, const Place& place) {
  const Index size = std::ssize(op.scale);
  const bool fits = size == 1 || size == in.front() || size == tensor::elements(in);
  if (op.shift.size() != op.scale.size() || !fits) {
    place.fail(fmt::format("{} scales and {} shifts for {}", op.scale.size(), op.shift.size(), tensor::to_string(in)));
  }
  for (const auto* values : {&op.scale, &op.shift}) {
    for (const double value : *values) {
      if (!std::isfinite(value)) place.fail(fmt::format("a scale or shift is {}", value));
    }
  }
}

void check_activation(const Activation& activation, const Place& place) {
  const bool is_clip = activation.kind == ActivationKind::clip;
  const bool has_slope =
      activation.kind == ActivationKind::leaky_relu || activation.kind == ActivationKind::hard_sigmoid;
  if (is_clip && !(activation.alpha <= activation.beta)) {  // also refuses NaN
    place.fail(fmt::format("minimum {} is not below maximum {}", activation.alpha, activation.beta));
  }
  if (has_slope && !(activation.alpha >= 0.0 && std::isfinite(activation.alpha) && std::isfinite(activation.beta))) {
    place.fail(fmt::format("slope {}; only finite slopes of at least 0 are supported", activation.alpha));
  }
}

/// One overload per operator: the shape of its value.
struct Inference {
  std::span<const Shape> inputs;
  const Place& place;

  const Shape& in() const { return inputs.front(); }

  Shape operator()(const Input&) const { place.fail("an input inside the graph"); }
  Shape operator()(const Convolution& op) const { return convolved(op.geometry, in(), place); }
  Shape operator()(const Dense& op) const {
    if (in() != Shape{op.inputs} || op.outputs < 1) {
      place.fail(fmt::format("is made for {} inputs, got {}", op.inputs, tensor::to_string(in())));
    }
    return {op.outputs};
  }
  Shape operator()(const Activation& op) const {
    check_activation(op, place);
    return in();
  }
  Shape operator()(const Add&) const {
    if (inputs[0] == inputs[1]) return in();
    place.fail(fmt::format("cannot add {} and {}", tensor::to_string(inputs[0]), tensor::to_string(inputs[1])));
  }
  Shape operator()(const Product&) const { return product_of(inputs[0], inputs[1], place); }
  Shape operator()(const Concat& op) const { return concatenated(op.axis, inputs, place); }
  Shape operator()(const MaxPool& op) const { return pooled(op.window, in(), place); }
  Shape operator()(const AveragePool& op) const { return pooled(op.window, in(), place); }
  Shape operator()(const GlobalAveragePool&) const {
    check_image(in(), place);
    return {in()[0], 1, 1};
  }
  Shape operator()(const Pad& op) const { return padded(op, in(), place); }
  Shape operator()(const Slice& op) const { return sliced(op, in(), place); }
  Shape operator()(const Permute& op) const { return permuted(op, in(), place); }
  Shape operator()(const Reshape&) const { return {checked_elements(in(), place)}; }
  Shape operator()(const ScaleShift& op) const {
    check_scale_shift(op, in(), place);
    return in();
  }
};

void check_arity(const Operator& op, std::size_t count, const Place& place) {
  const bool two = std::holds_alternative<Add>(op) || std::holds_alternative<Product>(op);
  const bool any = std::holds_alternative<Concat>(op) && count > 0;
  const std::size_t needed = two ? 2 : (std::holds_alternative<Input>(op) ? 0 : 1);
  if (!any && count != needed) place.fail(fmt::format("has {} inputs, needs {}", count, needed));
}

/// Holds the number that a weight layer carries against the number of weight layers before it.
void check_layer_number(const Operator& op, Index& next, const Place& place) {
  Index number = 0;
  if (const auto* convolution = std::get_if<Convolution>(&op)) {
    number = convolution->layer;
  } else if (const auto* dense = std::get_if<Dense>(&op)) {
    number = dense->layer;
  } else {
    return;
  }
  if (number != next) place.fail(fmt::format("is numbered as layer {}, but is layer {}", number, next));
  ++next;
}

void check_node(const Graph& graph, std::size_t v, const Place& place) {
  const Node& node = graph.nodes[v];
  check_arity(node.op, node.inputs.size(), place);
  std::vector<Shape> shapes;
  for (const NodeId input : node.inputs) {
    if (input < 0 || input >= static_cast<NodeId>(v)) {
      place.fail(fmt::format("reads node {}, which does not come before it", input));
    }
    shapes.push_back(graph.nodes[static_cast<std::size_t>(input)].shape);
  }
  const Index elements = checked_elements(node.shape, place);
  if (v == 0) return;
  const Shape inferred = infer_shape(node.op, shapes, node.name, place.where);
  const bool fits =
      std::holds_alternative<Reshape>(node.op) ? tensor::elements(inferred) == elements : inferred == node.shape;
  if (!fits) {
    place.fail(fmt::format("has shape {}, should have {}", tensor::to_string(node.shape), tensor::to_string(inferred)));
  }
}

}  // namespace

Shape infer_shape(const Operator& op, std::span<const Shape> inputs, const std::string& node,
                  const std::string& where) {
  const Place place{op, node, where};
  check_arity(op, inputs.size(), place);
  for (const Shape& shape : inputs) {
    if (shape.empty()) place.fail("has an input without a shape");
    checked_elements(shape, place);
  }
  Shape shape = std::visit(Inference{inputs, place}, op);
  checked_elements(shape, place);
  return shape;
}

void validate(const Graph& graph, const std::string& where) {
  if (graph.nodes.empty()) throw core::InputError("the graph has no nodes", where);
  if (graph.output < 0 || graph.output >= std::ssize(graph.nodes)) {
    throw core::InputError(fmt::format("the output is node {}, which does not exist", graph.output), where);
  }
  Index next_layer = 0;
  for (std::size_t v = 0; v < graph.nodes.size(); ++v) {
    const Node& node = graph.nodes[v];
    const Place place{node.op, node.name, where};
    if (std::holds_alternative<Input>(node.op) != (v == 0)) {
      place.fail("the first node, and no other, must be the input");
    }
    if (node.shape.empty()) place.fail("has no shape");
    check_node(graph, v, place);
    check_layer_number(node.op, next_layer, place);
  }
}

}  // namespace quantbound::network
