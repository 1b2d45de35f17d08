/// Backward walks: upper bounds of linear functionals of one node's y, y' and d, carried to the input as rows of
/// coefficients (docs/theory.md 5.5, 9.5.5). With Coupling::separate both networks are relaxed apart (CROWN of the
/// merged network), the coefficients are on y and y'; with Coupling::joint they are on y and d, an affine layer takes
/// A_y y_out + A_d d_out to (A_y W + A_d dW) y_in + (A_d W') d_in, and activations are relaxed as pairs. Rows go in
/// blocks of a fixed size, so that memory is bounded and no bit depends on the number of threads. Where an operator has
/// no linear relaxation here (products of two values, hard_swish, rounded activations of f_q), the walk ends at its
/// node, whose intervals stand for it: sound, but what lies before it adds nothing.
#pragma once

#include <span>
#include <vector>

#include "quantbound/certify/crown.hpp"
#include "quantbound/certify/pair_bounds.hpp"

#include "linear_operators.hpp"
#include "relaxation.hpp"

namespace quantbound::certify::detail {

enum class Coupling { separate, joint };
enum class Quantity { f, fq, difference };

class BackwardWalk {
 public:
  /// The pair and the bounds must outlive the walk. Bounds may improve meanwhile: what was prepared stays sound.
  /// Assumptions hold on the points that are bounded: optimized_bound() gives them multipliers.
  BackwardWalk(const Pair& pair, const PairBounds& bounds, Coupling coupling,
               std::span<const Assumption> assumptions = {});

  /// Fixes relaxation and rounding errors of a node from the bounds of its inputs. @pre the nodes before are prepared
  void prepare(NodeId node);

  /// Bounds of some elements of a node. @pre all nodes up to it are prepared
  Box bound(NodeId node, std::span<const Index> elements, Quantity quantity) const;
  /// Of a difference, with both networks relaxed apart whatever the coupling of the walk.
  Box separate_bound(NodeId node, std::span<const Index> elements) const;

  /// Relaxation gaps of all neurons for the bound of |difference| at one element, the largest first.
  std::vector<Influence> influences(NodeId node, Index element) const;

  /// The same as bound() after `steps` of optimisation per row, of slopes, starting from those that bound() takes, and
  /// of the multipliers of assumptions, starting from none.
  Box optimized_bound(NodeId node, std::span<const Index> elements, Quantity quantity, Index steps) const;

  /// The same of a difference, with the inputs at which the best linear bounds are attained: two rows per element,
  /// above and below.
  struct Optimum {
    Box box;
    Values inputs;
  };
  Optimum optimum(NodeId node, std::span<const Index> elements, Index steps) const;

 private:
  struct Block;
  struct Slopes;
  struct Multipliers;
  class Descent;

  /// What an affine node costs a row in rounding: gamma times |coefficients| . weighted, and what underflow may lose.
  struct AffineError {
    std::vector<double> constant;  ///< the node's own; empty where all are zero
    std::vector<double> weighted;
    double tiny = 0.0;
  };
  struct Prepared {
    double gamma = 0.0;
    AffineError f, fq, difference;
    SingleRelaxation single_f, single_fq;
    PairRelaxation joint;
    bool ends = false;   ///< walks stop here
    bool fixed = false;  ///< slopes are not for optimising
    /// Of a maximum, per output: the input with the largest lower end, and whether it is the maximum everywhere.
    struct Winner {
      Index input = 0;
      bool certain = false;
    };
    std::vector<Winner> winners_f, winners_fq;
    /// Of a dense layer behind which some neurons vanish in both networks: the others, and their rows of the weights.
    std::vector<Index> live;
    Values live_f, live_fq, live_change;
  };

  Box bound(NodeId node, std::span<const Index> elements, Quantity quantity, Coupling coupling) const;
  void prepare_affine(NodeId node, Prepared& prepared);
  void prepare_activation(NodeId node, const Activation& op, Prepared& prepared);
  std::vector<Index> strips(NodeId node) const;
  void prepare_maximum(NodeId node, const network::MaxPool& op, Prepared& prepared);
  void gather_live_rows(NodeId layer, std::span<const double> f_factor, std::span<const double> fq_factor);
  Values layer_backward(NodeId node, Quantity with, const Values& coefficients, Index rows) const;
  Values layer_forward(NodeId node, Quantity with, const Values& values, Index rows) const;
  std::span<const double> weights(NodeId node, Quantity of) const;
  std::span<const double> bias(NodeId node, Quantity of) const;
  Index rows_at_once() const;

  const Pair* pair_;
  const PairBounds* bounds_;
  Coupling coupling_;
  std::vector<Assumption> assumptions_;
  std::vector<Prepared> nodes_;
  std::vector<Index> readers_;  ///< of each node
};

}  // namespace quantbound::certify::detail
