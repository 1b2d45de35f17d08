// write_onnx and write_quantized_onnx: one ONNX node per node of the graph, two for a ScaleShift that scales and shifts
// and for a layer whose weights are integers. Values bear the names of their nodes; constants those of their node and
// role ("conv1.weight").
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/network/quantized_writer.hpp"
#include "quantbound/network/writer.hpp"

#include "atomic_file.hpp"
#include "onnx_constant.hpp"

namespace quantbound::network {

namespace {

using Reals = std::vector<double>;
using Proto = ::onnx::TensorProto;

static_assert(std::endian::native == std::endian::little, "raw_data is little-endian");

/// Not inlined: GCC 12 drops the conversion to float and back of neighbours that it takes together.
[[gnu::noinline]] bool is_float(double value) {
  return std::abs(value) <= static_cast<double>(std::numeric_limits<float>::max()) &&
         static_cast<double>(static_cast<float>(value)) == value;
}

bool are_floats(const Reals& values) { return std::all_of(values.begin(), values.end(), is_float); }

bool all_equal(const Reals& values, double expected) {
  return std::all_of(values.begin(), values.end(), [&](double x) { return x == expected; });
}

/// Whether every number that becomes a tensor is a float.
bool fits_float(const Network& network) {
  for (const LayerParameters& layer : network.layers) {
    if (!are_floats(layer.weights) || !are_floats(layer.bias)) return false;
  }
  for (const Node& node : network.graph.nodes) {
    if (const auto* affine = std::get_if<ScaleShift>(&node.op)) {
      if (!are_floats(affine->scale) || !are_floats(affine->shift)) return false;
    } else if (const auto* pad = std::get_if<Pad>(&node.op)) {
      if (!is_float(pad->value)) return false;
    } else if (const auto* activation = std::get_if<Activation>(&node.op)) {
      const bool is_clip = activation->kind == ActivationKind::clip;
      for (const double bound : {activation->alpha, activation->beta})
        if (is_clip && std::isfinite(bound) && !is_float(bound)) return false;
    }
  }
  return true;
}

/// ONNX's numbers.
std::int32_t element_type(IntegerType type) {
  switch (type) {
    case IntegerType::int4:
      return detail::int4_type;
    case IntegerType::uint4:
      return detail::uint4_type;
    case IntegerType::int8:
      return Proto::INT8;
    case IntegerType::uint8:
      return Proto::UINT8;
    case IntegerType::int16:
      return Proto::INT16;
    case IntegerType::uint16:
      return Proto::UINT16;
  }
  return Proto::UNDEFINED;
}

/// The first opset whose DequantizeLinear takes the type (with an axis).
Index first_opset(IntegerType type) { return bits_of(type) == 8 ? 13 : 21; }

/// raw_data: little-endian, two elements of 4 bits in a byte, the first one in the lower half.
std::string raw_integers(std::span<const std::int32_t> values, IntegerType type) {
  const auto bits = static_cast<std::size_t>(bits_of(type));
  std::string raw((values.size() * bits + 7) / 8, '\0');
  for (std::size_t i = 0; i < values.size(); ++i) {
    QUANTBOUND_ASSERT(values[i] >= lowest(type) && values[i] <= highest(type), values[i], to_string(type));
    const auto pattern = static_cast<std::uint32_t>(values[i]) & ((1U << bits) - 1U);
    for (std::size_t bit = 0; bit < bits; bit += 8) {
      char& byte = raw[(i * bits + bit) / 8];
      byte = static_cast<char>(static_cast<unsigned char>(byte) | ((pattern >> bit) << (i * bits % 8) & 0xFFU));
    }
  }
  return raw;
}

class Writer {
 public:
  /// With `integers`, one per layer, weights are written as these and everything else as float32.
  Writer(const Network& network, const std::filesystem::path& path, std::span<const IntegerWeights> integers)
      : network_(network), path_(path), integers_(integers), type_(fits_float(network) ? Proto::FLOAT : Proto::DOUBLE) {
    for (const IntegerWeights& weights : integers) opset_ = std::max(opset_, first_opset(weights.type));
    for (const Node& node : network.graph.nodes) values_.push_back(unique(node.name.empty() ? "value" : node.name));
  }

  ::onnx::ModelProto model() {
    model_.set_producer_name("quantbound");
    graph().set_name(network_.name.empty() ? "network" : network_.name);
    describe(*graph().add_input(), 0);
    for (std::size_t id = 1; id < network_.graph.nodes.size(); ++id) {
      const Node& node = network_.graph.nodes[id];
      std::visit([&](const auto& op) { write(op, node, id); }, node.op);
    }
    describe(*graph().add_output(), static_cast<std::size_t>(network_.graph.output));
    auto* import = model_.add_opset_import();
    import->set_domain("");
    import->set_version(opset_);
    model_.set_ir_version(opset_ < 21 ? 7 : 10);
    return std::move(model_);
  }

