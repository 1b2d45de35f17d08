#include "onnx_importer.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

namespace quantbound::network::detail {

namespace {

std::size_t at(NodeId node) { return static_cast<std::size_t>(node); }

void renumber_layer(Operator& op, Index layer) {
  if (auto* convolution = std::get_if<Convolution>(&op)) convolution->layer = layer;
  if (auto* dense = std::get_if<Dense>(&op)) dense->layer = layer;
}

std::vector<char> needed_nodes(const std::vector<Node>& nodes, NodeId output) {
  std::vector<char> needed(nodes.size(), 0);
  needed.front() = 1;  // f has its input even where it ignores it
  needed[at(output)] = 1;
  for (std::size_t v = nodes.size(); v-- > 0;) {
    if (needed[v] == 0) continue;
    for (const NodeId input : nodes[v].inputs) needed[at(input)] = 1;
  }
  return needed;
}

/// Nodes come in topological order, so a name that stands for nothing yet is an output that no operator gives.
[[noreturn]] void refuse_second_output(const OnnxNode& node, const std::string& name) {
  node.refuse(
      fmt::format("it reads '{}', a second output of another node (mask, indices); only first outputs are read", name));
}

}  // namespace

Shape full_shape(const Value& value) {
  Shape full = value.shape;
  if (value.batch == BatchAxis::leading) full.insert(full.begin(), 1);
  return full;
}

Importer::Importer(std::string file, const LiveNodes& live, BatchAxis input_batch)
    : file_(std::move(file)), input_batch_(input_batch), readers_(live.readers), tail_(live.tail) {}

void Importer::define_input(const std::string& name, const Shape& per_sample) {
  nodes_.push_back({name, Input{}, {}, per_sample});
  node_names_[name] = 1;
  names_.emplace(name, Value{0, per_sample, input_batch_, Readers::exclusive});
}

void Importer::define_initializer(const std::string& name, const ::onnx::TensorProto& tensor) {
  initializers_.emplace(name, &tensor);
}

bool Importer::is_constant(const OnnxNode& node, std::size_t input) const {
  const std::string& name = node.input(input);
  if (initializers_.contains(name)) return true;
  const auto found = names_.find(name);
  return found != names_.end() && std::holds_alternative<Constant>(found->second);
}

bool Importer::all_constant(const OnnxNode& node) const {
  for (std::size_t i = 0; i < node.input_count(); ++i) {
    if (node.has_input(i) && !is_constant(node, i)) return false;
  }
  return true;
}

Constant Importer::constant(const OnnxNode& node, std::size_t input) const {
  const std::string& name = node.input(input);
  if (const auto found = initializers_.find(name); found != initializers_.end()) {
    try {
      return decode(*found->second);
    } catch (const ConstantError& error) {
      node.reject(fmt::format("initializer '{}': {}", name, error.message));
    }
  }
  const auto found = names_.find(name);
  if (found == names_.end()) refuse_second_output(node, name);
  if (const auto* constant = std::get_if<Constant>(&found->second)) return *constant;
  node.refuse(fmt::format("its input {} '{}' is computed at run time; only constants are read there", input, name));
}

Shape Importer::dims(const OnnxNode& node, std::size_t input) const {
  return is_constant(node, input) ? constant(node, input).dims : full_shape(value(node, input));
}

std::optional<Constant> Importer::optional_constant(const OnnxNode& node, std::size_t input) const {
  if (!node.has_input(input)) return std::nullopt;
  return constant(node, input);
}

std::optional<Integers> Importer::optional_integers(const OnnxNode& node, std::size_t input) const {
  const std::optional<Constant> found = optional_constant(node, input);
  if (!found) return std::nullopt;
  if (!found->is_integral()) node.reject(fmt::format("input {} is not a list of integers", input));
  return std::get<Integers>(found->values);
}

const Value* Importer::find_value(const std::string& name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : std::get_if<Value>(&found->second);
}

Value Importer::value(const OnnxNode& node, std::size_t input) const {
  const std::string& name = node.input(input);
  const Value* found = find_value(name);
  if (found == nullptr && !is_constant(node, input)) refuse_second_output(node, name);
  if (found == nullptr) {
    node.refuse(fmt::format("its input {} '{}' is a constant; fold constants first (onnxsim does)", input, name));
  }
  Value value = *found;
  const auto readers = readers_.find(name);
  if (readers != readers_.end() && readers->second > 1) value.readers = Readers::several;
  return value;
}

void Importer::give(const OnnxNode& node, Constant constant) {
  names_.insert_or_assign(node.output(), std::move(constant));
}

void Importer::give(const OnnxNode& node, Value value) { names_.insert_or_assign(node.output(), std::move(value)); }

void Importer::give_result(const OnnxNode& node, const Value& in, NodeId result, Shape per_sample) {
  give(node, Value{result, std::move(per_sample), in.batch, Readers::exclusive});
}

void Importer::give_reshaped(const OnnxNode& node, const Value& in, const Shape& full) {
  const bool leads = full.size() >= 2 && full.front() == 1;
  if (in.batch == BatchAxis::leading && has_batch_axis() && !(leads || full == Shape{1})) {
    node.refuse(
        fmt::format("it turns {} into {} and so moves the batch axis; export it so that axis 0 stays the batch "
                    "(Flatten with axis=1)",
                    tensor::to_string(full_shape(in)), tensor::to_string(full)));
  }
  Value out = in;
  out.batch = leads || (has_batch_axis() && in.batch == BatchAxis::leading) ? BatchAxis::leading : BatchAxis::absent;
  out.shape = full;
  if (out.batch == BatchAxis::leading) out.shape.erase(out.shape.begin());
  give(node, std::move(out));
}

NodeId Importer::append(const OnnxNode& node, Operator op, const std::vector<NodeId>& inputs) {
  std::vector<Shape> shapes;
  shapes.reserve(inputs.size());
  for (const NodeId input : inputs) shapes.push_back(shape_of(input));
  const int copies = node_names_[node.name()]++;
  std::string name = copies == 0 ? node.name() : fmt::format("{}#{}", node.name(), copies + 1);
  Shape shape = infer_shape(op, shapes, name, file_);
  nodes_.push_back({std::move(name), std::move(op), inputs, std::move(shape)});
  return std::ssize(nodes_) - 1;
}

NodeId Importer::append_layer(const OnnxNode& node, Operator op, NodeId input, LayerParameters parameters) {
  const NodeId layer = append(node, std::move(op), {input});
  layers_.emplace(layer, std::move(parameters));
  return layer;
}

NodeId Importer::shaped(const OnnxNode& node, const Value& value, const Shape& shape) {
  if (shape_of(value.node) == shape) return value.node;
  QUANTBOUND_ASSERT(tensor::elements(shape) == tensor::elements(shape_of(value.node)), tensor::to_string(shape));
  // The Reshape comes before the node that asked for it and leaves that node its plain name.
  std::string name = fmt::format("{}/reshape{}", node.name(), node_names_[node.name() + "/reshape"]++);
  nodes_.push_back({std::move(name), Reshape{}, {value.node}, shape});
  return std::ssize(nodes_) - 1;
}

LayerParameters* Importer::foldable_layer(const Value& value) {
  const auto layer = layers_.find(value.node);
  return layer == layers_.end() || value.readers == Readers::several ? nullptr : &layer->second;
}

ScaleShift* Importer::foldable_scale(const Value& value) {
  auto* affine = std::get_if<ScaleShift>(&nodes_[at(value.node)].op);
  if (affine == nullptr || value.readers == Readers::several) return nullptr;
  const bool shifts = std::any_of(affine->shift.begin(), affine->shift.end(), [](double x) { return x != 0.0; });
  return shifts ? nullptr : affine;
}

Network Importer::finish(const std::string& output, std::string name) {
  const Value* result = find_value(output);
  if (result == nullptr) {
    throw core::InputError(fmt::format("the output '{}' is a constant, or a second output of its node", output), file_);
  }
  Network network;
  NodeId last = result->node;
  const Shape shape = result->shape.empty() ? Shape{1} : result->shape;
  if (shape_of(last) != shape) {
    nodes_.push_back({output, Reshape{}, {last}, shape});
    last = std::ssize(nodes_) - 1;
  }
  const std::vector<char> needed = needed_nodes(nodes_, last);
  std::vector<NodeId> renumbered(nodes_.size(), -1);
  for (std::size_t v = 0; v < nodes_.size(); ++v) {
    if (needed[v] == 0) continue;
    renumbered[v] = std::ssize(network.graph.nodes);
    Node node = std::move(nodes_[v]);
    for (NodeId& input : node.inputs) input = renumbered[at(input)];
    if (const auto layer = layers_.find(static_cast<NodeId>(v)); layer != layers_.end()) {
      renumber_layer(node.op, std::ssize(network.layers));
      network.layers.push_back(std::move(layer->second));
    }
    network.graph.nodes.push_back(std::move(node));
  }
  network.graph.output = renumbered[at(last)];
  network.name = std::move(name);
  network.notes = std::move(notes_);
  return network;
}

}  // namespace quantbound::network::detail
