/// Products of layer norms along the paths of a graph. They carry the chain proofs of docs/theory.md 1.3 over to
/// residual connections, concatenations and pooling (docs/theory.md 1.4); on a chain they are the products of the
/// theorems.
///
/// With a gain r_l per weight layer, the tail T_v bounds how much an inf-norm error at node v can grow on the way to
/// the output, and the head H_v bounds the value of f_q at v: |y'_v| <= max(D, 1) H_v with Constants::added, <= D H_v
/// with Constants::none. Both follow from one line per operator: a weight layer maps H to r_l max(H, 1) (r_l H without
/// constants), an addition adds, a concatenation takes the larger, a function with |sigma(t)| <= k |t| multiplies by k.
/// Unrolling the error recursion e_v <= sum gain(u, v) e_u + |dW_l y'_u + db_l| gives
///   |f - f_q| <= sum_l T_l |dW_l y'_u + db_l|,   u the input of layer l.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "quantbound/bounds/domain.hpp"
#include "quantbound/core/upper.hpp"

namespace quantbound::bounds {

using network::Index;

/// What biases, shifts and pads with a value other than zero do to a head.
enum class Constants {
  none,      ///< there are none
  added,     ///< H dominates values and constants together
  separate,  ///< H dominates what each source, the input or one constant, contributes alone (gonon)
};

struct PathProducts {
  std::vector<core::Upper> head;  ///< per weight layer: H at its input
  std::vector<core::Upper> tail;  ///< per weight layer: T at its output
};

/// @pre one gain per weight layer; first_violation(...) is empty for the same graph
PathProducts path_products(const network::Graph& graph, const Domain& domain, std::span<const core::Upper> gains,
                           Constants constants);

/// The same gain at every layer.
PathProducts path_products(const network::Graph& graph, const Domain& domain, core::Upper gain, Constants constants);

/// Nodes whose value depends on a weight and that the output depends on: where the assumptions of a theory must hold.
std::vector<network::NodeId> affected_nodes(const network::Graph& graph, const Domain& domain);

/// What a theory asks of the graph.
enum class Assumption {
  no_product,    ///< no product of two values
  fixes_zero,    ///< no product, and every activation maps 0 to 0
  no_constants,  ///< fixes_zero, and no shift and no pad with a value other than 0
};
/// Why the assumption fails, in words with the node's name; empty when it holds.
std::string first_violation(const network::Graph& graph, const Domain& domain, Assumption assumption);

/// Number of affected nodes that add a constant of their own: shifts and pads.
Index constant_count(const network::Graph& graph, const Domain& domain);

/// A k with |sigma(t)| <= k |t|, for an activation that maps 0 to 0.
double magnitude_gain(const network::Activation& activation);

}  // namespace quantbound::bounds
