// read_onnx: the file, its opset, its one input and one output; the nodes are read by onnx_importer and onnx_operators.
#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/readers.hpp"

#include "onnx_importer.hpp"
#include "text_file.hpp"

namespace quantbound::network {

namespace {

using detail::BatchAxis;

constexpr Index oldest_opset = 7, newest_opset = 21;

::onnx::ModelProto parse(const std::filesystem::path& path) {
  const std::string bytes = detail::read_file(path);
  ::onnx::ModelProto model;
  const bool fits = bytes.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max());
  if (!fits || !model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    throw core::InputError("this is not an ONNX file, or it is cut off; export or copy it again", path.string());
  }
  if (!model.has_graph()) {
    throw core::InputError("the ONNX file holds no graph; export or copy it again", path.string());
  }
  return model;
}

Index opset_of(const ::onnx::ModelProto& model, const std::string& file) {
  for (const auto& import : model.opset_import()) {
    if (!import.domain().empty() && import.domain() != "ai.onnx") continue;
    if (import.version() >= oldest_opset && import.version() <= newest_opset) return import.version();
    throw core::InputError(fmt::format("opset {} is not read; export with opset {} to {}, or convert with "
                                       "onnx.version_converter",
                                       import.version(), oldest_opset, newest_opset),
                           file);
  }
  throw core::InputError("the ONNX file names no opset; export or copy it again", file);
}

/// The one input that is no initializer (up to IR version 3 initializers are listed as inputs too).
const ::onnx::ValueInfoProto& single_input(const ::onnx::GraphProto& graph, const std::set<std::string>& initializers,
                                           const std::string& file) {
  std::vector<const ::onnx::ValueInfoProto*> inputs;
  std::string names;
  for (const auto& input : graph.input()) {
    if (initializers.contains(input.name())) continue;
    inputs.push_back(&input);
    names += fmt::format("{}'{}'", names.empty() ? "" : ", ", input.name());
  }
  if (inputs.size() == 1) return *inputs.front();
  throw core::InputError(fmt::format("the network has {} inputs ({}); only networks with one input are read",
                                     inputs.size(), names.empty() ? "none" : names),
                         file);
}

const std::string& single_output(const ::onnx::GraphProto& graph, const std::string& file) {
  if (graph.output_size() == 1) return graph.output(0).name();
  std::string names;
  for (const auto& output : graph.output()) names += fmt::format("{}'{}'", names.empty() ? "" : ", ", output.name());
  throw core::InputError(fmt::format("the network has {} outputs ({}); only networks with one output are read: cut it "
                                     "with onnx.utils.extract_model",
                                     graph.output_size(), names.empty() ? "none" : names),
                         file);
}

struct InputShape {
  Shape per_sample;
  BatchAxis batch = BatchAxis::leading;
};

constexpr Index dynamic = -1;

/// The extents that the file states; `dynamic` where it leaves them open.
std::optional<Shape> stated_dims(const ::onnx::ValueInfoProto& input) {
  if (!input.type().has_tensor_type() || !input.type().tensor_type().has_shape()) return std::nullopt;
  Shape dims;
  for (const auto& dim : input.type().tensor_type().shape().dim()) {
    dims.push_back(dim.has_dim_value() && dim.dim_value() > 0 ? dim.dim_value() : dynamic);
  }
  return dims;
}

std::string describe(const Shape& dims) {
  std::string text;
  for (const Index extent : dims) {
    text += fmt::format("{}{}", text.empty() ? "" : "x", extent == dynamic ? "?" : std::to_string(extent));
  }
  return text.empty() ? "of a scalar" : text;
}

/// The given input shape, held against what the file states.
Shape chosen_shape(const Shape& stated, const std::optional<Shape>& given, const std::string& name,
                   const std::string& file) {
  if (!given) {
    if (std::find(stated.begin(), stated.end(), dynamic) == stated.end()) return stated;
    throw core::InputError(fmt::format("input '{}' has the open shape {} per sample; say which one: input_shape in the "
                                       "study, --input-shape on the command line",
                                       name, describe(stated)),
                           file);
  }
  bool fits = given->size() == stated.size();
  for (std::size_t i = 0; fits && i < stated.size(); ++i) fits = stated[i] == dynamic || stated[i] == (*given)[i];
  if (fits) return *given;
  throw core::InputError(fmt::format("input_shape {} does not fit input '{}', whose shape is {} per sample",
                                     tensor::to_string(*given), name, describe(stated)),
                         file);
}

InputShape input_shape_of(const ::onnx::ValueInfoProto& input, const ReadOptions& options, const std::string& file) {
  const std::optional<Shape> dims = stated_dims(input);
  if (!dims) {
    const Shape open(options.input_shape ? options.input_shape->size() : 1, dynamic);
    return {chosen_shape(open, options.input_shape, input.name(), file), BatchAxis::leading};
  }
  // One axis alone is the data, whatever its size; otherwise axis 0 is the batch if it is 1 or open.
  const bool has_batch = dims->size() >= 2 && (dims->front() == dynamic || dims->front() == 1);
  const Shape stated(dims->begin() + (has_batch ? 1 : 0), dims->end());
  return {chosen_shape(stated, options.input_shape, input.name(), file),
          has_batch ? BatchAxis::leading : BatchAxis::absent};
}

void check_input_shape(const Shape& shape, const std::string& name, const std::string& file) {
  try {
    if (shape.empty() || detail::checked_elements(shape, Index{1} << 30) == 0) {
      throw core::InputError(fmt::format("input '{}' has no elements", name), file);
    }
  } catch (const detail::ConstantError& error) {
    throw core::InputError(fmt::format("input '{}': {}", name, error.message), file);
  }
}

}  // namespace

Network read_onnx(const std::filesystem::path& path, const ReadOptions& options) {
  const std::string file = path.string();
  const ::onnx::ModelProto model = parse(path);
  const ::onnx::GraphProto& graph = model.graph();
  const Index opset = opset_of(model, file);
  std::set<std::string> known;
  for (const auto& tensor : graph.initializer()) known.insert(tensor.name());
  const ::onnx::ValueInfoProto& input = single_input(graph, known, file);
  const std::string& output = single_output(graph, file);
  const InputShape shape = input_shape_of(input, options, file);
  check_input_shape(shape.per_sample, input.name(), file);
  known.insert(input.name());

  const detail::LiveNodes live = detail::live_nodes(graph, output, known, file);
  detail::Importer importer(file, live, shape.batch);
  importer.define_input(input.name(), shape.per_sample);
  for (const auto& tensor : graph.initializer()) importer.define_initializer(tensor.name(), tensor);
  for (const int v : live.order) detail::import_node(importer, detail::OnnxNode(graph.node(v), file, opset));
  Network network = importer.finish(output, path.stem().string());
  if (network.layers.empty()) {
    throw core::InputError("the network has no weight layer (Conv, Gemm, MatMul with constant weights)", file);
  }
  validate(network.graph, file);
  validate(network, file);
  return network;
}

}  // namespace quantbound::network
