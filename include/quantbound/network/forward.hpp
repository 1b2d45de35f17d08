/// The reference forward pass in double: one operator after the other, nothing fused. Deterministic: its bits depend on
/// the arguments alone, not on threads. The float engine is float_forward.hpp; both report the value after each weight
/// layer at Graph::measured_output.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::network {

/// Receives the measured output of layer `layer`: batch x elements, row-major.
using LayerVisitor = std::function<void(Index layer, std::span<const double> values)>;

/// f at `batch` samples (row-major, batch x input elements). Returns batch x output elements.
/// @pre samples.size() == batch * elements(graph.input_shape()); layers as the graph says
std::vector<double> forward(const Graph& graph, std::span<const LayerParameters> layers,
                            std::span<const double> samples, Index batch, const LayerVisitor& visitor = {});

/// Smallest and largest value that every node of the prefix before the first weight layer can take over `box`
/// (normalisation by constants, reshapes, pads); empty intervals' absence is an invariant. Entry v is the box of node
/// v, empty for nodes after a weight layer. Rounded outward.
std::vector<Box> prefix_boxes(const Graph& graph, const Box& box);

}  // namespace quantbound::network
