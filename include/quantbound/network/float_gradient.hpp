/// Values and vector-Jacobian products of a graph in float: what network::Tape gives in double, by oneDNN, with the
/// operators fused as the forward engine has them (tensor/gradient_program.hpp). One engine belongs to one thread and
/// runs single-threaded; bits depend on the graph and the batch, never on the number of threads. Everything that the
/// way back reads is kept for the whole batch, so engines take small batches (MobileNetV2 at 224 pixels: memory()
/// says). Slopes at kinks are one-sided. Nothing here is proved; callers evaluate in double what they report.
#pragma once

#include <memory>
#include <span>

#include "quantbound/network/float_forward.hpp"
#include "quantbound/tensor/gradient_program.hpp"

namespace quantbound::network {

using tensor::Derivatives;
using tensor::FitSamples;

class FloatGradient {
 public:
  /// Compiles the graph for this batch.
  FloatGradient(const Graph& graph, Index batch, Derivatives derivatives = Derivatives::samples);
  ~FloatGradient();
  FloatGradient(FloatGradient&&) noexcept;
  FloatGradient& operator=(FloatGradient&&) noexcept;

  /// All zeros, to be set layer by layer. For gradient engines of equal graph, batch and derivatives only: layouts are
  /// theirs.
  std::shared_ptr<FloatWeights> make_weights() const;
  /// Set to these parameters.
  std::shared_ptr<FloatWeights> make_weights(std::span<const LayerParameters> layers) const;
  /// Swaps pointers, so it may be done before every run.
  /// @pre made by a gradient engine of equal graph, batch and derivatives
  void use(const std::shared_ptr<const FloatWeights>& weights);

  /// batch x input elements -> batch x output elements. The span stays valid until the next run.
  /// @pre weights are in use
  std::span<const float> run(std::span<const float> samples);
  /// Gradient of sum_i weights[s, i] f_i(x_s) at the samples x_s of the last run: batch x output elements -> batch x
  /// input elements, valid until the next run; nothing where only weights were asked for. It uses up what the run kept:
  /// once per run.
  std::span<const float> pull_back(std::span<const float> weights);
  /// Run and pull back in one, with less moving about: the squared error sum w (f_i(x_s) - t)^2 over samples and
  /// elements, and the gradient of `factor` times that.
  double fit(const FitSamples& samples, double factor);
  /// Of the last way back, summed over the batch: row-major as in LayerParameters, valid until the next run. Nothing
  /// for a layer that the output does not depend on. @pre derivatives with respect to weights were asked for
  std::span<const float> weight_gradient(Index layer) const;
  std::span<const float> bias_gradient(Index layer) const;

  FloatMemory memory() const;

 private:
  std::unique_ptr<tensor::GradientProgram> program_;
};

}  // namespace quantbound::network
