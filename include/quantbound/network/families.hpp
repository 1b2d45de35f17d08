/// Synthetic network families over depth, width, weight law and draw. Layer l of a network is a pure function of
/// (seed, family point, draw, layer): any rank makes any layer alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "quantbound/network/network.hpp"

namespace quantbound::network {

enum class Family { mlp, cnn, resnet, mobilenet_v2 };
enum class WeightLaw { he_normal, he_uniform, xavier_normal, orthogonal };
std::string_view to_string(Family family);
std::string_view to_string(WeightLaw law);
std::optional<Family> parse_family(std::string_view text);
std::optional<WeightLaw> parse_weight_law(std::string_view text);

/// One point of a family. `depth` counts weight layers (what the family cannot build is an error, never rounded): mlp
/// any, cnn from 2, resnet 6n + 2, mobilenet_v2 3n + 2. `width` is the hidden width (mlp) or the channel count of the
/// first stage. inputs/outputs: mlp flat sizes; the image families take {3, resolution, resolution}. Biases are zero.
/// Orthogonal layers have orthonormal rows or columns, whichever are fewer, in every group of a convolution.
struct FamilyPoint {
  Family family = Family::mlp;
  Index depth = 5;
  Index width = 64;
  WeightLaw law = WeightLaw::he_normal;
  Index draw = 0;
  std::uint64_t seed = 1;
  Index inputs = 64;  ///< mlp: input size
  Index outputs = 10;
  Index resolution = 32;  ///< image families
};

/// "mlp-depth5-width64-he_normal-0"
std::string name(const FamilyPoint& point);
Graph make_graph(const FamilyPoint& point);
LayerParameters make_layer(const FamilyPoint& point, const Graph& graph, Index layer);
Network make_network(const FamilyPoint& point);

}  // namespace quantbound::network
