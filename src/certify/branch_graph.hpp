/// The bounder of every pair that difference_crown takes: convolutions, additions, pools, smooth activations, and dense
/// pairs with many inputs. A piece is a box of inputs and a list of assumptions, neurons of f or f_q on one side of a
/// kink. By inputs it is bounded by one difference_crown; by activations from the bounds of the whole region with a
/// Lagrange multiplier for each assumption (beta_crown), where the worst functionals leave something open; without a
/// neuron left to divide it halves an input after all. Slower per piece than branch_dense.hpp.
#pragma once

#include <memory>

#include "branch_bounder.hpp"

namespace quantbound::certify::detail {

/// Halving an input, or assuming on which side of a kink a neuron is.
enum class GraphSplit { input, activation };

/// @pre box of `region` finite; no rounded activations
std::unique_ptr<BranchBounder> make_graph_bounder(const Pair& pair, const Box& region, GraphSplit split);

}  // namespace quantbound::certify::detail
