#include "quantbound/quantize/configuration.hpp"

#include <array>

#include <fmt/format.h>

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
  if (configuration.quantizer == Quantizer::stochastic) text += fmt::format("/seed {}", configuration.seed);
  return text;
}

}  // namespace quantbound::quantize
