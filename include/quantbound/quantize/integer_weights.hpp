/// The integers of a quantized layer, as files store them: the codes q of W' = (q - z) * step, with the step rounded to
/// float32, because that is what DequantizeLinear multiplies by. The codes are those of W', so the network that is
/// deployed has the integers that bounds and certificates speak of, and weights that differ from W' by two roundings
/// of float32: |w - w'| <= 1.2e-7 |w'|.
#pragma once

#include <span>
#include <string>

#include "quantbound/network/integer_weights.hpp"
#include "quantbound/quantize/quantize.hpp"

namespace quantbound::quantize {

/// Symmetric grids give integers with sign and zero point 0, affine ones integers without. `name` of the layer is for
/// messages. Throws core::InputError where a step or a weight is beyond the normal numbers of float32.
/// @pre `quantized` lies on `grids`, which are those of this configuration (choose_grids), made by at_layer
network::IntegerWeights integer_weights(const LayerParameters& quantized, std::span<const RowGrid> grids,
                                        const Configuration& configuration, network::Packing packing,
                                        const std::string& name);

}  // namespace quantbound::quantize
