/// The roundings of all layers of a module learned together (BRECQ, arXiv 2102.05426; with one layer AdaRound,
/// 2004.10568), one iteration at a time, so that callers may look on, stop, and go on from a stored state with the same
/// bits. From batches: the mean over samples and positions of sum w (M(x) - M~(x~))^2 over channels and AdaRound's
/// regularizer, where x~ is the value of the quantized prefix, or mixed with that of f (QDrop, 2203.05740). From second
/// moments: the same for a single layer without activation, over all samples at once (layer_rounding.hpp).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "quantbound/core/bytes.hpp"
#include "quantbound/reconstruct/gram.hpp"
#include "quantbound/reconstruct/soft_rounding.hpp"

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
  virtual ~ModuleTraining() = default;

  virtual Index iteration() const = 0;
  virtual void advance() = 0;
  /// Of the last batch, or of all samples with the weights as they are; without regularizer.
  virtual double loss() const = 0;

  /// The weights of every layer, each rounding taken as it is nearest to.
  virtual std::vector<std::vector<double>> rounded() const = 0;
  /// Of all weights that have a choice, those whose h is 0 or 1.
  virtual double fraction_settled() const = 0;

  virtual core::Bytes state() const = 0;
  /// Throws core::Error where the state is of another module.
  virtual void restore(std::span<const std::byte> state) = 0;
};

/// Whether the loss is quadratic in the weights: one layer and nothing else.
bool is_quadratic(const ModuleProblem& problem);

/// `fisher`: weights of the target's elements, or empty. The problem and the weights must outlive the training.
std::unique_ptr<ModuleTraining> train_on_batches(const ModuleProblem& problem, std::span<const float> fisher,
                                                 const TrainingOptions& options);
/// @pre is_quadratic
std::unique_ptr<ModuleTraining> train_on_moments(const ModuleProblem& problem, const TrainingOptions& options);

/// The second moments of the inputs of a module that is one layer. @pre is_quadratic, or an activation follows
Gram moments_of(const ModuleProblem& problem);

}  // namespace quantbound::reconstruct::detail
