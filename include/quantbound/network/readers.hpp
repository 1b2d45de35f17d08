/// Readers: ONNX (opsets 7-21), .nnet (normalised units, as verifiers use it) and vnnlib boxes. Each delivers a
/// validated Network or throws core::InputError / core::UnsupportedOperator naming file, node and remedy. Protobuf
/// stays in src/network/onnx_*.cpp.
#pragma once

#include <filesystem>
#include <optional>

#include "quantbound/network/network.hpp"

namespace quantbound::network {

struct ReadOptions {
  /// Per-sample input shape, for files whose input has dynamic dimensions besides the batch.
  std::optional<Shape> input_shape;
};

/// By extension: .onnx or .nnet.
Network read_network(const std::filesystem::path& path, const ReadOptions& options = {});
Network read_onnx(const std::filesystem::path& path, const ReadOptions& options = {});
/// f is the bare network on normalised inputs (mean and range of the header applied); its domain is the header's input
/// range after normalisation.
Network read_nnet(const std::filesystem::path& path);
/// The input box of a vnnlib property (conjunctions of bounds on X_i; a disjunction of boxes gives their hull).
Box read_vnnlib_box(const std::filesystem::path& path, Index input_count);

/// A VNN-LIB 2.0 property of two networks: the second is `isomorphic-to` the first, both read one input in `input`, and
/// every g_i - f_i is to lie in `difference` (infinite where the file says nothing). A disjunction of input boxes gives
/// their hull; tensors are read in row-major order.
struct PairProperty {
  Box input;
  Box difference;
};
/// Whether the file declares two networks. Throws core::InputError where it cannot be parsed.
bool is_vnnlib_pair(const std::filesystem::path& path);
PairProperty read_vnnlib_pair(const std::filesystem::path& path, Index input_count, Index output_count);

}  // namespace quantbound::network
