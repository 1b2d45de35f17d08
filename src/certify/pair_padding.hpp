/// Two ReLU chains of dense layers brought to one depth and one width (docs/theory.md 4.1): identity layers before the
/// output layer of the shallower one, which change nothing because hidden values are not negative, and hidden neurons
/// of weight zero in the narrower one.
#pragma once

#include <optional>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::certify::detail {

/// Dense layers with ReLU between them and nothing else; reshapes do not count.
struct ReluChain {
  std::vector<network::LayerParameters> layers;

  std::size_t outputs(std::size_t layer) const { return layers[layer].bias.size(); }
  std::size_t inputs(std::size_t layer) const { return layers[layer].weights.size() / outputs(layer); }
};

/// Empty where the network is anything else.
std::optional<ReluChain> relu_chain(const network::Network& network);

/// The depth and hidden widths of both, the larger of each. Throws core::InputError where the chains have different
/// inputs or outputs, or where one has no hidden layer to repeat.
void pad_to_one_shape(ReluChain& a, ReluChain& b, const std::string& where);

/// Input of the given shape, then the chain.
network::Graph chain_graph(const network::Shape& input, const ReluChain& chain);

}  // namespace quantbound::certify::detail
