// Activations, arithmetic with constants (ScaleShift) and between values (Add, Product), the final Softmax.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "onnx_operators.hpp"

namespace quantbound::network::detail {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Index max_expanded = Index{1} << 26;  // elements of a ScaleShift with one entry per element

void give_activation(Importer& importer, const OnnxNode& node, const Activation& activation) {
  const Value in = importer.value(node, 0);
  importer.give_result(node, in, importer.append(node, activation, {in.node}), in.shape);
}

bool all_equal(const Reals& values, double expected) {
  return std::all_of(values.begin(), values.end(), [&](double x) { return x == expected; });
}

/// One number for all, one per channel of the node's shape, or one per element: the shortest that says the same.
Reals shortened(Reals per_element, Index channels) {
  const auto first = per_element.begin();
  if (std::all_of(first, per_element.end(), [&](double x) { return x == *first; })) return {*first};
  const Index block = std::ssize(per_element) / channels;
  Reals per_channel;
  for (Index c = 0; c < channels; ++c) {
    const auto begin = first + c * block;
    if (!std::all_of(begin, begin + block, [&](double x) { return x == *begin; })) return per_element;
    per_channel.push_back(*begin);
  }
  return per_channel;
}

/// `constant` broadcast over x, as short as it can be told in terms of the shape of x's node.
Reals broadcast_over(const Importer& importer, const OnnxNode& node, const Constant& constant, const Value& x) {
  const Shape full = full_shape(x);
  Shape dims = constant.dims;
  const auto mismatch = [&] {
    node.refuse(fmt::format("a constant of shape {} does not broadcast over {} without enlarging it",
                            tensor::to_string(constant.dims), tensor::to_string(full)));
  };
  if (dims.size() > full.size()) mismatch();
  dims.insert(dims.begin(), full.size() - dims.size(), 1);
  for (std::size_t i = 0; i < full.size(); ++i) {
    if (dims[i] != 1 && dims[i] != full[i]) mismatch();
  }
  Reals values = constant.reals();
  const Index channels = importer.shape_of(x.node).front();
  const bool is_per_channel = !x.shape.empty() && x.shape.front() == channels && std::ssize(values) == channels &&
                              dims[full.size() - x.shape.size()] == channels;
  if (is_per_channel && all_equal(values, values.front())) return {values.front()};
  if (values.size() == 1 || is_per_channel) return values;
  const Index elements = tensor::elements(x.shape);
  if (elements > max_expanded) node.refuse("it needs a constant for each of more than 2^26 elements");
  Shape strides = row_major_strides(dims);
  for (std::size_t i = 0; i < dims.size(); ++i) strides[i] = dims[i] == 1 ? 0 : strides[i];
  return shortened(strided({dims, values}, 0, strides, full).reals(), channels);
}

Reals repeated(const Reals& values, std::size_t count) {
  Reals out;
  out.reserve(count);
  for (const double value : values) out.insert(out.end(), count / values.size(), value);
  return out;
}

void fold(LayerParameters& layer, const Reals& scale, const Reals& shift) {
  const std::size_t rows = layer.bias.size(), columns = layer.weights.size() / rows;
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t i = 0; i < columns; ++i) layer.weights[row * columns + i] *= scale[row];
    layer.bias[row] = layer.bias[row] * scale[row] + shift[row];
  }
}

Constant scalar(double value) { return {{}, Reals{value}}; }

Constant mapped(const Constant& in, double (*function)(double)) {
  Reals values = in.reals();
  std::transform(values.begin(), values.end(), values.begin(), function);
  return {in.dims, std::move(values)};
}

Constant negated(const Constant& in) {
  return mapped(in, [](double x) { return -x; });
}

Constant inverted(const OnnxNode& node, const Constant& in) {
  Constant out = mapped(in, [](double x) { return 1.0 / x; });
  for (const double value : std::get<Reals>(out.values)) {
    if (!std::isfinite(value)) node.reject("divides by a constant that has no finite inverse");
  }
  return out;
}

