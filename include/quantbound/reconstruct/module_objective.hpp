/// The objective of reconstruction over a batch (AdaRound, arXiv 2004.10568, of a layer; BRECQ, arXiv 2102.05426, of a
/// block; docs/theory.md 7.2, 7.3): how far the module with other weights and inputs is from what it should give,
///   (1 / (batch positions)) sum over samples and elements of w (M_W~(x^) - t)^2,
/// and its gradient with respect to the weights and biases of every layer, in float. Positions are the pixels of an
/// image, so squares are summed over channels and averaged over the rest; w is 1 or comes with every element (BRECQ's
/// diagonal of the Fisher matrix). The batch is cut into parts whose size follows from the module and the batch alone;
/// threads share the parts, and what these give is summed in their order: bits do not depend on threads. Nothing is
/// allocated by evaluations once every engine has run. What it does not do: quantize activations, round, optimize.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::reconstruct {

using network::Index;

/// Parameters of one layer as LayerParameters has them, in floats.
struct FloatLayer {
  std::span<const float> weights, bias;
};

/// Samples in arrays of the caller: inputs x^, targets t and, if not empty, the weights w of the output's elements, row
/// after row. The batch is made of these rows; of rows 0, 1, ... where `rows` is empty.
struct ObjectiveSamples {
  std::span<const float> inputs, targets, weights;
  std::span<const Index> rows;
};

class ModuleObjective {
 public:
  /// One engine for each of OpenMP's threads that has a part to work on. Throws core::Error where oneDNN refuses.
  ModuleObjective(const network::Graph& module, Index batch);
  ~ModuleObjective();
  ModuleObjective(ModuleObjective&&) noexcept;
  ModuleObjective& operator=(ModuleObjective&&) noexcept;

  /// The objective; its gradient is there until the next call. Runs on as many threads as there are engines.
  double evaluate(std::span<const FloatLayer> layers, const ObjectiveSamples& samples);
  /// With respect to the weights of a layer, row-major, and to its bias.
  std::span<const float> weight_gradient(Index layer) const;
  std::span<const float> bias_gradient(Index layer) const;

  Index batch() const;
  Index parts() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

/// The same by plain loops in double (network::Tape): what tests hold the objective against.
struct ObjectiveReference {
  double objective = 0.0;
  std::vector<network::LayerParameters> gradients;
};
ObjectiveReference objective_reference(const network::Graph& module, std::span<const network::LayerParameters> layers,
                                       const ObjectiveSamples& samples, Index batch);

}  // namespace quantbound::reconstruct
