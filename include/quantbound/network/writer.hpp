/// Writes a network as ONNX (opset 13, float64 weights where float32 would not hold them exactly, else float32), so that
/// any tool can read what we analysed. Reading the file back gives the same network.
#pragma once

#include <filesystem>

#include "quantbound/network/network.hpp"

namespace quantbound::network {

/// Written under a temporary name and renamed. Throws core::IoError.
void write_onnx(const Network& network, const std::filesystem::path& path);

}  // namespace quantbound::network
