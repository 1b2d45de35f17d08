/// One node of an ONNX graph as the operators' readers see it: inputs by position, attributes by name and type, and
/// errors that name node, operator and file. Keeps protobuf out of the code above it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "onnx_constant.hpp"

namespace onnx {
class AttributeProto;
class NodeProto;
}  // namespace onnx

namespace quantbound::network::detail {

class OnnxNode {
 public:
  OnnxNode(const ::onnx::NodeProto& proto, std::string file, Index opset);

  /// "Conv", or "domain::Conv" outside ONNX's own domain.
  const std::string& op() const { return op_; }
  /// The node's name, or that of its first output where it has none.
  const std::string& name() const { return name_; }
  Index opset() const { return opset_; }

  std::size_t input_count() const;
  /// Whether input i is given; optional inputs may be left out.
  bool has_input(std::size_t i) const;
  /// @pre has_input(i)
  const std::string& input(std::size_t i) const;
  /// Number of outputs that have a name.
  std::size_t output_count() const;
  /// Name of the first output.
  const std::string& output() const;

  std::vector<std::string> attribute_names() const;
  bool has(std::string_view attribute) const { return find(attribute) != nullptr; }
  std::int64_t integer(std::string_view attribute, std::int64_t otherwise) const;
  double real(std::string_view attribute, float otherwise) const;
  std::optional<Integers> integers(std::string_view attribute) const;
  std::string text(std::string_view attribute, std::string_view otherwise) const;
  /// The tensor of an attribute; floats and integers become constants too (Constant's value_float, value_ints, ...).
  std::optional<Constant> constant(std::string_view attribute) const;

  /// The file is wrong: a message in terms of this node.
  [[noreturn]] void reject(const std::string& message) const;
  /// The file may be right, but we do not have this form of the operator.
  [[noreturn]] void refuse(const std::string& message) const;
  /// Runs `work`, adding node and file to a ConstantError.
  template <class Work>
  auto guard(Work work) const {
    try {
      return work();
    } catch (const ConstantError& error) {
      reject(error.message);
    }
  }

 private:
  const ::onnx::AttributeProto* find(std::string_view attribute) const;

  const ::onnx::NodeProto& proto_;
  std::string file_, op_, name_;
  Index opset_;
};

}  // namespace quantbound::network::detail
