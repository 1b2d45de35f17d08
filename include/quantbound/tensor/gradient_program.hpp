/// A float program and its reverse: values at a batch of samples, then the vector-Jacobian product with respect to the
/// samples, by oneDNN's backward-data primitives and kernels of ours. The operators are those of a FloatProgram. What
/// the way back reads (outputs of activations, factors of products, where maxima lie) stays until it has been read; all
/// other values share one arena, and the whole batch is computed at once, so batches should be small. Slopes of fused
/// activations follow from their outputs: at a kink one of the two sides counts. Like a FloatProgram a gradient program
/// belongs to one thread and uses one, and its memory is taken by the first run. Derivatives with respect to weights
/// and biases are more steps on the way back, which read the inputs of layers; programs that give them use Winograd's
/// algorithm where it pays, there and back. What it does not do: sum over batches, update weights.
#pragma once

#include <memory>
#include <span>

#include "quantbound/tensor/float_program.hpp"

namespace quantbound::tensor {

/// With respect to what: what is not asked for costs nothing.
enum class Derivatives { samples, weights, both };

/// Where the samples of a batch lie: one pointer per sample, each to a row-major value. `weights` (of the elements of
/// the output) may be empty: ones.
struct FitSamples {
  std::span<const float*const> inputs, targets, weights;
};

class GradientProgram {
 public:
  /// Compiles the operators of a program that has its output and is not compiled itself. Throws core::Error where
  /// oneDNN refuses.
  explicit GradientProgram(const FloatProgram& operators, Derivatives derivatives = Derivatives::samples);
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
  /// input, valid until the next run; nothing where only weights were asked for. It uses up what the run has kept.
  /// @pre run() since the last pull_back()
  std::span<const float> pull_back(std::span<const float> weights);
  /// Runs, and pulls back the gradient of `factor` times the squared error: the sum over samples and elements of
  /// w (f_i(x_s) - t)^2, which it returns. Values stay in the layouts of the operators: run() and pull_back() with less
  /// moving about.
  double fit(const FitSamples& samples, double factor);
  /// Of the last way back, summed over the batch: row-major as FloatWeights::set takes them, valid until the next run.
  /// Nothing for a layer that the output does not depend on. @pre derivatives with respect to weights were asked for
  std::span<const float> weight_gradient(Index layer) const;
  std::span<const float> bias_gradient(Index layer) const;

  struct Implementation;

 private:
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace quantbound::tensor