void import_with_constant(Importer& importer, const OnnxNode& node, Arithmetic operation) {
  const bool constant_first = importer.is_constant(node, 0);
  const Value x = importer.value(node, constant_first ? 1 : 0);
  const Constant c = importer.constant(node, constant_first ? 0 : 1);
  const Constant one = scalar(1.0), zero = scalar(0.0);
  const auto give = [&](const Constant& scale, const Constant& shift) {
    import_scale_shift(importer, node, x, scale, shift, Fold::shift_only);
  };
  switch (operation) {
    case Arithmetic::add:
      return give(one, c);
    case Arithmetic::subtract:
      return constant_first ? give(scalar(-1.0), c) : give(one, negated(c));
    case Arithmetic::multiply:
      return give(c, zero);
    case Arithmetic::divide:
      if (constant_first) node.refuse("it divides by a value computed at run time");
      return give(inverted(node, c), zero);
  }
}

/// The two operands under one shape, without reshapes where their nodes agree already.
std::vector<NodeId> aligned(Importer& importer, const OnnxNode& node, const Value& a, const Value& b) {
  if (importer.shape_of(a.node) == importer.shape_of(b.node)) return {a.node, b.node};
  const Shape& shape = importer.shape_of(a.node);
  return {a.node, importer.shaped(node, b, shape)};
}

void import_sum(Importer& importer, const OnnxNode& node, const Value& a, const Value& b, Arithmetic operation) {
  if (full_shape(a) != full_shape(b)) {
    node.refuse(fmt::format("its operands have shapes {} and {}; sums of values need equal shapes",
                            tensor::to_string(full_shape(a)), tensor::to_string(full_shape(b))));
  }
  std::vector<NodeId> operands = aligned(importer, node, a, b);
  if (operation == Arithmetic::subtract) {
    operands[1] = importer.append(node, ScaleShift{{-1.0}, {0.0}}, {operands[1]});
  }
  importer.give_result(node, a, importer.append(node, Add{}, operands), a.shape);
}

/// Whether `gate` is {c, 1, ...} beside `x` of {c, h, ...}: one factor per channel.
bool gates(const Value& gate, const Value& x) {
  const Shape &small = gate.shape, &large = x.shape;
  return gate.batch == x.batch && small.size() == large.size() && small.size() >= 2 && small.front() == large.front() &&
         std::all_of(small.begin() + 1, small.end(), [](Index extent) { return extent == 1; });
}

void import_product(Importer& importer, const OnnxNode& node, const Value& a, const Value& b) {
  if (full_shape(a) == full_shape(b)) {
    return importer.give_result(node, a, importer.append(node, Product{}, aligned(importer, node, a, b)), a.shape);
  }
  if (!gates(a, b) && !gates(b, a)) {
    node.refuse(fmt::format("its operands have shapes {} and {}; only one factor per channel is broadcast",
                            tensor::to_string(full_shape(a)), tensor::to_string(full_shape(b))));
  }
  const Value &x = gates(b, a) ? a : b, &gate = gates(b, a) ? b : a;
  const Index channels = x.shape.front();
  const Shape image = x.shape.size() == 3 ? x.shape : Shape{channels, 1, tensor::elements(x.shape) / channels};
  const NodeId large = importer.shaped(node, x, image), small = importer.shaped(node, gate, {channels, 1, 1});
  importer.give_result(node, x, importer.append(node, Product{}, {large, small}), x.shape);
}

Arithmetic arithmetic_of(const OnnxNode& node) {
  if (node.op() == "Add") return Arithmetic::add;
  if (node.op() == "Sub") return Arithmetic::subtract;
  return node.op() == "Mul" ? Arithmetic::multiply : Arithmetic::divide;
}

/// A bound of Clip, from the attribute up to opset 10 and from an input later.
double clip_bound(const Importer& importer, const OnnxNode& node, std::string_view attribute, std::size_t input,
                  double open) {
  double bound = open;
  if (node.opset() < 11) {
    bound = node.real(attribute, static_cast<float>(open));
  } else if (const auto given = importer.optional_constant(node, input)) {
    if (given->size() != 1) node.reject(fmt::format("'{}' is not one number", attribute));
    bound = given->reals().front();
  }
  // Up to opset 10 "no bound" is the largest float.
  return std::abs(bound) == static_cast<double>(std::numeric_limits<float>::max()) ? std::copysign(infinity, bound)
                                                                                   : bound;
}

}  // namespace

