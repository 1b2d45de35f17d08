#include "grids.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

#include "weight_loops.hpp"

namespace quantbound::quantize {

namespace detail {

namespace {

constexpr double smallest_step = std::numeric_limits<double>::denorm_min();

double levels_above_zero(int bits) { return static_cast<double>((1 << (bits - 1)) - 1); }
double affine_levels(int bits) { return static_cast<double>((1 << bits) - 1); }

RowGrid symmetric_grid(double step, int bits, Quantizer quantizer) {
  const double highest = levels_above_zero(bits);
  return {step, 0.0, quantizer == Quantizer::floor ? -highest - 1.0 : -highest, highest};
}

RowGrid affine_grid(double low, double step, int bits) {
  const double highest = affine_levels(bits);
  const double zero_point = step == 0.0 ? 0.0 : std::clamp(std::nearbyint(-low / step), 0.0, highest);
  return {step, zero_point + 0.0, 0.0, highest};
}

}  // namespace

Range range_of(std::span<const double> weights) { return instruction_sets().front().range(weights); }

double step_over(const Range& range, double shrink, int bits, Grid grid) {
  const double low = range.low * shrink, high = range.high * shrink;
  double step = 0.0;
  if (grid == Grid::symmetric) {
    step = std::max(-low, high) / levels_above_zero(bits);
  } else {
    const double width = high - low, levels = affine_levels(bits);
    step = std::isfinite(width) ? width / levels : high / levels - low / levels;
  }
  return range.low < 0.0 || range.high > 0.0 ? std::max(step, smallest_step) : 0.0;
}

RowGrid grid_over(const Range& range, double shrink, int bits, const Configuration& configuration) {
  const double step = step_over(range, shrink, bits, configuration.grid);
  return configuration.grid == Grid::symmetric ? symmetric_grid(step, bits, configuration.quantizer)
                                               : affine_grid(range.low * shrink, step, bits);
}

RowGrid grid_with_step(const Range& range, double step, int bits, const Configuration& configuration) {
  return configuration.grid == Grid::symmetric ? symmetric_grid(step, bits, configuration.quantizer)
                                               : affine_grid(range.low, step, bits);
}

double error_in_steps(std::span<const double> weights, const RowGrid& grid, Quantizer quantizer, double limit) {
  if (grid.step == 0.0) return 0.0;
  const Levels levels{grid.step, grid.lowest - grid.zero_point, grid.highest - grid.zero_point};
  return instruction_sets().front().error_of(quantizer)(weights, levels, limit);
}

RowGrid search_grid(std::span<const double> weights, int bits, const Configuration& configuration) {
  constexpr int candidates = 80;
  const Range range = range_of(weights);
  const RowGrid widest = grid_over(range, 1.0, bits, configuration);
  if (widest.step == 0.0) return widest;
  RowGrid best = widest;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < candidates; ++i) {
    const RowGrid grid = grid_over(range, 1.0 - 0.01 * i, bits, configuration);
    // Errors are compared in units of the widest step, so that neither 1e-30 nor 1e30 leaves the range of doubles.
    const double unit = power_2_4(grid.step / widest.step);
    const double error = error_in_steps(weights, grid, configuration.quantizer, least / unit * (1.0 + 1e-12)) * unit;
    if (error < least) {
      least = error;
      best = grid;
    }
  }
  return best;
}

void check(const Configuration& configuration) {
  QUANTBOUND_ASSERT(configuration.edge_bits == 0, configuration.edge_bits);  // a caller forgot at_layer
  const auto in_range = [](int bits) { return bits >= 2 && bits <= 16; };
  if (!in_range(configuration.bits)) {
    throw core::InputError(fmt::format("{} bits cannot be used; give 2 to 16", configuration.bits),
                           "quantization.bits");
  }
  if (configuration.bias_bits != 0 && !in_range(configuration.bias_bits)) {
    throw core::InputError(fmt::format("{} bits for biases cannot be used; give 2 to 16", configuration.bias_bits),
                           "quantization.biases");
  }
  if (configuration.step_rule == StepRule::fixed &&
      !(configuration.fixed_step > 0.0 && std::isfinite(configuration.fixed_step))) {
    throw core::InputError(fmt::format("the step {} cannot be used; give a positive number", configuration.fixed_step),
                           "quantization.step");
  }
}

}  // namespace detail

namespace {

RowGrid grid_of_range(const Range& range, const Configuration& configuration) {
  return configuration.step_rule == StepRule::fixed
             ? detail::grid_with_step(range, configuration.fixed_step, configuration.bits, configuration)
             : detail::grid_over(range, 1.0, configuration.bits, configuration);
}

RowGrid choose_grid(std::span<const double> weights, const Configuration& configuration) {
  return configuration.step_rule == StepRule::mse ? detail::search_grid(weights, configuration.bits, configuration)
                                                  : grid_of_range(detail::range_of(weights), configuration);
}

Range joined(const Range& a, const Range& b) { return {std::min(a.low, b.low), std::max(a.high, b.high)}; }

}  // namespace

std::vector<RowGrid> choose_grids(std::span<const double> weights, Index rows, const Configuration& configuration) {
  detail::check(configuration);
  QUANTBOUND_ASSERT(rows > 0 && weights.size() % static_cast<std::size_t>(rows) == 0, rows, weights.size());
  const auto count = static_cast<std::size_t>(rows);
  if (configuration.granularity == Granularity::tensor) return {count, choose_grid(weights, configuration)};
  const std::size_t columns = weights.size() / count;
  std::vector<RowGrid> grids;
  grids.reserve(count);
  for (std::size_t row = 0; row < count; ++row) {
    grids.push_back(choose_grid(weights.subspan(row * columns, columns), configuration));
  }
  return grids;
}

std::vector<RowGrid> choose_grids(std::span<const Range> rows, const Configuration& configuration) {
  detail::check(configuration);
  QUANTBOUND_ASSERT(configuration.step_rule != StepRule::mse);
  if (configuration.granularity == Granularity::tensor) {
    Range all;
    for (const Range& row : rows) all = joined(all, row);
    return {rows.size(), grid_of_range(all, configuration)};
  }
  std::vector<RowGrid> grids(rows.size(), grid_of_range({}, configuration));
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const Range range = joined({}, rows[row]);
    if (configuration.grid == Grid::symmetric && configuration.step_rule == StepRule::max) {
      grids[row].step =
          detail::step_over(range, 1.0, configuration.bits, Grid::symmetric);  // nothing else depends on it
    } else {
      grids[row] = grid_of_range(range, configuration);
    }
  }
  return grids;
}

RowGrid choose_bias_grid(std::span<const double> bias, const Configuration& configuration) {
  detail::check(configuration);
  QUANTBOUND_ASSERT(configuration.bias_bits > 0, configuration.bias_bits);
  if (configuration.step_rule == StepRule::mse)
    return detail::search_grid(bias, configuration.bias_bits, configuration);
  return detail::grid_over(detail::range_of(bias), 1.0, configuration.bias_bits, configuration);
}

LayerGrids choose_grids(const LayerParameters& parameters, const Configuration& configuration) {
  LayerGrids grids{choose_grids(parameters.weights, std::ssize(parameters.bias), configuration), {}};
  if (configuration.bias_bits > 0) grids.bias = choose_bias_grid(parameters.bias, configuration);
  return grids;
}

}  // namespace quantbound::quantize
