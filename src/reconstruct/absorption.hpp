/// Biases absorbed by the layer that follows, before anything is quantized (arXiv 1906.04721, section 4.1;
/// docs/theory.md 7.6): what the pre-activations of a channel stay above, by so many of their standard deviations,
/// moves from its bias into the next layer's. f_q is fitted to the layers that come out; what it is compared with stays
/// f.
#pragma once

#include <span>
#include <vector>

#include "quantbound/network/network.hpp"
#include "quantbound/reconstruct/reconstruct.hpp"

namespace quantbound::reconstruct::detail {

/// Every link that lets a constant pass, with means and deviations over all calibration samples. The weights are those
/// of `layers`.
std::vector<LayerParameters> with_absorbed_biases(const Graph& graph, std::span<const LayerParameters> layers,
                                                  const Calibration& calibration, double deviations);

}  // namespace quantbound::reconstruct::detail
