/// One quantization configuration: how all weight layers of a network are quantized.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quantbound/network/graph.hpp"

namespace quantbound::quantize {

using network::Index;

/// The rounding rule. floor: Q(t) = floor(t/eta) eta; round: Q(t) = round(t/eta) eta, ties to even (arXiv 2502.01156);
/// truncate: towards zero; stochastic: up with probability frac(t/eta).
enum class Quantizer { floor, round, truncate, stochastic };
/// One step per layer, or one per output channel (row).
enum class Granularity { tensor, channel };
/// symmetric: levels k*eta, |k| <= 2^(b-1)-1 (floor may use -2^(b-1)); affine: (q - z)*eta, 0 <= q <= 2^b - 1, with
/// exact zero.
enum class Grid { symmetric, affine };
/// Where the step comes from: the largest weight, the search of docs/theory.md 7.1 (L_2.4 error over 80 shrunken
/// ranges), or given.
enum class StepRule { max, mse, fixed };

std::string_view to_string(Quantizer);
std::string_view to_string(Granularity);
std::string_view to_string(Grid);
std::string_view to_string(StepRule);
std::optional<Quantizer> parse_quantizer(std::string_view);
std::optional<Granularity> parse_granularity(std::string_view);
std::optional<Grid> parse_grid(std::string_view);

struct Configuration {
  Quantizer quantizer = Quantizer::round;
  Granularity granularity = Granularity::tensor;
  int bits = 8;            ///< 2..16
  std::uint64_t seed = 1;  ///< of stochastic rounding
  Grid grid = Grid::symmetric;
  StepRule step_rule = StepRule::max;
  double fixed_step = 0.0;  ///< with StepRule::fixed
  int bias_bits = 0;        ///< 0: biases are kept; otherwise they are quantized by the same rule with their own step
  int edge_bits = 0;        ///< 2..16: of the first and the last weight layer, instead of `bits`; 0: as all others
  bool operator==(const Configuration&) const = default;
};

/// "round/channel/8", with the edge bits and the seed where they matter.
std::string label(const Configuration& configuration);

/// The configuration of layer number `layer` of `layers`: edge_bits become its bits, or do not concern it. All that
/// quantizes or measures one layer takes such a configuration, and refuses one with edge_bits: it cannot know whether
/// its layer is an edge. Throws core::InputError where edge_bits are neither 0 nor 2 to 16.
Configuration at_layer(const Configuration& configuration, Index layer, Index layers);
std::vector<Configuration> at_layer(std::span<const Configuration> configurations, Index layer, Index layers);

}  // namespace quantbound::quantize
