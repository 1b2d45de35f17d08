/// Writes a network whose weights are integers as ONNX: int8 and uint8 initializers that DequantizeLinear turns into
/// float32 weights (opset 13, one scale per tensor or per output channel along axis 0); int16, uint16, int4 and uint4
/// need opset 21. Biases and other constants are float32. Activations are not quantized: DequantizeLinear stands
/// between constants and the operators that read them, nowhere else.
#pragma once

#include <filesystem>
#include <span>

#include "quantbound/network/integer_weights.hpp"

namespace quantbound::network {

/// Reading the file back gives the network with the same bits. Written under a temporary name and renamed; throws as
/// write_onnx does. @pre network is what dequantized(..., weights) gave
void write_quantized_onnx(const Network& network, std::span<const IntegerWeights> weights,
                          const std::filesystem::path& path);

}  // namespace quantbound::network
