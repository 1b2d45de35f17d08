/// The float forward engine: the graph compiled to oneDNN primitives for a fixed batch, convolutions fused with their
/// activation (and, where nothing needs the intermediate, with a residual sum). One engine belongs to one thread and
/// runs single-threaded, so that its bits do not depend on the number of threads; parallelism is over engines.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::network {

/// Whether the engine must deliver the measured output of every weight layer.
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
  /// After run() with Capture::layers: batch x elements of the measured output of a layer, in an order that is the same
  /// for all engines of the same graph and batch (it may be a blocked layout: compare engine with engine).
  std::span<const float> layer_output(Index layer) const;

 private:
  struct Program;
  std::unique_ptr<Program> program_;
};

}  // namespace quantbound::network
