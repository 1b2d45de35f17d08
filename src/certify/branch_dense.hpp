/// The bounder of dense pairs by input splitting: interval bounds of y, y' and d forward, then backward linear
/// relaxations (docs/theory.md 5.5, 9.5.5) of every neuron that is not yet proved to be on one piece, and of the
/// functionals that are not yet below their level. Functionals are carried in (y, d): A_y <- A_y W + A_d dW,
/// A_d <- A_d W', so that small changes stay small; at activations the merged or the difference relaxation, whichever
/// loses less. All in double; rounding goes into one slack per row, gamma times the mass of its coefficients.
#pragma once

#include <memory>

#include "branch_bounder.hpp"
#include "dense_pair.hpp"
#include "dense_pair_kernels.hpp"

namespace quantbound::certify::detail {

/// @pre not_dense(pair) is empty
std::unique_ptr<BranchBounder> make_dense_bounder(const Pair& pair, const DenseKernels& kernels = dense_kernels());

}  // namespace quantbound::certify::detail
