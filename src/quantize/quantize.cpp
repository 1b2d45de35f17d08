#include "quantbound/quantize/quantize.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"

#include "grids.hpp"

namespace quantbound::quantize {

namespace {

double rounded_stochastically(double quotient, double uniform) {
  const double below = std::floor(quotient);
  return uniform < quotient - below ? below + 1.0 : below;
}

/// Integer -> value. The sum with 0.0 turns a negative zero into zero.
double level(double integer, const RowGrid& grid) {
  const double low = grid.lowest - grid.zero_point, high = grid.highest - grid.zero_point;
  return (std::min(std::max(integer, low), high) + 0.0) * grid.step;
}

template <Quantizer quantizer>
void quantize_row(std::span<const double> weights, const RowGrid& grid, std::span<double> result) {
  for (std::size_t i = 0; i < weights.size(); ++i) {
    result[i] = level(detail::rounded<quantizer>(weights[i] / grid.step), grid);
  }
}

/// `uniform` gives the random number of the row's i-th weight.
template <class Uniform>
void quantize_row(std::span<const double> weights, const RowGrid& grid, Quantizer quantizer, Uniform uniform,
                  std::span<double> result) {
  if (grid.step == 0.0) {
    std::fill(result.begin(), result.end(), 0.0);
    return;
  }
  switch (quantizer) {
    case Quantizer::floor:
      return quantize_row<Quantizer::floor>(weights, grid, result);
    case Quantizer::round:
      return quantize_row<Quantizer::round>(weights, grid, result);
    case Quantizer::truncate:
      return quantize_row<Quantizer::truncate>(weights, grid, result);
    case Quantizer::stochastic:
      break;
  }
  for (std::size_t i = 0; i < weights.size(); ++i) {
    result[i] = level(rounded_stochastically(weights[i] / grid.step, uniform(i)), grid);
  }
}

void check_finite(std::span<const double> values, const char* what, Index layer) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    throw core::NumericalError(fmt::format("quantized {} {} is not finite; scale the network down", what, i),
                               fmt::format("layer {}", layer));
  }
}

}  // namespace

double quantize_value(double weight, const RowGrid& grid, Quantizer quantizer, double uniform) {
  if (grid.step == 0.0) return 0.0;
  const double quotient = weight / grid.step;
  switch (quantizer) {
    case Quantizer::floor:
      return level(detail::rounded<Quantizer::floor>(quotient), grid);
    case Quantizer::round:
      return level(detail::rounded<Quantizer::round>(quotient), grid);
    case Quantizer::truncate:
      return level(detail::rounded<Quantizer::truncate>(quotient), grid);
    case Quantizer::stochastic:
      break;
  }
  return level(rounded_stochastically(quotient, uniform), grid);
}

StochasticUniforms::StochasticUniforms(const Configuration& configuration, Index layer)
    : stream_(configuration.seed, "stochastic rounding of weights", static_cast<std::uint64_t>(layer)) {}

double stochastic_uniform(const Configuration& configuration, Index layer, Index index) {
  return StochasticUniforms(configuration, layer)(index);
}

std::vector<double> quantize_bias(std::span<const double> bias, Index layer, const Configuration& configuration) {
  std::vector<double> result(bias.size());
  const core::RandomStream random(configuration.seed, "stochastic rounding of biases",
                                  static_cast<std::uint64_t>(layer));
  quantize_row(
      bias, choose_bias_grid(bias, configuration), configuration.quantizer,
      [&](std::size_t i) { return random.uniform(i); }, result);
  check_finite(result, "bias", layer);
  return result;
}

LayerParameters quantize_layer(const LayerParameters& parameters, Index layer, const Configuration& configuration) {
  const std::size_t rows = parameters.bias.size();
  const std::vector<RowGrid> grids = choose_grids(parameters.weights, static_cast<Index>(rows), configuration);
  const std::size_t columns = parameters.weights.size() / rows;
  const StochasticUniforms random(configuration, layer);
  LayerParameters result{std::vector<double>(parameters.weights.size()), parameters.bias};
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t first = row * columns;
    quantize_row(
        std::span(parameters.weights).subspan(first, columns), grids[row], configuration.quantizer,
        [&](std::size_t i) { return random(static_cast<Index>(first + i)); },
        std::span(result.weights).subspan(first, columns));
  }
  check_finite(result.weights, "weight", layer);
  if (configuration.bias_bits > 0) result.bias = quantize_bias(parameters.bias, layer, configuration);
  return result;
}

std::vector<LayerParameters> quantize_layers(std::span<const LayerParameters> layers,
                                             const Configuration& configuration) {
  std::vector<LayerParameters> result;
  result.reserve(layers.size());
  for (Index layer = 0; layer < std::ssize(layers); ++layer) {
    result.push_back(quantize_layer(layers[static_cast<std::size_t>(layer)], layer,
                                    at_layer(configuration, layer, std::ssize(layers))));
  }
  return result;
}

}  // namespace quantbound::quantize
