/// Derivatives of a network by reverse accumulation, in double: the vector-Jacobian products that searches climb. Where
/// an activation or a maximum has a kink the derivative of one side is taken. Nothing here is proved; proofs evaluate
/// the points that a search finds.
#pragma once

#include <span>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::network {

/// The forward pass at a batch of samples with every value that the way back needs.
class Tape {
 public:
  /// Arguments as of forward(); graph and layers must outlive the tape.
  Tape(const Graph& graph, std::span<const LayerParameters> layers, std::span<const double> samples, Index batch);

  /// batch x output elements: the bits of forward().
  std::span<const double> output() const;
  /// Value of a node: batch x elements.
  std::span<const double> value(NodeId node) const;
  /// Gradient of sum_i weights[s, i] * f_i(x_s) with respect to x_s. `weights` is batch x output elements; the result
  /// batch x input elements.
  std::vector<double> pull_back(std::span<const double> weights) const;
  /// With respect to the parameters of every layer, summed over the batch; zeros where the output does not depend on a
  /// layer. Plain loops: the reference of FloatGradient's.
  std::vector<LayerParameters> pull_back_to_layers(std::span<const double> weights) const;

 private:
  const Graph* graph_;
  std::span<const LayerParameters> layers_;
  Index batch_;
  std::vector<std::vector<double>> values_;
};

}  // namespace quantbound::network
