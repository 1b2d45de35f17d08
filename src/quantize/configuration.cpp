#include "quantbound/quantize/configuration.hpp"

#include <array>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

namespace quantbound::quantize {

namespace {

template <class Enum, std::size_t n>
std::optional<Enum> parse_by_name(std::string_view text, const std::array<Enum, n>& values) {
  for (const Enum value : values) {
    if (to_string(value) == text) return value;
  }
  return std::nullopt;
}

}  // namespace

std::string_view to_string(Quantizer quantizer) {
  switch (quantizer) {
    case Quantizer::floor:
      return "floor";
    case Quantizer::round:
      return "round";
    case Quantizer::truncate:
      return "truncate";
    case Quantizer::stochastic:
      return "stochastic";
  }
  return "?";
}

std::string_view to_string(Granularity granularity) {
  return granularity == Granularity::tensor ? "tensor" : "channel";
}

std::string_view to_string(Grid grid) { return grid == Grid::symmetric ? "symmetric" : "affine"; }

std::string_view to_string(StepRule rule) {
  switch (rule) {
    case StepRule::max:
      return "max";
    case StepRule::mse:
      return "mse";
    case StepRule::fixed:
      return "fixed";
  }
  return "?";
}

std::optional<Quantizer> parse_quantizer(std::string_view text) {
  return parse_by_name(text,
                       std::array{Quantizer::floor, Quantizer::round, Quantizer::truncate, Quantizer::stochastic});
}

std::optional<Granularity> parse_granularity(std::string_view text) {
  return parse_by_name(text, std::array{Granularity::tensor, Granularity::channel});
}

std::optional<Grid> parse_grid(std::string_view text) {
  return parse_by_name(text, std::array{Grid::symmetric, Grid::affine});
}

std::string label(const Configuration& configuration) {
  std::string text = fmt::format("{}/{}/{}", to_string(configuration.quantizer), to_string(configuration.granularity),
                                 configuration.bits);
  if (configuration.edge_bits != 0) text += fmt::format("/edges {}", configuration.edge_bits);
  if (configuration.quantizer == Quantizer::stochastic) text += fmt::format("/seed {}", configuration.seed);
  return text;
}

Configuration at_layer(const Configuration& configuration, Index layer, Index layers) {
  QUANTBOUND_ASSERT(0 <= layer && layer < layers, layer, layers);
  Configuration result = configuration;
  result.edge_bits = 0;
  if (configuration.edge_bits == 0) return result;
  if (configuration.edge_bits < 2 || configuration.edge_bits > 16) {
    throw core::InputError(
        fmt::format("{} bits for the first and last layer cannot be used; give 2 to 16", configuration.edge_bits),
        "quantization.edge_bits");
  }
  if (layer == 0 || layer == layers - 1) result.bits = configuration.edge_bits;
  return result;
}

std::vector<Configuration> at_layer(std::span<const Configuration> configurations, Index layer, Index layers) {
  std::vector<Configuration> result;
  result.reserve(configurations.size());
  for (const Configuration& configuration : configurations) result.push_back(at_layer(configuration, layer, layers));
  return result;
}

}  // namespace quantbound::quantize
