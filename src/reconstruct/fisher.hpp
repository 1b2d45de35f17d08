/// Weights of the elements of a module's output from the diagonal of the Fisher information (BRECQ, arXiv 2102.05426,
/// eq. 9 and 10; docs/theory.md 7.3): (|g| + 1)^2, where g is the gradient of -log p(y) with respect to the element at
/// f, p the softmax of the network's outputs and y a class drawn from p, one per sample: the mean of g^2 over draws is
/// the diagonal of the Fisher information, without labels. A network of one output is taken for the mean of a normal
/// distribution of variance 1: there g is the gradient of the output. The 1 is the damping of BRECQ's code.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quantbound/network/network.hpp"
#include "quantbound/reconstruct/module.hpp"

namespace quantbound::reconstruct::detail {

/// samples x elements of the module's output. `output` holds f's values there, `layers` all layers of f.
/// @pre no edge passes by the module's output
std::vector<float> fisher_weights(const Graph& graph, std::span<const network::LayerParameters> layers,
                                  const Module& module, std::span<const float> output, Index samples,
                                  std::uint64_t seed);

/// d(-log softmax(values)[y])/dvalues for the class y that `uniform` in [0, 1) draws; {1} for a single value.
std::vector<float> label_gradient(std::span<const float> values, double uniform);

}  // namespace quantbound::reconstruct::detail
