/// A graph over all calibration samples by the float engine: in batches of a fixed size that threads share, so that a
/// sample's bits depend on the graph, the weights and its place alone. And the loss between two such values.
#pragma once

#include <span>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::reconstruct::detail {

using network::Graph;
using network::Index;
using network::LayerParameters;

/// Samples of one batch; zeros fill the last one.
inline constexpr Index evaluation_batch = 32;

/// count x input elements -> count x output elements.
std::vector<float> evaluate(const Graph& graph, std::span<const LayerParameters> layers, std::span<const float> inputs,
                            Index count);

/// Mean over samples and positions of the sum over channels of w (a - b)^2, in double: docs/theory.md 7.2, lp_loss; w
/// is 1 where `weights` is empty. What is no image is all channels. `where` names the place in the core::NumericalError
/// of a loss that is not finite.
double mean_loss(const tensor::Shape& shape, std::span<const float> a, std::span<const float> b,
                 std::span<const float> weights, Index count, const std::string& where);

/// Pixels of an image; 1 for any other shape.
Index positions(const tensor::Shape& shape);

}  // namespace quantbound::reconstruct::detail
