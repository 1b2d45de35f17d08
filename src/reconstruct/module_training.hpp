/// The roundings of all layers of a module learned together from batches (BRECQ, arXiv 2102.05426; with one layer
/// AdaRound, 2004.10568): the mean over samples and positions of sum w (M(x) - M~(x~))^2 over channels, and AdaRound's
/// regularizer. x~ is the value of the quantized prefix, or mixed with that of f (QDrop, 2203.05740). One iteration at
/// a time, so that callers may look on, stop, and go on from a stored state with the same bits.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "quantbound/core/bytes.hpp"
#include "quantbound/reconstruct/module_objective.hpp"
#include "quantbound/reconstruct/soft_rounding.hpp"

#include "batches.hpp"
#include "module_problem.hpp"

namespace quantbound::reconstruct::detail {

struct TrainingOptions {
  SoftRoundingOptions rounding;
  Index batch = 32;
  std::uint64_t seed = 1;
  std::optional<double> drop;  ///< inputs are mixed with this probability of the quantized prefix's
};

class ModuleTraining {
 public:
  /// `fisher`: weights of the target's elements, or empty. The problem and the weights must outlive the training.
  ModuleTraining(const ModuleProblem& problem, std::span<const float> fisher, const TrainingOptions& options);

  Index iteration() const;
  bool done() const { return iteration() >= options_.rounding.iterations; }
  /// One iteration; the loss of its batch, without regularizer.
  double advance();

  std::vector<std::vector<double>> rounded() const;
  /// Of all weights that have a choice, those whose h is 0 or 1.
  double fraction_settled() const;

  core::Bytes state() const;
  /// Throws core::Error where the state is of another module.
  void restore(std::span<const std::byte> state);

 private:
  /// Of the batch at hand, with its gradient.
  double evaluate();

  const ModuleProblem& problem_;
  std::span<const float> fisher_;
  TrainingOptions options_;
  Batches batches_;
  std::vector<SoftRounding> layers_;
  std::vector<std::vector<float>> biases_;
  ModuleObjective objective_;
  std::vector<float> mixed_, targets_, weights_;  ///< batches of qdrop, whose inputs are made anew every time
};

}  // namespace quantbound::reconstruct::detail
