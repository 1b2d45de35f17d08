/// Random configurations, points of a box, and how far a forward pass in double can be off: what soundness tests hold
/// proved bounds against.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "quantbound/network/forward.hpp"
#include "quantbound/quantize/configuration.hpp"

#include "network_builder.hpp"

namespace quantbound::testing {

inline quantize::Configuration random_configuration(Draws& draws, int most_bits = 8) {
  quantize::Configuration c;
  c.quantizer = static_cast<quantize::Quantizer>(draws.integer(0, 3));
  c.granularity = static_cast<quantize::Granularity>(draws.integer(0, 1));
  c.grid = static_cast<quantize::Grid>(draws.integer(0, 1));
  c.bits = static_cast<int>(draws.integer(2, most_bits));
  c.seed = static_cast<std::uint64_t>(draws.integer(1, 5));
  if (draws.chance(0.15)) c.step_rule = quantize::StepRule::mse;
  if (draws.chance(0.3)) c.bias_bits = static_cast<int>(draws.integer(2, 8));
  if (draws.chance(0.2)) c.edge_bits = static_cast<int>(draws.integer(2, most_bits));
  return c;
}

/// The graph with absolute functions: on absolute weights and inputs it dominates every intermediate sum.
inline network::Graph dominating_graph(network::Graph graph) {
  for (network::Node& node : graph.nodes) {
    if (auto* activation = std::get_if<network::Activation>(&node.op)) {
      if (activation->fixes_zero()) {
        node.op = network::Activation{network::ActivationKind::relu};
      } else {
        node.op = network::ScaleShift{{1.0}, {std::abs((*activation)(0.0))}};
      }
    } else if (auto* affine = std::get_if<network::ScaleShift>(&node.op)) {
      for (double& value : affine->scale) value = std::abs(value);
      for (double& value : affine->shift) value = std::abs(value);
    }
  }
  return graph;
}

inline std::vector<network::LayerParameters> absolute(std::vector<network::LayerParameters> layers) {
  for (network::LayerParameters& layer : layers) {
    for (double& w : layer.weights) w = std::abs(w);
    for (double& b : layer.bias) b = std::abs(b);
  }
  return layers;
}

/// Per output: what the double forward pass can be off by, from the size of everything that is added up (gamma_n of
/// every layer, at most 2 in front for the Lipschitz constants and the functions of the library).
inline std::vector<double> rounding_error(const network::Network& f, std::span<const network::LayerParameters> layers,
                                          const network::Box& box) {
  std::vector<double> largest(box.low.size());
  for (std::size_t i = 0; i < largest.size(); ++i) largest[i] = std::max(std::abs(box.low[i]), std::abs(box.high[i]));
  std::vector<double> size =
      network::forward(dominating_graph(f.graph), absolute({layers.begin(), layers.end()}), largest, 1);
  double terms = 0.0, growth = 1.0;
  for (const network::Node& node : f.graph.nodes) {
    terms += 20.0;
    if (const auto* dense = std::get_if<network::Dense>(&node.op)) terms += static_cast<double>(dense->inputs);
    if (const auto* convolution = std::get_if<network::Convolution>(&node.op))
      terms += static_cast<double>(convolution->geometry.fan_in());
    if (const auto* activation = std::get_if<network::Activation>(&node.op))
      growth *= std::max(1.0, activation->lipschitz());
  }
  for (double& value : size) value *= growth * terms * 0x1p-52;
  return size;
}

/// Corners, edges and inner points of the box.
inline std::vector<double> points(const network::Box& box, Index count, Draws& draws) {
  std::vector<double> result;
  for (Index n = 0; n < count; ++n) {
    for (std::size_t i = 0; i < box.low.size(); ++i) {
      const double u = n % 3 == 0 ? static_cast<double>(draws.integer(0, 1)) : draws.uniform();
      result.push_back(std::clamp(box.low[i] + u * (box.high[i] - box.low[i]), box.low[i], box.high[i]));
    }
  }
  return result;
}

}  // namespace quantbound::testing
