/// The state of reading an ONNX graph: what every name stands for, and the graph of network/graph.hpp as it grows. f is
/// the graph at batch size 1, and the axis of the batch does not exist inside.
///
/// A name stands for a Constant or for a Value. A Value keeps the shape that ONNX gives it beside the node that holds
/// its elements: Flatten, Reshape and their like only change the former, and a Reshape node is written down when an
/// operator needs the shape. So the graph has no reshapes that nothing needs, and a bias finds its layer behind a
/// Flatten.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "quantbound/network/network.hpp"

#include "onnx_node.hpp"
#include "onnx_order.hpp"

namespace onnx {
class TensorProto;
}

namespace quantbound::network::detail {

/// Whether ONNX's shape of a value begins with an axis of size 1 for the batch.
enum class BatchAxis { leading, absent };
/// Whether anything but the next reader sees a node's values; only what is `exclusive` can be folded into.
enum class Readers { exclusive, several };

struct Value {
  NodeId node = 0;
  Shape shape;  ///< per sample
  BatchAxis batch = BatchAxis::leading;
  Readers readers = Readers::exclusive;
};

/// ONNX's shape of a value, batch axis included.
Shape full_shape(const Value& value);

class Importer {
 public:
  /// @param input_batch whether the graph input has a batch axis
  Importer(std::string file, const LiveNodes& live, BatchAxis input_batch);

  void define_input(const std::string& name, const Shape& per_sample);
  void define_initializer(const std::string& name, const ::onnx::TensorProto& tensor);

  bool is_constant(const OnnxNode& node, std::size_t input) const;
  /// True when every given input is a constant.
  bool all_constant(const OnnxNode& node) const;
  /// Input `input` of the node, an error where it is computed at run time.
  Constant constant(const OnnxNode& node, std::size_t input) const;
  std::optional<Constant> optional_constant(const OnnxNode& node, std::size_t input) const;
  /// The same as a list of integers, whatever its shape.
  std::optional<Integers> optional_integers(const OnnxNode& node, std::size_t input) const;
  /// ONNX's shape of input `input`, constant or not.
  Shape dims(const OnnxNode& node, std::size_t input) const;
  /// Input `input` of the node, an error where it is a constant.
  Value value(const OnnxNode& node, std::size_t input) const;

  void give(const OnnxNode& node, Constant constant);
  void give(const OnnxNode& node, Value value);
  /// What an operator made of `in`: a node of its own, with or without batch axis as `in`.
  void give_result(const OnnxNode& node, const Value& in, NodeId result, Shape per_sample);
  /// The value of `in` under a new shape of ONNX (batch axis included); an error if that moves the batch axis.
  void give_reshaped(const OnnxNode& node, const Value& in, const Shape& full);

  /// Whether the node's output is the output of f, up to its shape.
  bool ends_graph(const OnnxNode& node) const { return tail_.contains(node.output()); }
  bool has_batch_axis() const { return input_batch_ == BatchAxis::leading; }

  /// Appends a node of the new graph.
  NodeId append(const OnnxNode& node, Operator op, const std::vector<NodeId>& inputs);
  NodeId append_layer(const OnnxNode& node, Operator op, NodeId input, LayerParameters parameters);
  /// A node that holds the elements of `value` in exactly this shape.
  NodeId shaped(const OnnxNode& node, const Value& value, const Shape& shape);
  const Shape& shape_of(NodeId node) const { return nodes_[static_cast<std::size_t>(node)].shape; }

  /// The parameters of the weight layer at `value`, if nothing else reads its result.
  LayerParameters* foldable_layer(const Value& value);
  /// The ScaleShift at `value` that shifts by zero, if nothing else reads its result.
  ScaleShift* foldable_scale(const Value& value);

  void note(std::string text) { notes_.push_back(std::move(text)); }
  /// The finished network: the output in its shape, nodes that nothing needs any more dropped, layers numbered.
  Network finish(const std::string& output, std::string name);

 private:
  const Value* find_value(const std::string& name) const;

  std::string file_;
  BatchAxis input_batch_;
  std::map<std::string, int> readers_;
  std::set<std::string> tail_;
  std::map<std::string, const ::onnx::TensorProto*> initializers_;
  std::map<std::string, std::variant<Constant, Value>> names_;
  std::vector<Node> nodes_;
  std::map<NodeId, LayerParameters> layers_;  ///< by node
  std::map<std::string, int> node_names_;     ///< how often each name was given
  std::vector<std::string> notes_;
};

/// Reads one node into the importer. Throws core::UnsupportedOperator for operators and attributes we do not have.
void import_node(Importer& importer, const OnnxNode& node);

}  // namespace quantbound::network::detail
