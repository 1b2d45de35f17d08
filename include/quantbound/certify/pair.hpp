/// A pair (f, f_q): two networks of one graph on one shared input, whose difference f_q - f is what this room bounds.
/// Both mean the real-arithmetic functions of their stored numbers. The weight change dW = W' - W is kept as the
/// nearest doubles: the exact change of an entry is within 2^-53 of that, relatively, and exactly zero where the stored
/// one is.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "quantbound/network/network.hpp"
#include "quantbound/quantize/configuration.hpp"

namespace quantbound::certify {

using network::Box;
using network::Graph;
using network::Index;
using network::LayerParameters;
using network::NodeId;

/// f_q rounds the input of an activation to multiples of `step` (half away from zero or to even: the enclosures hold
/// for both) and clamps the result: y' = clamp(round(a' / step) step, low, high). What QEBVerif's networks do
/// (docs/theory.md 5.2); it replaces the activation of f_q at that node, f keeps its own.
struct ActivationGrid {
  double step = 0.0;
  double low = 0.0, high = 0.0;
};

struct Pair {
  std::string name;  ///< for messages
  Graph graph;
  std::vector<LayerParameters> f, fq;   ///< per weight layer
  std::vector<LayerParameters> change;  ///< fl(W' - W), fl(b' - b)
  /// Per node; empty where no activation of f_q is rounded.
  std::vector<std::optional<ActivationGrid>> activation_grids;

  bool changes(Index layer) const;  ///< whether any weight or bias of the layer differs
  bool rounds_activations() const;
};

/// f and its quantization. Throws as quantize_layers.
Pair make_pair(const network::Network& f, const quantize::Configuration& configuration);

/// f_q of given weights, on f's graph; `original` are f's weights. @pre both fit the graph
Pair make_pair(const std::string& name, const Graph& graph, std::vector<LayerParameters> original,
               std::vector<LayerParameters> quantized);

/// Two networks. Their graphs need the same operators on the same shapes; of two ReLU chains of dense layers with
/// different depths the shallower is padded with identities (docs/theory.md 4.1), and where hidden widths differ the
/// narrower is padded with zeros, which changes neither function. Throws core::InputError naming the first layer
/// that does not fit.
Pair make_pair(const network::Network& f, const network::Network& fq);

/// The merged network of the literature (docs/theory.md 4.1): one network on the shared input whose output is
/// f_q(x) - f(x), for any verifier that reads ONNX. Throws core::InputError for operators that cannot be merged.
network::Network merged_network(const Pair& pair);

}  // namespace quantbound::certify
