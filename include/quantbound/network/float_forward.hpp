/// The float forward engine: the graph compiled to oneDNN primitives for a fixed batch (tensor/float_program.hpp).
/// Every convolution and dense layer takes the activation after it along, a convolution the Pad before it and, where
/// nothing needs the intermediate, a residual sum. One engine belongs to one thread and runs single-threaded, so that
/// its bits do not depend on the number of threads; parallelism is over engines. A sample's bits may depend on its
/// place in the batch and on the batch, so callers cut samples into fixed batches. Double precision: forward.hpp.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::network {

/// Whether the engine must deliver the measured output of every weight layer. With `layers` it holds batch x all of
/// them in memory (MobileNetV2 at 224 pixels: 27 MB per sample), and residual sums are not fused.
enum class Capture { output_only, layers };

class FloatForward {
 public:
  FloatForward(const Graph& graph, std::span<const LayerParameters> layers, Index batch, Capture capture);
  ~FloatForward();
  FloatForward(FloatForward&&) noexcept;
  FloatForward& operator=(FloatForward&&) noexcept;

  /// Replaces the weights; the compiled primitives stay.
  void set_parameters(std::span<const LayerParameters> layers);
  /// batch x input elements -> batch x output elements. The span stays valid until the next call.
  std::span<const float> run(std::span<const float> samples);
  /// After run() with Capture::layers: the measured output of a layer, sample after sample, in an order that is the
  /// same for all engines of the same graph, batch and capture: compare engine with engine. Blocked layouts fill
  /// channels up to 16 with zeros in every engine, so the span may be longer than batch x elements; a mean must divide
  /// by the latter.
  /// @pre the engine was made with Capture::layers
  std::span<const float> layer_output(Index layer) const;

 private:
  struct Program;
  std::unique_ptr<Program> program_;
};

}  // namespace quantbound::network
