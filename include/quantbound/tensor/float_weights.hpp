/// The weights of one network as its float programs read them: one block of floats, every layer in the layout that its
/// primitive chose. Programs that chose the same layouts (equal operators, batch and kept values) may share one object,
/// also when they run on several threads: they only read it. They are made by
/// FloatProgram::make_weights and GradientProgram::make_weights.
#pragma once

#include <memory>
#include <span>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor {

class FloatWeights {
 public:
  struct Implementation;
  explicit FloatWeights(std::unique_ptr<Implementation> implementation);
  ~FloatWeights();
  FloatWeights(FloatWeights&&) noexcept;
  FloatWeights& operator=(FloatWeights&&) noexcept;

  /// Weights {outputs, inputs...} in row-major order and one bias per output. Different layers may be set by different
  /// threads at once; a layer whose value no one reads is ignored.
  void set(Index layer, std::span<const double> weights, std::span<const double> bias);
  /// The same from floats, for weights that change all the time: from the second call on nothing is allocated.
  void set(Index layer, std::span<const float> weights, std::span<const float> bias);
  Index bytes() const;

 private:
  friend class FloatProgram;
  friend class GradientProgram;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace quantbound::tensor
