// The table of operators: what exists, how many inputs it takes, and which attributes have a meaning here. An attribute
// outside the table is an error, because ignoring it could change the function.
#include "onnx_operators.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

namespace quantbound::network::detail {

namespace {

struct OperatorRule {
  std::string_view op;
  std::size_t min_inputs, max_inputs;
  void (*import)(Importer&, const OnnxNode&);
  std::vector<std::string_view> attributes;
};

constexpr std::size_t any_number = 1000000;

const std::vector<OperatorRule>& rules() {
  static const std::vector<OperatorRule> table{
      {"Add", 2, 2, import_arithmetic, {}},
      {"AveragePool",
       1,
       1,
       import_average_pool,
       {"auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides"}},
      {"BatchNormalization", 5, 5, import_batch_normalization, {"epsilon", "momentum", "spatial", "training_mode"}},
      {"Cast", 1, 1, import_cast, {"to"}},
      {"Clip", 1, 3, import_clip, {"max", "min"}},
      {"Concat", 1, any_number, import_concat, {"axis"}},
      {"Constant", 0, 0, import_constant, {"value", "value_float", "value_floats", "value_int", "value_ints"}},
      {"ConstantOfShape", 1, 1, import_constant_of_shape, {"value"}},
      {"Conv", 2, 3, import_conv, {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"}},
      {"DequantizeLinear", 2, 3, import_dequantize_linear, {"axis", "block_size"}},
      {"Div", 2, 2, import_arithmetic, {}},
      {"Dropout", 1, 3, import_dropout, {"ratio", "seed"}},
      {"Flatten", 1, 1, import_flatten, {"axis"}},
      {"Gather", 2, 2, import_gather, {"axis"}},
      {"Gemm", 2, 3, import_gemm, {"alpha", "beta", "transA", "transB"}},
      {"GlobalAveragePool", 1, 1, import_global_average_pool, {}},
      {"HardSigmoid", 1, 1, import_activation, {"alpha", "beta"}},
      {"HardSwish", 1, 1, import_activation, {}},
      {"Identity", 1, 1, import_identity, {}},
      {"LeakyRelu", 1, 1, import_activation, {"alpha"}},
      {"LogSoftmax", 1, 1, import_softmax, {"axis"}},
      {"MatMul", 2, 2, import_matmul, {}},
      {"MaxPool",
       1,
       1,
       import_max_pool,
       {"auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"}},
      {"Mul", 2, 2, import_arithmetic, {}},
      {"Pad", 1, 4, import_pad, {"mode", "pads", "value"}},
      {"QuantizeLinear", 2, 3, import_quantize_linear, {"axis", "block_size", "output_dtype", "saturate"}},
      {"ReduceMean", 1, 2, import_reduce_mean, {"axes", "keepdims", "noop_with_empty_axes"}},
      {"Relu", 1, 1, import_activation, {}},
      {"Reshape", 2, 2, import_reshape, {"allowzero"}},
      {"Shape", 1, 1, import_shape, {"end", "start"}},
      {"Sigmoid", 1, 1, import_activation, {}},
      {"Slice", 1, 5, import_slice, {"axes", "ends", "starts"}},
      {"Softmax", 1, 1, import_softmax, {"axis"}},
      {"Squeeze", 1, 2, import_squeeze, {"axes"}},
      {"Sub", 2, 2, import_arithmetic, {}},
      {"Tanh", 1, 1, import_activation, {}},
      {"Transpose", 1, 1, import_transpose, {"perm"}},
      {"Unsqueeze", 1, 2, import_unsqueeze, {"axes"}},
  };
  return table;
}

std::string remedy(const std::string& op) {
  if (op.find("Linear") != std::string::npos || op.find("Integer") != std::string::npos) {
    return "integer networks are not read; give the float network it was made from";
  }
  std::string names;
  for (const OperatorRule& rule : rules()) names += fmt::format("{}{}", names.empty() ? "" : ", ", rule.op);
  return "export the network for inference with " + names;
}

}  // namespace

Index from_front(const OnnxNode& node, Index axis, std::size_t rank) {
  const auto n = static_cast<Index>(rank);
  if (axis < -n || axis >= n) node.reject(fmt::format("axis {} does not exist in a value of rank {}", axis, n));
  return axis < 0 ? axis + n : axis;
}

std::vector<char> marked_axes(const OnnxNode& node, const Integers& axes, std::size_t rank) {
  std::vector<char> marks(rank, 0);
  for (const Index raw : axes) {
    char& mark = marks[static_cast<std::size_t>(from_front(node, raw, rank))];
    if (mark != 0) node.reject(fmt::format("axis {} is listed twice", raw));
    mark = 1;
  }
  return marks;
}

void check_form(const OnnxNode& node, Index moved, std::initializer_list<std::string_view> attributes) {
  for (const std::string_view attribute : attributes) {
    if (node.opset() >= moved && node.has(attribute)) {
      node.reject(fmt::format("'{}' is an input since opset {}, not an attribute", attribute, moved));
    }
  }
  if (node.opset() < moved && node.input_count() > 1) {
    node.reject(fmt::format("takes attributes before opset {}, not {} inputs", moved, node.input_count()));
  }
}

void import_node(Importer& importer, const OnnxNode& node) {
  const auto rule = std::find_if(rules().begin(), rules().end(),
                                 [&](const OperatorRule& candidate) { return candidate.op == node.op(); });
  if (rule == rules().end()) node.refuse(remedy(node.op()));
  for (const std::string& name : node.attribute_names()) {
    if (std::find(rule->attributes.begin(), rule->attributes.end(), name) != rule->attributes.end()) continue;
    node.refuse(fmt::format("its attribute '{}' is unknown", name));
  }
  if (node.input_count() < rule->min_inputs || node.input_count() > rule->max_inputs) {
    node.reject(fmt::format("has {} inputs, needs {} to {}", node.input_count(), rule->min_inputs, rule->max_inputs));
  }
  for (std::size_t i = 0; i < rule->min_inputs; ++i) static_cast<void>(node.input(i));  // required inputs are there
  rule->import(importer, node);
}

}  // namespace quantbound::network::detail
