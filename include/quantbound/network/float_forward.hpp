/// The float forward engine: the graph compiled to oneDNN primitives for a fixed batch (tensor/float_program.hpp).
/// Every convolution and dense layer takes the activation after it along, a convolution the Pad before it and, where
/// nothing needs the intermediate, a residual sum. Weights are an object of their own: brought into the engine's
/// layouts once, read by any number of engines. One engine belongs to one thread and runs single-threaded, so that its
/// bits do not depend on the number of threads; parallelism is over engines. A sample's bits may depend on its place in
/// the batch and on the batch, so callers cut samples into fixed batches. Double precision: forward.hpp.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "quantbound/network/network.hpp"
#include "quantbound/tensor/float_program.hpp"

namespace quantbound::network {

using tensor::FloatMemory;

/// The weights of one network as engines of one kind read them, in floats. Engines are of one kind when graph
/// (operators and shapes), batch and captured nodes are equal.
class FloatWeights {
 public:
  /// Different layers may be set by different threads at once, but none while an engine runs with them.
  void set(Index layer, const LayerParameters& parameters);
  /// The same from floats, for weights that change all the time: from the second call on nothing is allocated.
  void set(Index layer, std::span<const float> weights, std::span<const float> bias) {
    weights_.set(layer, weights, bias);
  }
  Index bytes() const { return weights_.bytes(); }

 private:
  friend class FloatForward;
  friend class FloatGradient;
  explicit FloatWeights(tensor::FloatWeights weights) : weights_(std::move(weights)) {}

  tensor::FloatWeights weights_;
};

class FloatForward {
 public:
  /// Compiles the graph for this batch. The values of the `captured` nodes stay readable after a run: such a node is
  /// not fused with what reads it, and is computed even where the output does not depend on it. They cost memory for
  /// the whole batch (MobileNetV2 at 224 pixels: 27 MB per sample for the outputs of all layers). Engines with captures
  /// are meant for few samples and do without Winograd's algorithm, whose weights take long to set.
  /// @pre no captured node is the Input
  FloatForward(const Graph& graph, Index batch, std::span<const NodeId> captured = {});
  ~FloatForward();
  FloatForward(FloatForward&&) noexcept;
  FloatForward& operator=(FloatForward&&) noexcept;

  /// All zeros, to be set layer by layer.
  std::shared_ptr<FloatWeights> make_weights() const;
  /// Set to these parameters.
  std::shared_ptr<FloatWeights> make_weights(std::span<const LayerParameters> layers) const;
  /// Swaps pointers, so it may be done before every run.
  /// @pre made by an engine of this kind
  void use(const std::shared_ptr<const FloatWeights>& weights);

  /// batch x input elements -> batch x output elements. The span stays valid until the next call. The first run takes
  /// the memory, later ones allocate nothing.
  /// @pre weights are in use
  std::span<const float> run(std::span<const float> samples);
  /// After run(): the value of captured node number `which`, sample after sample, in an order that is the same for all
  /// engines of one kind: compare engine with engine. Blocked layouts fill channels up to 16 with zeros in every
  /// engine, so the span may be longer than batch x elements; a mean must divide by the latter.
  std::span<const float> captured(Index which) const;

  FloatMemory memory() const;
  /// What takes the time: so many runs with a clock around every step, the shortest of them counts, step by step.
  std::vector<tensor::StepProfile> profile(std::span<const float> samples, Index runs);

 private:
  struct Program;
  std::unique_ptr<Program> program_;
};

}  // namespace quantbound::network