 private:
  ::onnx::GraphProto& graph() { return *model_.mutable_graph(); }

  std::string unique(const std::string& wanted) {
    std::string name = wanted;
    for (int copy = 2; !used_.insert(name).second; ++copy) name = fmt::format("{}#{}", wanted, copy);
    return name;
  }

  [[noreturn]] void refuse(const Node& node, const std::string& message) const {
    throw core::InputError(
        fmt::format("node '{}' ({}) cannot be written as ONNX: {}", node.name, operator_name(node.op), message),
        path_.string());
  }

  void describe(::onnx::ValueInfoProto& info, std::size_t id) {
    info.set_name(values_[id]);
    auto* type = info.mutable_type()->mutable_tensor_type();
    type->set_elem_type(type_);
    type->mutable_shape()->add_dim()->set_dim_param("N");
    for (const Index extent : network_.graph.nodes[id].shape) type->mutable_shape()->add_dim()->set_dim_value(extent);
  }

  // ---- constants ---------------------------------------------------------------------------------------------------

  std::string reals(const std::string& name, const Shape& dims, const Reals& values) {
    QUANTBOUND_ASSERT(tensor::elements(dims) == std::ssize(values), name, values.size());
    Proto& tensor = add_tensor(name, dims, type_);
    std::string& raw = *tensor.mutable_raw_data();
    if (type_ == Proto::DOUBLE) {
      raw.assign(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
      return tensor.name();
    }
    raw.resize(values.size() * sizeof(float));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto value = static_cast<float>(values[i]);
      std::memcpy(raw.data() + i * sizeof(float), &value, sizeof(float));
    }
    return tensor.name();
  }

  std::string integers(const std::string& name, const std::vector<Index>& values) {
    Proto& tensor = add_tensor(name, {std::ssize(values)}, Proto::INT64);
    tensor.mutable_raw_data()->assign(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Index));
    return tensor.name();
  }

  Proto& add_tensor(const std::string& name, const Shape& dims, std::int32_t type) {
    Proto& tensor = *graph().add_initializer();
    tensor.set_name(unique(name));
    tensor.set_data_type(type);
    for (const Index extent : dims) tensor.add_dims(extent);
    return tensor;
  }

  // ---- nodes -------------------------------------------------------------------------------------------------------

  ::onnx::NodeProto& add(const std::string& op, const std::string& name, const std::vector<std::string>& inputs,
                         const std::string& output) {
    ::onnx::NodeProto& proto = *graph().add_node();
    proto.set_op_type(op);
    proto.set_name(name);
    for (const std::string& input : inputs) proto.add_input(input);
    proto.add_output(output);
    return proto;
  }
  ::onnx::NodeProto& add(const std::string& op, const Node& node, std::size_t id, std::vector<std::string> constants) {
    std::vector<std::string> inputs;
    for (const NodeId input : node.inputs) inputs.push_back(values_[static_cast<std::size_t>(input)]);
    inputs.insert(inputs.end(), constants.begin(), constants.end());
    return add(op, node.name, inputs, values_[id]);
  }

  static void set(::onnx::NodeProto& proto, const std::string& name, Index value) {
    auto* attribute = proto.add_attribute();
    attribute->set_name(name);
    attribute->set_type(::onnx::AttributeProto::INT);
    attribute->set_i(value);
  }
  static void set(::onnx::NodeProto& proto, const std::string& name, const std::vector<Index>& values) {
    auto* attribute = proto.add_attribute();
    attribute->set_name(name);
    attribute->set_type(::onnx::AttributeProto::INTS);
    for (const Index value : values) attribute->add_ints(value);
  }
  void set_real(::onnx::NodeProto& proto, const Node& node, const std::string& name, double value) const {
    if (!is_float(value)) {
      refuse(node, fmt::format("its {} {} is no float32 number, and attributes are; round it first", name, value));
    }
    auto* attribute = proto.add_attribute();
    attribute->set_name(name);
    attribute->set_type(::onnx::AttributeProto::FLOAT);
    attribute->set_f(static_cast<float>(value));
  }
  static void set_window(::onnx::NodeProto& proto, const tensor::Window& w) {
    set(proto, "kernel_shape", {w.kernel_height, w.kernel_width});
    set(proto, "strides", {w.stride_height, w.stride_width});
    set(proto, "pads", {w.pad_top, w.pad_left, w.pad_bottom, w.pad_right});
  }

  const Shape& input_shape(const Node& node) const {
    return network_.graph.nodes[static_cast<std::size_t>(node.inputs.front())].shape;
  }

