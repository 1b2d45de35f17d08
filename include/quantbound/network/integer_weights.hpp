/// Weights as integers and scales, the way ONNX's DequantizeLinear stores them: weight = (code - zero_point) * scale of
/// its row, one multiplication in float32. Plain data: how codes are chosen is the business of the room quantize.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::network {

/// The integer types of ONNX tensors that weights are stored in. Two elements of int4 or uint4 share a byte.
enum class IntegerType { int4, uint4, int8, uint8, int16, uint16 };
std::string_view to_string(IntegerType type);
int bits_of(IntegerType type);
std::int32_t lowest(IntegerType type);
std::int32_t highest(IntegerType type);

/// Whether types of less than a byte may be used.
enum class Packing { bytes, nibbles };
enum class Sign { with_sign, without_sign };
/// The smallest type that holds integers of so many bits. @pre 1 <= bits <= 16
IntegerType smallest_type(int bits, Sign sign, Packing packing);

/// The weights of one layer.
struct IntegerWeights {
  IntegerType type = IntegerType::int8;
  std::vector<std::int32_t> codes;        ///< row-major, as LayerParameters::weights
  std::vector<float> scales;              ///< one for all rows, or one per row
  std::vector<std::int32_t> zero_points;  ///< one per scale, of the same type as the codes
};

/// Bytes of codes, scales and zero points.
Index stored_bytes(const IntegerWeights& weights);

/// The weights that DequantizeLinear makes of the codes. @pre as many scales and zero points, and they divide the codes
std::vector<double> dequantized(const IntegerWeights& weights);

/// The network that a float32 engine runs with these weights: biases and all other constants are rounded to float32.
/// Only what ONNX keeps in attributes (the slope of a LeakyRelu) stays as it is. @pre one IntegerWeights per layer
Network dequantized(Network network, std::span<const IntegerWeights> weights);

}  // namespace quantbound::network
