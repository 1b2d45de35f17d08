/// Weights in few bytes, without loss: a quantized tensor has few different values, so it becomes a table of them and
/// one small number per weight; a tensor of floats is stored as floats. What rows of at most 8 bits take is an eighth
/// of what their doubles take. Values come back bit for bit, zeros with their sign.
#pragma once

#include <span>
#include <vector>

#include "quantbound/core/bytes.hpp"
#include "quantbound/network/network.hpp"

namespace quantbound::sweep::detail {

core::Bytes pack(const network::LayerParameters& parameters);
/// Throws core::Error where the bytes are none that pack() made.
network::LayerParameters unpack_layer(std::span<const std::byte> bytes);

/// The layers of a network, each packed by itself.
using PackedLayers = std::vector<core::Bytes>;
PackedLayers pack(std::span<const network::LayerParameters> layers);
std::vector<network::LayerParameters> unpack(const PackedLayers& layers);

}  // namespace quantbound::sweep::detail
