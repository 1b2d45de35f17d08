#include "quantbound/quantize/quantize.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"

#include "grids.hpp"
#include "weight_loops.hpp"

namespace quantbound::quantize {

namespace {

/// Integer -> value. The sum with 0.0 turns a negative zero into zero.
double level(double integer, const RowGrid& grid) {
  const double low = grid.lowest - grid.zero_point, high = grid.highest - grid.zero_point;
  return (std::min(std::max(integer, low), high) + 0.0) * grid.step;
}

/// Uniform numbers of a row's weights, a block at a time: what stochastic rounding reads.
constexpr std::size_t random_block = 512;

/// Whether all levels are finite. The row's first weight has number `first` in the stream of random numbers.
bool quantize_row(std::span<const double> weights, const RowGrid& grid, Quantizer quantizer,
                  const core::RandomStream& random, std::size_t first, std::span<double> result) {
  if (grid.step == 0.0) {
    std::fill(result.begin(), result.end(), 0.0);
    return true;
  }
  const detail::Levels levels{grid.step, grid.lowest - grid.zero_point, grid.highest - grid.zero_point};
  const detail::RoundingLoop loop = detail::instruction_sets().front().rounding_of(quantizer);
  if (quantizer != Quantizer::stochastic) return loop(weights, nullptr, levels, result.data());
  std::array<double, random_block> uniforms;
  bool finite = true;
  for (std::size_t i = 0; i < weights.size(); i += random_block) {
    const auto block = weights.subspan(i, std::min(random_block, weights.size() - i));
    random.uniforms(first + i, std::span(uniforms).first(block.size()));
    finite &= loop(block, uniforms.data(), levels, result.data() + i);
  }
  return finite;
}

/// @pre one of the values is not finite
[[noreturn]] void report_not_finite(std::span<const double> values, const char* what, Index layer) {
  const auto first = std::ranges::find_if_not(values, [](double value) { return std::isfinite(value); });
  throw core::NumericalError(
      fmt::format("quantized {} {} is not finite; scale the network down", what, first - values.begin()),
      fmt::format("layer {}", layer));
}

core::RandomStream weight_stream(const Configuration& configuration, Index layer) {
  return {configuration.seed, "stochastic rounding of weights", static_cast<std::uint64_t>(layer)};
}

std::vector<double> quantize_bias(std::span<const double> bias, Index layer, const Configuration& configuration,
                                  const RowGrid& grid) {
  std::vector<double> result(bias.size());
  const core::RandomStream random(configuration.seed, "stochastic rounding of biases",
                                  static_cast<std::uint64_t>(layer));
  if (!quantize_row(bias, grid, configuration.quantizer, random, 0, result)) report_not_finite(result, "bias", layer);
  return result;
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
  return level(detail::rounded_stochastically(quotient, uniform), grid);
}

StochasticUniforms::StochasticUniforms(const Configuration& configuration, Index layer)
    : stream_(weight_stream(configuration, layer)) {}

double stochastic_uniform(const Configuration& configuration, Index layer, Index index) {
  return StochasticUniforms(configuration, layer)(index);
}

std::vector<double> quantize_bias(std::span<const double> bias, Index layer, const Configuration& configuration) {
  return quantize_bias(bias, layer, configuration, choose_bias_grid(bias, configuration));
}

void quantize_weights(std::span<const double> weights, Index layer, const Configuration& configuration,
                      std::span<const RowGrid> grids, std::span<double> result) {
  detail::check(configuration);
  QUANTBOUND_ASSERT(!grids.empty() && weights.size() % grids.size() == 0 && weights.size() == result.size(),
                    grids.size(), weights.size(), result.size());
  const core::RandomStream random = weight_stream(configuration, layer);
  // Rows on one grid are one long row.
  const std::size_t rows = configuration.granularity == Granularity::tensor ? 1 : grids.size();
  const std::size_t columns = weights.size() / rows;
  bool finite = true;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t first = row * columns;
    finite &= quantize_row(weights.subspan(first, columns), grids[row], configuration.quantizer, random, first,
                           result.subspan(first, columns));
  }
  if (!finite) report_not_finite(result, "weight", layer);
}

LayerParameters quantize_layer(const LayerParameters& parameters, Index layer, const Configuration& configuration) {
  return quantize_layer(parameters, layer, configuration, choose_grids(parameters, configuration));
}

LayerParameters quantize_layer(const LayerParameters& parameters, Index layer, const Configuration& configuration,
                               const LayerGrids& grids) {
  QUANTBOUND_ASSERT(grids.bias.has_value() == (configuration.bias_bits > 0), configuration.bias_bits);
  LayerParameters result{std::vector<double>(parameters.weights.size()), {}};
  quantize_weights(parameters.weights, layer, configuration, grids.weights, result.weights);
  result.bias = grids.bias ? quantize_bias(parameters.bias, layer, configuration, *grids.bias) : parameters.bias;
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
