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

/// Whether neurons open in both networks get rows for their d. That costs as much as everything else, and pays where
/// the change is small beside the relaxations: some generations try both ways, those between do what won.
struct Plan {
  bool difference_rows = true;
  int until_trial = 0;  ///< generations

  /// Rows that leave more than this of the worst bound are not worth their time.
  static constexpr double worthwhile = 0.75;
  static constexpr int with_rows_for = 3, without_rows_for = 8;
};

/// A piece's split: the dimension, and in the upper half its plan.
struct SplitWord {
  Index dimension = 0;
  Plan plan;

  static SplitWord unpack(std::int64_t word) {
    return {word & 0xFFFF'FFFF, {(word >> 32 & 1) != 0, static_cast<int>(word >> 33)}};
  }
  std::int64_t pack() const {
    return dimension | static_cast<std::int64_t>(plan.difference_rows) << 32 |
           static_cast<std::int64_t>(plan.until_trial) << 33;
  }
};

/// @pre not_dense(pair) is empty
std::unique_ptr<BranchBounder> make_dense_bounder(const Pair& pair, const DenseKernels& kernels = dense_kernels());

}  // namespace quantbound::certify::detail