  /// Names of the weights and, unless all are zero, of the biases.
  std::vector<std::string> parameters(const Node& node, Index layer, const Shape& dims) {
    const LayerParameters& of_layer = network_.layers[static_cast<std::size_t>(layer)];
    std::vector<std::string> names{integers_.empty()
                                       ? reals(node.name + ".weight", dims, of_layer.weights)
                                       : dequantize(node, dims, integers_[static_cast<std::size_t>(layer)])};
    const bool has_bias =
        std::any_of(of_layer.bias.begin(), of_layer.bias.end(), [](double b) { return b != 0.0 || std::signbit(b); });
    if (has_bias) names.push_back(reals(node.name + ".bias", {std::ssize(of_layer.bias)}, of_layer.bias));
    return names;
  }

  /// Name of what a DequantizeLinear makes of the integers.
  std::string dequantize(const Node& node, const Shape& dims, const IntegerWeights& weights) {
    const std::string name = node.name + ".weight";
    const bool by_row = weights.scales.size() > 1;
    const Shape rows = by_row ? Shape{std::ssize(weights.scales)} : Shape{};
    const std::string codes = packed(name + ".integers", dims, weights.codes, weights.type);
    const std::string scales = reals(name + ".scale", rows, Reals(weights.scales.begin(), weights.scales.end()));
    const std::string zeros = packed(name + ".zero_point", rows, weights.zero_points, weights.type);
    std::string result = unique(name);
    ::onnx::NodeProto& proto = add("DequantizeLinear", name, {codes, scales, zeros}, result);
    if (by_row) set(proto, "axis", Index{0});
    return result;
  }

  std::string packed(const std::string& name, const Shape& dims, std::span<const std::int32_t> values,
                     IntegerType type) {
    QUANTBOUND_ASSERT(tensor::elements(dims) == std::ssize(values), name, values.size());
    Proto& tensor = add_tensor(name, dims, element_type(type));
    *tensor.mutable_raw_data() = raw_integers(values, type);
    return tensor.name();
  }

  void write(const Input& /*op*/, const Node& node, std::size_t /*id*/) { QUANTBOUND_ASSERT(false, node.name); }

  void write(const Convolution& op, const Node& node, std::size_t id) {
    const tensor::Convolution& g = op.geometry;
    const Shape dims{g.channels_out, g.channels_in / g.groups, g.window.kernel_height, g.window.kernel_width};
    ::onnx::NodeProto& proto = add("Conv", node, id, parameters(node, op.layer, dims));
    set_window(proto, g.window);
    set(proto, "dilations", {g.window.dilation_height, g.window.dilation_width});
    set(proto, "group", g.groups);
  }

  void write(const Dense& op, const Node& node, std::size_t id) {
    set(add("Gemm", node, id, parameters(node, op.layer, {op.outputs, op.inputs})), "transB", Index{1});
  }

  void write(const Activation& op, const Node& node, std::size_t id) {
    switch (op.kind) {
      case ActivationKind::relu:
        add("Relu", node, id, {});
        return;
      case ActivationKind::leaky_relu:
        set_real(add("LeakyRelu", node, id, {}), node, "alpha", op.alpha);
        return;
      case ActivationKind::clip:
        add("Clip", node, id, {bound(node, ".min", op.alpha), bound(node, ".max", op.beta)});
        return;
      case ActivationKind::sigmoid:
        add("Sigmoid", node, id, {});
        return;
      case ActivationKind::tanh:
        add("Tanh", node, id, {});
        return;
      case ActivationKind::hard_swish:
        opset_ = std::max<Index>(opset_, 14);
        add("HardSwish", node, id, {});
        return;
      case ActivationKind::hard_sigmoid: {
        ::onnx::NodeProto& proto = add("HardSigmoid", node, id, {});
        set_real(proto, node, "alpha", op.alpha);
        set_real(proto, node, "beta", op.beta);
        return;
      }
    }
  }

  /// An empty name where the side is open.
  std::string bound(const Node& node, const std::string& role, double value) {
    return std::isfinite(value) ? reals(node.name + role, {}, {value}) : std::string();
  }

  void write(const Add& /*op*/, const Node& node, std::size_t id) { add("Add", node, id, {}); }
  void write(const Product& /*op*/, const Node& node, std::size_t id) { add("Mul", node, id, {}); }
  void write(const Concat& op, const Node& node, std::size_t id) {
    set(add("Concat", node, id, {}), "axis", op.axis + 1);
  }

  void write(const MaxPool& op, const Node& node, std::size_t id) {
    ::onnx::NodeProto& proto = add("MaxPool", node, id, {});
    set_window(proto, op.window);
    set(proto, "dilations", {op.window.dilation_height, op.window.dilation_width});
  }

