/// A float program and its reverse: values at a batch of samples, then the vector-Jacobian product with respect to the
/// samples, by oneDNN's backward-data primitives and kernels of ours. The operators are those of a FloatProgram. What
/// the way back reads (outputs of activations, factors of products, where maxima lie) stays until it has been read; all
/// other values share one arena, and the whole batch is computed at once, so batches should be small. Slopes of fused
/// activations follow from their outputs: at a kink one of the two sides counts. Like a FloatProgram a gradient program
/// belongs to one thread and uses one. What it does not do: derivatives with respect to weights (they would be more
/// steps on the way back, which keep the inputs of layers).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "quantbound/tensor/float_program.hpp"

namespace quantbound::tensor {

/// The weights of one network in the layouts of gradient programs of one kind: of equal operators and batch. They may
/// be shared between programs on different threads.
class GradientWeights {
 public:
  ~GradientWeights();
  /// Weights {outputs, inputs...} in row-major order and one bias per output. Different layers may be set by different
  /// threads at once, as long as no program runs with them.
  void set(Index layer, std::span<const double> weights, std::span<const double> bias);
  Index bytes() const;

  struct Implementation;

 private:
  friend class GradientProgram;
  explicit GradientWeights(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

class GradientProgram {
 public:
  /// Compiles the operators of a program that has its output and is not compiled itself. Throws core::Error where
  /// oneDNN refuses.
  explicit GradientProgram(const FloatProgram& operators);
  ~GradientProgram();
  GradientProgram(GradientProgram&&) noexcept;
  GradientProgram& operator=(GradientProgram&&) noexcept;

  /// Room for the weights of one network; to be filled layer by layer.
  std::shared_ptr<GradientWeights> make_weights() const;
  /// Costs no more than a few pointers. @pre made by a program of equal operators and batch
  void use(std::shared_ptr<const GradientWeights> weights);

  /// batch x input -> batch x output, valid until the next run. @pre weights in use, all layers set
  std::span<const float> run(std::span<const float> samples);
  /// Gradient of sum_i weights[s, i] f_i(x_s) with respect to the samples of the last run: batch x output -> batch x
  /// input, valid until the next run. It uses up what the run has kept. @pre run() since the last pull_back()
  std::span<const float> pull_back(std::span<const float> weights);

  /// Bytes of activations, gradients and scratch; weights are counted by GradientWeights.
  Index bytes() const;

  struct Implementation;

 private:
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace quantbound::tensor
