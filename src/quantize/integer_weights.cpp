#include "quantbound/quantize/integer_weights.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

#include "grids.hpp"

namespace quantbound::quantize {

namespace {

/// The scale of a row of zeros does not matter; 1 is one that every engine accepts.
float scale_of(const RowGrid& grid, const std::string& name) {
  if (grid.step == 0.0) return 1.0F;
  constexpr auto smallest = static_cast<double>(std::numeric_limits<float>::min());
  constexpr auto largest = static_cast<double>(std::numeric_limits<float>::max());
  const double reach = std::max(grid.highest - grid.zero_point, grid.zero_point - grid.lowest);
  if (grid.step < smallest || !(grid.step * reach < largest)) {
    throw core::InputError(
        fmt::format("the step {} takes its weights out of the range of float32; scale the network", grid.step),
        fmt::format("layer '{}'", name));
  }
  return static_cast<float>(grid.step);
}

/// k of the value k * step.
double multiple_of(double value, const RowGrid& grid) {
  return grid.step == 0.0 ? 0.0 : std::nearbyint(value / grid.step);
}

}  // namespace

network::IntegerWeights integer_weights(const LayerParameters& quantized, std::span<const RowGrid> grids,
                                        const Configuration& configuration, network::Packing packing,
                                        const std::string& name) {
  detail::check(configuration);
  QUANTBOUND_ASSERT(!grids.empty() && quantized.weights.size() % grids.size() == 0, grids.size(),
                    quantized.weights.size());
  const auto sign = configuration.grid == Grid::symmetric ? network::Sign::with_sign : network::Sign::without_sign;
  network::IntegerWeights result{.type = network::smallest_type(configuration.bits, sign, packing)};
  const bool by_row = configuration.granularity == Granularity::channel;
  for (const RowGrid& grid : grids.first(by_row ? grids.size() : 1)) {
    result.scales.push_back(scale_of(grid, name));
    result.zero_points.push_back(static_cast<std::int32_t>(grid.zero_point));
  }
  const std::size_t columns = quantized.weights.size() / grids.size();
  result.codes.resize(quantized.weights.size());
  for (std::size_t i = 0; i < result.codes.size(); ++i) {
    const RowGrid& grid = grids[i / columns];
    const double multiple = multiple_of(quantized.weights[i], grid), code = multiple + grid.zero_point;
    const bool on_grid = multiple * grid.step == quantized.weights[i] && code >= grid.lowest && code <= grid.highest;
    QUANTBOUND_ASSERT(on_grid, name, i, quantized.weights[i], grid.step);
    result.codes[i] = static_cast<std::int32_t>(code);
  }
  return result;
}

}  // namespace quantbound::quantize
