/// A float program and its reverse: values at a batch of samples, then the vector-Jacobian product with respect to the
/// samples, by oneDNN's backward-data primitives and kernels of ours. The operators are those of a FloatProgram. What
/// the way back reads (outputs of activations, factors of products, where maxima lie) stays until it has been read; all
/// other values share one arena, and the whole batch is computed at once, so batches should be small. Slopes of fused
/// activations follow from their outputs: at a kink one of the two sides counts. Like a FloatProgram a gradient program
/// belongs to one thread and uses one, and its memory is taken by the first run. What it does not do: derivatives with
/// respect to weights (they would be more steps on the way back, whose arguments are the inputs of layers).
#pragma once

#include <memory>
#include <span>

#include "quantbound/tensor/float_program.hpp"

namespace quantbound::tensor {

class GradientProgram {
 public:
  /// Compiles the operators of a program that has its output and is not compiled itself. Throws core::Error where
  /// oneDNN refuses.
  explicit GradientProgram(const FloatProgram& operators);
  ~GradientProgram();
  GradientProgram(GradientProgram&&) noexcept;
  GradientProgram& operator=(GradientProgram&&) noexcept;

  FloatMemory memory() const;
  /// Zeros, to be set layer by layer.
  FloatWeights make_weights() const;
  /// Swaps pointers. @pre made by this program or by one of equal operators and batch
  void use(std::shared_ptr<const FloatWeights> weights);

  /// batch x input -> batch x output, valid until the next run. @pre weights are in use, if any are read
  std::span<const float> run(std::span<const float> samples);
  /// Gradient of sum_i weights[s, i] f_i(x_s) with respect to the samples of the last run: batch x output -> batch x
  /// input, valid until the next run. It uses up what the run has kept. @pre run() since the last pull_back()
  std::span<const float> pull_back(std::span<const float> weights);

  struct Implementation;

 private:
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace quantbound::tensor
