/// Learned rounding of one layer (AdaRound, arXiv 2004.10568; docs/theory.md 7.2): every weight goes down or up,
///   W~ = s clip(floor(W/s) + h(V), lowest, highest),  h(V) = clip(1.2 sigmoid(V) - 0.1, 0, 1),
/// and Adam moves V against the gradient of a loss plus lambda sum(1 - |2h - 1|^beta), which drives h to 0 or 1 while
/// beta falls. The loss is the caller's: this class gives soft weights and takes the loss's gradient with respect to
/// them. Its arithmetic is float (absolute error of h below 3e-7, relative error of |2h - 1|^(beta - 1) below 1e-4
/// where it matters), with bits that depend neither on threads nor on the instruction set. Steps are not learned.
#pragma once

#include <span>
#include <vector>

#include "quantbound/core/bytes.hpp"
#include "quantbound/quantize/quantize.hpp"

namespace quantbound::reconstruct {

using network::Index;

struct SoftRoundingOptions {
  Index iterations = 20000;
  double warm_up = 0.2;  ///< part of the iterations without the regularizer
  double learning_rate = 1e-3;
  double regularization = 0.01;               ///< lambda
  double beta_first = 20.0, beta_last = 2.0;  ///< linear from the end of the warm-up to the end
  bool operator==(const SoftRoundingOptions&) const = default;
};

/// beta of an iteration, counted from 0; 0 during the warm-up, when the regularizer is off.
double annealed_beta(Index iteration, const SoftRoundingOptions& options);

class SoftRounding {
 public:
  /// Soft weights begin at the weights, those beyond the grid at its end, where they stay. `weights` is grids.size()
  /// rows. Throws core::NumericalError where a step is beyond the floats.
  SoftRounding(std::span<const double> weights, std::span<const quantize::RowGrid> grids,
               const SoftRoundingOptions& options);

  /// W~, valid until the next update.
  std::span<const float> weights() const { return soft_; }
  /// One iteration of Adam. `gradient` is that of the loss with respect to W~.
  void update(std::span<const float> gradient);
  /// Updates so far.
  Index iteration() const { return iteration_; }
  /// lambda sum(1 - |2h - 1|^beta) with the beta of the next update.
  double regularizer() const;

  /// Weights that lie between two levels. The others have no choice: zeros of a pruned layer stay zeros.
  Index free_weights() const { return free_; }
  /// Free weights whose h is 0 or 1.
  Index settled_weights() const;
  /// 1 where no weight is free.
  double fraction_settled() const;

  /// W' with h >= 1/2 rounded up: the doubles (q - z) * step that quantize makes. Throws core::NumericalError where the
  /// optimization has diverged.
  std::vector<double> rounded() const;

  /// What an equal object needs to go on bit for bit.
  core::Bytes state() const;
  /// Throws core::Error where the state is not of such an object.
  void restore(std::span<const std::byte> state);

 private:
  void soften();

  SoftRoundingOptions options_;
  std::vector<quantize::RowGrid> grids_;
  Index iteration_ = 0, free_ = 0;
  std::vector<float> base_;  ///< floor(W/s), or the end of the grid
  std::vector<float> step_;  ///< by weight: rows of depthwise layers are too short for vectors
  std::vector<float> variable_, first_moment_, second_moment_, soft_;
};

}  // namespace quantbound::reconstruct
