/// The value of one node from the values of its inputs: what the forward pass and the tape share, so that both have
/// the same bits.
#pragma once

#include <span>
#include <vector>

#include "quantbound/network/network.hpp"
#include "quantbound/tensor/rearrange.hpp"

namespace quantbound::network::detail {

using Values = std::vector<double>;  ///< batch x elements of one node

/// Whether the first input of a node is read again after it; if not, its memory may be taken.
enum class FirstInput { kept, last_use };

class NodeEvaluation {
 public:
  /// `values` has one entry per node and, like graph and layers, must outlive the evaluation.
  NodeEvaluation(const Graph& graph, std::span<const LayerParameters> layers, Index batch, std::vector<Values>& values)
      : graph_(graph), layers_(layers), batch_(batch), values_(values) {}

  /// @pre the inputs of the node have their values, and it is no Input
  Values evaluate(const Node& node, FirstInput first_input);

 private:
  Values apply(const Input& op, const Node& node, FirstInput first_input) const;
  Values apply(const Convolution& op, const Node& node, FirstInput first_input) const;
  Values apply(const Dense& op, const Node& node, FirstInput first_input) const;
  Values apply(const Activation& op, const Node& node, FirstInput first_input);
  Values apply(const Add& op, const Node& node, FirstInput first_input) const;
  Values apply(const Product& op, const Node& node, FirstInput first_input) const;
  Values apply(const Concat& op, const Node& node, FirstInput first_input) const;
  Values apply(const MaxPool& op, const Node& node, FirstInput first_input) const;
  Values apply(const AveragePool& op, const Node& node, FirstInput first_input) const;
  Values apply(const GlobalAveragePool& op, const Node& node, FirstInput first_input) const;
  Values apply(const Pad& op, const Node& node, FirstInput first_input) const;
  Values apply(const Slice& op, const Node& node, FirstInput first_input) const;
  Values apply(const Permute& op, const Node& node, FirstInput first_input) const;
  Values apply(const Reshape& op, const Node& node, FirstInput first_input);
  Values apply(const ScaleShift& op, const Node& node, FirstInput first_input);

  const Values& input(const Node& node, std::size_t which = 0) const;
  const Shape& input_shape(const Node& node, std::size_t which = 0) const;
  Values take_input(const Node& node, FirstInput first_input);
  Values rearranged(const tensor::Rearrangement& r, const Node& node, double fill) const;

  const Graph& graph_;
  std::span<const LayerParameters> layers_;
  Index batch_;
  std::vector<Values>& values_;
};

/// Where input `which` of a Concat lies in its output.
tensor::Rearrangement placement_in_concat(const Graph& graph, const Concat& op, const Node& node, std::size_t which);
/// What the node copies from its input to its output.
tensor::Rearrangement rearrangement_of(const Pad& op, const Shape& in, const Shape& out);
tensor::Rearrangement rearrangement_of(const Slice& op, const Shape& in, const Shape& out);
tensor::Rearrangement rearrangement_of(const Permute& op, const Shape& in, const Shape& out);

}  // namespace quantbound::network::detail
