/// A network: its graph and the weights of its layers, plus where it came from. Weights are doubles: files in float32
/// or float16 convert exactly, and f means the real-arithmetic function of these numbers (docs/design.md 9).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "quantbound/network/graph.hpp"

namespace quantbound::network {

/// Weights of one layer: `weights` row-major with one row per output (channel), `bias` one per row (zeros where the
/// file has none).
struct LayerParameters {
  std::vector<double> weights;
  std::vector<double> bias;
};

/// An axis-aligned box of inputs, per element of the input shape.
struct Box {
  std::vector<double> low, high;
};

struct Network {
  std::string name;
  Graph graph;
  std::vector<LayerParameters> layers;
  std::vector<std::string> notes;  ///< what the reader did that a user should know ("final Softmax ignored", ...)
  std::optional<Box> domain;       ///< the box that came with the file (.nnet)
};

Index parameter_count(const Network& network);
/// Largest number of elements of a weight layer's input or output.
Index width(const Graph& graph);

/// Rejects NaN and infinite weights and wrong sizes: core::InputError naming layer and index.
void validate(const Network& network, const std::string& where);

}  // namespace quantbound::network
