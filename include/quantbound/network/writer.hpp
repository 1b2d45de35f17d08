/// Writes a network as ONNX (opset 13; 14 with HardSwish) with an open batch axis, so that any tool can read what we
/// analysed. Numbers are float32 where that holds all of them exactly, else float64, which fewer tools run (ONNX
/// Runtime has no Conv in float64). Reading the file back gives the same function with the same bits of weights; what
/// the reader simplifies (a Slice that takes everything, a Transpose that moves nothing, names of reshapes) comes back
/// simplified. Notes and domain have no place in the file.
#pragma once

#include <filesystem>

#include "quantbound/network/network.hpp"

namespace quantbound::network {

/// Written under a temporary name and renamed. Throws core::IoError, and core::InputError for what ONNX cannot hold: an
/// activation whose parameters are no float32 numbers, an average over a dilated window, more than 2 GiB.
void write_onnx(const Network& network, const std::filesystem::path& path);

}  // namespace quantbound::network