  void write(const AveragePool& op, const Node& node, std::size_t id) {
    if (op.window.dilation_height != 1 || op.window.dilation_width != 1) {
      refuse(node, "AveragePool has no dilations before opset 19; use a depthwise convolution");
    }
    ::onnx::NodeProto& proto = add("AveragePool", node, id, {});
    set_window(proto, op.window);
    set(proto, "count_include_pad", op.divisor_includes_pads ? 1 : 0);
  }

  void write(const GlobalAveragePool& /*op*/, const Node& node, std::size_t id) {
    add("GlobalAveragePool", node, id, {});
  }

  void write(const Pad& op, const Node& node, std::size_t id) {
    std::vector<Index> pads{0};
    pads.insert(pads.end(), op.before.begin(), op.before.end());
    pads.push_back(0);
    pads.insert(pads.end(), op.after.begin(), op.after.end());
    add("Pad", node, id, {integers(node.name + ".pads", pads), reals(node.name + ".value", {}, {op.value})});
  }

  void write(const Slice& op, const Node& node, std::size_t id) {
    const Shape& in = input_shape(node);
    std::vector<Index> ends, axes;
    for (std::size_t i = 0; i < op.start.size(); ++i) {
      const Index end = op.start[i] + op.step[i] * op.count[i];
      ends.push_back(end < 0 ? -in[i] - 1 : end);  // -1 would mean the last element
      axes.push_back(static_cast<Index>(i) + 1);
    }
    add("Slice", node, id,
        {integers(node.name + ".starts", op.start), integers(node.name + ".ends", ends),
         integers(node.name + ".axes", axes), integers(node.name + ".steps", op.step)});
  }

  void write(const Permute& op, const Node& node, std::size_t id) {
    std::vector<Index> axes{0};
    for (const Index axis : op.axes) axes.push_back(axis + 1);
    set(add("Transpose", node, id, {}), "perm", axes);
  }

  void write(const Reshape& /*op*/, const Node& node, std::size_t id) {
    std::vector<Index> shape{0};  // the batch axis stays
    shape.insert(shape.end(), node.shape.begin(), node.shape.end());
    add("Reshape", node, id, {integers(node.name + ".shape", shape)});
  }

  void write(const ScaleShift& op, const Node& node, std::size_t id) {
    const bool scales = !all_equal(op.scale, 1.0), shifts = !all_equal(op.shift, 0.0) || !scales;
    const std::string scaled = scales && shifts ? unique(node.name + ".scaled") : values_[id];
    const std::string& in = values_[static_cast<std::size_t>(node.inputs.front())];
    if (scales) add("Mul", node.name, {in, broadcast(node, ".scale", op.scale)}, scaled);
    if (shifts) {
      add("Add", scales ? node.name + ".add" : node.name, {scales ? scaled : in, broadcast(node, ".shift", op.shift)},
          values_[id]);
    }
  }

  /// One number, one per channel, or one per element.
  std::string broadcast(const Node& node, const std::string& role, const Reals& values) {
    Shape dims = node.shape;
    if (std::ssize(values) != tensor::elements(node.shape)) std::fill(dims.begin() + 1, dims.end(), 1);
    if (values.size() == 1) dims = {1};
    return reals(node.name + role, dims, values);
  }

  const Network& network_;
  const std::filesystem::path& path_;
  std::span<const IntegerWeights> integers_;  ///< empty, or one per layer
  Proto::DataType type_;
  std::set<std::string> used_;
  std::vector<std::string> values_;  ///< names, by node
  ::onnx::ModelProto model_;
  Index opset_ = 13;
};

void write_model(const ::onnx::ModelProto& model, const std::filesystem::path& path) {
  std::string bytes;
  if (model.ByteSizeLong() > static_cast<std::size_t>(std::numeric_limits<int>::max()) ||
      !model.SerializeToString(&bytes)) {
    throw core::InputError(
        fmt::format("the network takes {} bytes; an ONNX file holds less than 2 GiB", model.ByteSizeLong()),
        path.string());
  }
  detail::write_file(path, bytes);
}

}  // namespace

void write_onnx(const Network& network, const std::filesystem::path& path) {
  write_model(Writer(network, path, {}).model(), path);
}

void write_quantized_onnx(const Network& network, std::span<const IntegerWeights> weights,
                          const std::filesystem::path& path) {
  QUANTBOUND_ASSERT(weights.size() == network.layers.size() && !weights.empty(), weights.size());
  for (std::size_t l = 0; l < weights.size(); ++l)
    QUANTBOUND_ASSERT(dequantized(weights[l]) == network.layers[l].weights, l);
  QUANTBOUND_ASSERT(fits_float(network), network.name);
  write_model(Writer(network, path, weights).model(), path);
}

}  // namespace quantbound::network
