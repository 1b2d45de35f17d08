/// Small ONNX models written in memory, for the tests of the reader. Every helper says what ends up in the file, so
/// that a test can also write what a reader must refuse.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>
#include <unistd.h>

#include "quantbound/network/forward.hpp"
#include "quantbound/network/readers.hpp"

namespace quantbound::network::testing {

using Integers = std::vector<std::int64_t>;
using Reals = std::vector<double>;

struct Attribute {
  std::string name;
  std::variant<std::int64_t, float, std::string, Integers> value;
};
inline Attribute integer(std::string name, std::int64_t value) { return {std::move(name), value}; }
inline Attribute real(std::string name, float value) { return {std::move(name), value}; }
inline Attribute text(std::string name, std::string value) { return {std::move(name), std::move(value)}; }
inline Attribute integers(std::string name, Integers value) { return {std::move(name), std::move(value)}; }

/// A float tensor; test values are floats, so that nothing is rounded.
inline ::onnx::TensorProto float_tensor(const std::string& name, const Integers& dims, const Reals& values) {
  ::onnx::TensorProto tensor;
  tensor.set_name(name);
  tensor.set_data_type(::onnx::TensorProto::FLOAT);
  for (const std::int64_t dim : dims) tensor.add_dims(dim);
  for (const double value : values) tensor.add_float_data(static_cast<float>(value));
  return tensor;
}

inline ::onnx::TensorProto integer_tensor(const std::string& name, const Integers& dims, const Integers& values) {
  ::onnx::TensorProto tensor;
  tensor.set_name(name);
  tensor.set_data_type(::onnx::TensorProto::INT64);
  for (const std::int64_t dim : dims) tensor.add_dims(dim);
  for (const std::int64_t value : values) tensor.add_int64_data(value);
  return tensor;
}

class OnnxModel {
 public:
  explicit OnnxModel(std::int64_t opset = 13) {
    proto_.set_ir_version(7);
    auto* import = proto_.add_opset_import();
    import->set_domain("");
    import->set_version(opset);
    proto_.mutable_graph()->set_name("test");
  }

  /// -1 leaves a dimension open.
  OnnxModel& input(const std::string& name, const Integers& dims) {
    auto* value = graph().add_input();
    value->set_name(name);
    auto* type = value->mutable_type()->mutable_tensor_type();
    type->set_elem_type(::onnx::TensorProto::FLOAT);
    type->mutable_shape();
    for (const std::int64_t dim : dims) {
      auto* entry = type->mutable_shape()->add_dim();
      if (dim < 0) entry->set_dim_param("N");
      if (dim >= 0) entry->set_dim_value(dim);
    }
    return *this;
  }
  OnnxModel& output(const std::string& name) {
    graph().add_output()->set_name(name);
    return *this;
  }
  OnnxModel& tensor(const std::string& name, const Integers& dims, const Reals& values) {
    *graph().add_initializer() = float_tensor(name, dims, values);
    return *this;
  }
  OnnxModel& integer_list(const std::string& name, const Integers& values) {
    *graph().add_initializer() = integer_tensor(name, {std::ssize(values)}, values);
    return *this;
  }
  OnnxModel& node(const std::string& op, const std::vector<std::string>& inputs, const std::string& result,
                  const std::vector<Attribute>& attributes = {}) {
    auto* added = graph().add_node();
    added->set_op_type(op);
    added->set_name(op + "_" + result);
    for (const std::string& name : inputs) added->add_input(name);
    added->add_output(result);
    for (const Attribute& attribute : attributes) add_attribute(*added, attribute);
    return *this;
  }
  /// y = flattened x times the identity, so that f shows the elements of x; and the output of the model.
  OnnxModel& show(const std::string& x, std::int64_t elements) {
    Reals identity(static_cast<std::size_t>(elements * elements), 0.0);
    for (std::int64_t i = 0; i < elements; ++i) identity[static_cast<std::size_t>(i * (elements + 1))] = 1.0;
    tensor("show.weights", {elements, elements}, identity);
    node("Flatten", {x}, "show.flat").node("Gemm", {"show.flat", "show.weights"}, "show");
    return output("show");
  }

  ::onnx::ModelProto& proto() { return proto_; }
  ::onnx::GraphProto& graph() { return *proto_.mutable_graph(); }
  std::string bytes() const { return proto_.SerializeAsString(); }

 private:
  static void add_attribute(::onnx::NodeProto& node, const Attribute& attribute) {
    auto* added = node.add_attribute();
    added->set_name(attribute.name);
    if (const auto* value = std::get_if<std::int64_t>(&attribute.value)) {
      added->set_type(::onnx::AttributeProto::INT);
      added->set_i(*value);
    } else if (const auto* number = std::get_if<float>(&attribute.value)) {
      added->set_type(::onnx::AttributeProto::FLOAT);
      added->set_f(*number);
    } else if (const auto* string = std::get_if<std::string>(&attribute.value)) {
      added->set_type(::onnx::AttributeProto::STRING);
      added->set_s(*string);
    } else {
      added->set_type(::onnx::AttributeProto::INTS);
      for (const std::int64_t entry : std::get<Integers>(attribute.value)) added->add_ints(entry);
    }
  }

  ::onnx::ModelProto proto_;
};

/// A file that goes away with the object.
class TemporaryFile {
 public:
  TemporaryFile(const std::string& bytes, const std::string& extension) {
    static int counter = 0;
    path_ = std::filesystem::path(::testing::TempDir()) /
            ("quantbound_" + std::to_string(::getpid()) + "_" + std::to_string(counter++) + extension);
    write(bytes);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { std::filesystem::remove(path_); }

  void write(const std::string& bytes) const {
    std::filesystem::remove(path_);  // overwriting in place makes ext4 wait for the disk
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline Network load(const OnnxModel& model, const ReadOptions& options = {}) {
  return read_onnx(TemporaryFile(model.bytes(), ".onnx").path(), options);
}

/// f of the model at one input.
inline Reals evaluate(const OnnxModel& model, const Reals& input) {
  const Network network = load(model);
  EXPECT_EQ(tensor::elements(network.graph.input_shape()), std::ssize(input));
  return forward(network.graph, network.layers, input, 1);
}

/// Names of the operators of a graph, in order, the input left out.
inline std::vector<std::string> operators(const Graph& graph) {
  std::vector<std::string> names;
  for (std::size_t v = 1; v < graph.nodes.size(); ++v) names.emplace_back(operator_name(graph.nodes[v].op));
  return names;
}

/// 0.25, 0.5, ... : exact in every format, all different.
inline Reals ramp(std::int64_t count, double first = 0.25, double step = 0.25) {
  Reals values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(first + step * static_cast<double>(i));
  return values;
}

/// Numbers that look random and are multiples of 1/16 in [-2, 2).
inline Reals scattered(std::int64_t count, std::uint32_t state = 1) {
  Reals values;
  for (std::int64_t i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    values.push_back(static_cast<double>(state >> 26) / 16.0 - 2.0);
  }
  return values;
}

inline void expect_near(const Reals& actual, const Reals& expected, double tolerance = 1e-12) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], tolerance) << "element " << i;
}

}  // namespace quantbound::network::testing
