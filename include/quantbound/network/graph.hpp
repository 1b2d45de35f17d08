/// The graph of a feed-forward network: operators over per-sample shapes in topological order. The structure lives
/// here, the weights beside it (network.hpp): f and its quantized f_q share one graph. Weight layers (Convolution,
/// Dense) are numbered 0..L-1 in graph order. BatchNormalization does not exist here: readers fold it into weights, or
/// into a ScaleShift where no weight layer precedes it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::network {

using tensor::Index;
using tensor::Shape;
using NodeId = Index;

struct Input {};

/// Weight layer `layer` as a convolution; weights {channels_out, channels_in / groups, kernel height, kernel width}.
struct Convolution {
  Index layer = 0;
  tensor::Convolution geometry;
};

/// Weight layer `layer` as a matrix {outputs, inputs} applied to a flat {inputs} value.
struct Dense {
  Index layer = 0;
  Index inputs = 0, outputs = 0;
};

enum class ActivationKind { relu, leaky_relu, clip, sigmoid, tanh, hard_swish, hard_sigmoid };
std::string_view to_string(ActivationKind kind);

/// An elementwise function. `alpha` and `beta`: leaky_relu slope alpha below 0; clip to [alpha, beta];
/// hard_sigmoid max(0, min(1, alpha x + beta)); hard_swish x * hard_sigmoid(x; 1/6, 1/2).
struct Activation {
  ActivationKind kind = ActivationKind::relu;
  double alpha = 0.0, beta = 0.0;

  double operator()(double x) const;
  /// Smallest Lipschitz constant (an upper bound of it for hard_swish: 1.5).
  double lipschitz() const;
  /// Whether the function maps 0 to 0.
  bool fixes_zero() const;
  /// Whether the function is nondecreasing.
  bool monotone() const { return kind != ActivationKind::hard_swish; }
  /// Upper bound of |function| over all inputs, where there is one (clip, sigmoid, tanh, hard_sigmoid).
  std::optional<double> magnitude() const;
};

struct Add {};      ///< elementwise sum of two values of equal shape (residual connection)
struct Product {};  ///< elementwise product of two values; {c, 1, 1} broadcasts over {c, h, w} (squeeze-excite)
struct Concat {
  Index axis = 0;
};  ///< along a per-sample axis (0 = channels)
struct MaxPool {
  tensor::Window window;
};
/// Average over a window. Padded positions count as zeros when `divisor_includes_pads`, else the divisor is what is
/// inside.
struct AveragePool {
  tensor::Window window;
  bool divisor_includes_pads = false;
};
struct GlobalAveragePool {};  ///< {c, h, w} -> {c, 1, 1}
struct Pad {
  std::vector<Index> before, after;
  double value = 0.0;
};  ///< per axis of the shape
/// Elements start, start + step, ... per axis; `count` of them. Steps may be negative.
struct Slice {
  std::vector<Index> start, step, count;
};
struct Permute {
  std::vector<Index> axes;
};                  ///< out axis i is in axis axes[i]
struct Reshape {};  ///< same elements, new shape (Flatten, Squeeze, Unsqueeze, Reshape)
/// x * scale + shift with constants: one number, one per channel (axis 0), or one per element.
struct ScaleShift {
  std::vector<double> scale, shift;
};

using Operator = std::variant<Input, Convolution, Dense, Activation, Add, Product, Concat, MaxPool, AveragePool,
                              GlobalAveragePool, Pad, Slice, Permute, Reshape, ScaleShift>;
/// Name of the operator as users know it: "Conv", "Gemm", "Relu", ...
std::string_view operator_name(const Operator& op);

struct Node {
  std::string name;
  Operator op;
  std::vector<NodeId> inputs;
  Shape shape;  ///< of the output, per sample
};

/// Nodes in topological order; node 0 is the Input, `output` the node whose value is f(x).
struct Graph {
  std::vector<Node> nodes;
  NodeId output = 0;

  const Shape& input_shape() const { return nodes.front().shape; }
  const Shape& output_shape() const { return nodes[static_cast<std::size_t>(output)].shape; }
  /// Node of every weight layer, in order.
  std::vector<NodeId> weight_layers() const;
  /// Nodes that read each node's value.
  std::vector<std::vector<NodeId>> consumers() const;
  /// Where the output of weight layer `layer` is measured: the activation that alone follows it, else the layer itself.
  NodeId measured_output(Index layer) const;
  /// True when every node has one input and one consumer: the setting of the published theorems.
  bool is_chain() const;
};

/// Checks what every reader and family must deliver: topological order, one Input first, arity, shapes consistent with
/// operators, layers numbered in order. Throws core::InputError naming the node; `where` is the file.
void validate(const Graph& graph, const std::string& where);

/// The output shape of an operator; for Reshape, whose target the node knows, the flat shape of as many elements.
/// Throws core::InputError when the inputs do not fit.
Shape infer_shape(const Operator& op, std::span<const Shape> inputs, const std::string& node, const std::string& where);

}  // namespace quantbound::network
