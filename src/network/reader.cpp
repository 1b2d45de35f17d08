#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/readers.hpp"

namespace quantbound::network {

Network read_network(const std::filesystem::path& path, const ReadOptions& options) {
  if (path.extension() == ".onnx") return read_onnx(path, options);
  if (path.extension() == ".nnet") {
    if (options.input_shape) {
      throw core::InputError("input_shape is for ONNX files; a .nnet file states its input size", path.string());
    }
    return read_nnet(path);
  }
  throw core::InputError(
      fmt::format("networks are read from .onnx and .nnet files, not from '{}'", path.extension().string()),
      path.string());
}

}  // namespace quantbound::network