void import_activation(Importer& importer, const OnnxNode& node) {
  const std::string& op = node.op();
  if (op == "LeakyRelu") {
    return give_activation(importer, node, {ActivationKind::leaky_relu, node.real("alpha", 0.01F), 0.0});
  }
  if (op == "HardSigmoid") {
    return give_activation(importer, node,
                           {ActivationKind::hard_sigmoid, node.real("alpha", 0.2F), node.real("beta", 0.5F)});
  }
  static const std::map<std::string_view, ActivationKind> kinds{{"Relu", ActivationKind::relu},
                                                                {"Sigmoid", ActivationKind::sigmoid},
                                                                {"Tanh", ActivationKind::tanh},
                                                                {"HardSwish", ActivationKind::hard_swish}};
  give_activation(importer, node, {kinds.at(op), 0.0, 0.0});
}

void import_clip(Importer& importer, const OnnxNode& node) {
  check_form(node, 11, {"min", "max"});
  const double low = clip_bound(importer, node, "min", 1, -infinity);
  const double high = clip_bound(importer, node, "max", 2, infinity);
  if (low == -infinity && high == infinity) return import_identity(importer, node);
  if (low == 0.0 && high == infinity) return give_activation(importer, node, {ActivationKind::relu, 0.0, 0.0});
  give_activation(importer, node, {ActivationKind::clip, low, high});
}

void import_scale_shift(Importer& importer, const OnnxNode& node, const Value& x, const Constant& scale,
                        const Constant& shift, Fold folds) {
  Reals factors = broadcast_over(importer, node, scale, x), offsets = broadcast_over(importer, node, shift, x);
  const bool unscaled = all_equal(factors, 1.0);
  if (unscaled && all_equal(offsets, 0.0)) return importer.give(node, x);
  std::size_t count = std::max(factors.size(), offsets.size());
  LayerParameters* layer = folds == Fold::scale_too || unscaled ? importer.foldable_layer(x) : nullptr;
  if (layer != nullptr && count <= layer->bias.size()) {
    count = layer->bias.size();
    fold(*layer, repeated(factors, count), repeated(offsets, count));
    return importer.give(node, x);
  }
  if (ScaleShift* scaled = unscaled ? importer.foldable_scale(x) : nullptr) {  // x * scale, then + shift
    count = std::max(count, scaled->scale.size());
    *scaled = {repeated(scaled->scale, count), repeated(offsets, count)};
    return importer.give(node, x);
  }
  ScaleShift op{repeated(factors, count), repeated(offsets, count)};
  importer.give_result(node, x, importer.append(node, std::move(op), {x.node}), x.shape);
}

void import_arithmetic(Importer& importer, const OnnxNode& node) {
  const Arithmetic operation = arithmetic_of(node);
  if (importer.all_constant(node)) {
    return importer.give(
        node, node.guard([&] { return combined(operation, importer.constant(node, 0), importer.constant(node, 1)); }));
  }
  if (importer.is_constant(node, 0) || importer.is_constant(node, 1)) {
    return import_with_constant(importer, node, operation);
  }
  const Value a = importer.value(node, 0), b = importer.value(node, 1);
  if (operation == Arithmetic::divide) node.refuse("it divides by a value computed at run time");
  if (operation == Arithmetic::multiply) return import_product(importer, node, a, b);
  import_sum(importer, node, a, b, operation);
}

void import_softmax(Importer& importer, const OnnxNode& node) {
  const Value in = importer.value(node, 0);
  if (!importer.ends_graph(node)) node.refuse("it is read only as the last operator, where it is left out");
  const Index axis = from_front(node, node.integer("axis", node.opset() < 13 ? 1 : -1), full_shape(in).size());
  if (axis == 0 && in.batch == BatchAxis::leading) node.refuse("it runs along the batch axis");
  importer.note(fmt::format("final {} '{}' ignored: f is its input", node.op(), node.name()));
  importer.give(node, in);
}

}  // namespace quantbound::network::detail
