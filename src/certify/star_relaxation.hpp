/// The linear program of a pair on one shared input (approximate star sets of both networks and of their difference,
/// docs/theory.md 5.5): variables y and d = y' - y of every node's elements that matter, f_q's value being y + d.
/// Affine operators give equalities with the stored weights as coefficients (d_out = W' d + (W' - W) y + b' - b),
/// activations the lines of star_lines.hpp for y, for y + d and for d (5.5, "joint ReLU-difference lines"), and every
/// variable its proved interval. What an element does not need is never built: stable neurons are aliases or constants,
/// so the size follows the unstable ones. Product and hard_swish are their intervals alone.
#pragma once

#include <vector>

#include "quantbound/certify/pair_bounds.hpp"

#include "linear_program.hpp"

namespace quantbound::certify::linear {

/// A number of the relaxation: a constant, or a variable of the program.
struct StarValue {
  Index variable = -1;
  double constant = 0.0;
  bool is_variable() const { return variable >= 0; }
};

enum class StarPart { f, difference };

class StarRelaxation {
 public:
  /// `first`: nodes before it are free in their intervals, where the program would become too large.
  /// @pre pair outlives the relaxation
  StarRelaxation(const Pair& pair, PairBounds bounds, NodeId first);

  /// An element of a node, with all rows that define it.
  StarValue value(NodeId node, Index element, StarPart part);
  /// Whether rows other than equalities exist: before that the program says no more than interval arithmetic.
  bool relaxes() const { return relaxes_; }
  const LinearProgram& program() const { return program_; }
  const PairBounds& bounds() const { return bounds_; }
  /// A proved interval, better than what is known: of an element of f, f_q or the difference.
  void tighten(NodeId node, Index element, const PairBox& proved);

 private:
  struct Known {
    std::vector<StarValue> values;
    std::vector<bool> known;
  };
  struct Weighted;
  struct Affine;
  class Row;

  Known& known(NodeId node, StarPart part);
  const network::Node& at(NodeId node) const { return pair_->graph.nodes[static_cast<std::size_t>(node)]; }
  Interval limits(NodeId node, Index element, StarPart part) const;
  Interval limits_of_fq(NodeId node, Index element) const;
  StarValue variable(NodeId node, Index element, StarPart part);
  StarValue define(NodeId node, Index element, StarPart part);

  bool is_affine(NodeId node) const;
  Affine affine(NodeId node, Index element) const;
  StarValue define_affine(NodeId node, Index element, StarPart part);

  StarValue define_activation(NodeId node, Index element);
  StarValue define_activation_difference(NodeId node, Index element);
  void relate_fq(NodeId node, Index element, const Row& output, const Row& input);

  StarValue define_maximum(NodeId node, Index element);
  StarValue define_maximum_difference(NodeId node, Index element);

  const Pair* pair_;
  PairBounds bounds_;
  NodeId first_;
  LinearProgram program_;
  std::vector<Known> f_, difference_;
  std::vector<std::vector<std::pair<NodeId, Index>>> sources_;  ///< of moved elements; node -1 for a pad
  bool relaxes_ = false;
};

}  // namespace quantbound::certify::linear
