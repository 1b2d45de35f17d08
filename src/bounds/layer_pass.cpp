#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>

#include "quantbound/bounds/layer_norms.hpp"
#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"
#include "quantbound/quantize/quantize.hpp"

#include "row_norms.hpp"
#include "row_sums.hpp"

/// measure_layer: blocks of sixteen rows go once through the cache, and every configuration sums over each of them.
/// From the sums in units of the step the bounds of a row follow. With t = w/step (exact), its computed value t^, the
/// integer k, and u = 2^-53: |t^ - t| <= 2.01 u |t| and W' = fl(k step), so
///   |dW| <= step |k - t^| + 2.01 u |w| + u step |k|,
/// and the sums over the row, their maximum and (Minkowski) their 2-norm are bounded term by term. Where the last two
/// terms are not small beside the first (weights on the grid, for instance), the row is measured plainly instead.
namespace quantbound::bounds {

namespace {

using detail::block_rows;
using detail::BlockGrid;
using detail::BlockTask;
using detail::Certainty;
using detail::Clip;
using detail::Division;
using detail::Lanes;
using detail::PairRows;
using detail::RowSums;
using network::LayerParameters;
using quantize::Configuration;
using quantize::RowGrid;

struct AlignedDelete {
  void operator()(double* memory) const { ::operator delete[](memory, std::align_val_t{64}); }
};
using AlignedArray = std::unique_ptr<double[], AlignedDelete>;

AlignedArray aligned_array(std::size_t count) {
  return AlignedArray(static_cast<double*>(::operator new[](count * sizeof(double), std::align_val_t{64})));
}

/// Smallest and largest weight of a row, and zero.
struct RowRange {
  double low = 0.0, high = 0.0;
};

/// Extremes do not depend on the order: any number of lanes gives the same result.
RowRange range_of(std::span<const double> weights) {
  std::array<double, 16> low{}, high{};
  const std::size_t whole = weights.size() / low.size() * low.size();
  for (std::size_t i = 0; i < whole; i += low.size()) {
    for (std::size_t lane = 0; lane < low.size(); ++lane) {
      const double w = weights[i + lane];
      low[lane] = w < low[lane] ? w : low[lane];
      high[lane] = w > high[lane] ? w : high[lane];
    }
  }
  for (std::size_t i = whole; i < weights.size(); ++i) {
    low[0] = std::min(low[0], weights[i]);
    high[0] = std::max(high[0], weights[i]);
  }
  return {*std::min_element(low.begin(), low.end()), *std::max_element(high.begin(), high.end())};
}

/// One configuration on the way through the layer.
struct Pass {
  const Configuration* configuration = nullptr;
  std::vector<RowGrid> grids;      ///< one per row, or one for all
  Clip clip = Clip::possible;
  const double* uniforms = nullptr;  ///< of the present block, stochastic rounding only
  PairRows rows;

  const RowGrid& grid(std::size_t row) const { return grids.size() == 1 ? grids.front() : grids[row]; }
};

std::vector<RowGrid> choose_grids(const LayerParameters& parameters, std::span<const RowRange> ranges,
                                  const Configuration& configuration) {
  if (configuration.step_rule == quantize::StepRule::mse) {
    return quantize::choose_grids(parameters.weights, std::ssize(ranges), configuration);
  }
  if (configuration.granularity == quantize::Granularity::tensor) {
    RowRange all;
    for (const RowRange& range : ranges) {
      all.low = std::min(all.low, range.low);
      all.high = std::max(all.high, range.high);
    }
    return {quantize::grid_of_range(all.low, all.high, configuration)};
  }
  std::vector<RowGrid> grids;
  grids.reserve(ranges.size());
  for (const RowRange& range : ranges) grids.push_back(quantize::grid_of_range(range.low, range.high, configuration));
  return grids;
}

/// With step = max|w| / n the quotient is at most n (1 + 2^-51): the rules that round monotonically stay in the range.
Clip clip_of(const Configuration& configuration) {
  return configuration.step_rule == quantize::StepRule::max && configuration.grid == quantize::Grid::symmetric &&
                 configuration.quantizer != quantize::Quantizer::stochastic
             ? Clip::never
             : Clip::possible;
}

/// Whether reciprocals, products and quotients with this step stay far from underflow and overflow, and quotients are
/// below 2^50.
bool is_ordinary(const RowGrid& grid, double largest) {
  return grid.step > 0x1p-900 && grid.step < 0x1p900 && largest < grid.step * 0x1p50;
}

class LayerPass {
 public:
  LayerPass(const LayerParameters& parameters, const LayerShape& shape, Index layer,
            std::span<const Configuration> configurations)
      : parameters_(parameters),
        layer_(layer),
        rows_(static_cast<std::size_t>(shape.rows)),
        columns_(static_cast<std::size_t>(shape.columns)),
        ranges_(rows_) {
    const auto count = static_cast<std::ptrdiff_t>(rows_);
#pragma omp parallel for schedule(static) if (parameters.weights.size() > 100000)
    for (std::ptrdiff_t row = 0; row < count; ++row) {
      ranges_[static_cast<std::size_t>(row)] = range_of(row_weights(static_cast<std::size_t>(row)));
    }
    for (const Configuration& configuration : configurations) {
      Pass pass{&configuration, choose_grids(parameters, ranges_, configuration), clip_of(configuration), nullptr,
                PairRows(rows_)};
      for (const RowGrid& grid : pass.grids) pass.rows.step_max = std::max(pass.rows.step_max, grid.step);
      passes_.push_back(std::move(pass));
      if (configuration.quantizer == quantize::Quantizer::stochastic) add_seed(configuration);
    }
  }

  /// Fills the rows of every pass. Blocks write to their own rows only, so threads cannot change a bit.
  std::vector<Pass> run() {
    const auto blocks = static_cast<std::ptrdiff_t>((rows_ + block_rows - 1) / block_rows);
    maxima_.assign(static_cast<std::size_t>(blocks), std::vector<Maxima>(passes_.size()));
#pragma omp parallel if (blocks > 1 && parameters_.weights.size() * passes_.size() > 100000)
    {
      const AlignedArray weights = aligned_array(columns_ * block_rows);
      std::vector<AlignedArray> uniforms;
      for (std::size_t i = 0; i < seeds_.size(); ++i) uniforms.push_back(aligned_array(columns_ * block_rows));
#pragma omp for schedule(dynamic)
      for (std::ptrdiff_t block = 0; block < blocks; ++block) {
        run_block(static_cast<std::size_t>(block), weights.get(), uniforms);
      }
    }
    for (const auto& block : maxima_) {
      for (std::size_t p = 0; p < passes_.size(); ++p) {
        passes_[p].rows.weight_max = std::max(passes_[p].rows.weight_max, block[p].weight);
        passes_[p].rows.delta_max = std::max(passes_[p].rows.delta_max, block[p].delta);
      }
    }
    return std::move(passes_);
  }

 private:
  struct Maxima {
    double weight = 0.0, delta = 0.0;
  };

  std::span<const double> row_weights(std::size_t row) const {
    return std::span(parameters_.weights).subspan(row * columns_, columns_);
  }

  void add_seed(const Configuration& configuration) {
    for (const Configuration* known : seeds_) {
      if (known->seed == configuration.seed) return;
    }
    seeds_.push_back(&configuration);
  }

  std::size_t seed_index(const Configuration& configuration) const {
    const auto found = std::find_if(seeds_.begin(), seeds_.end(), [&](const Configuration* known) {
      return known->seed == configuration.seed;
    });
    return static_cast<std::size_t>(found - seeds_.begin());
  }

  /// Row of lane `lane` of a block: lanes past the last row repeat it and are not read.
  std::size_t row_of(std::size_t block, std::size_t lane) const {
    return std::min(block * block_rows + lane, rows_ - 1);
  }

  void run_block(std::size_t block, double* weights, std::span<const AlignedArray> uniforms) {
    Lanes row_sum, row_max;
    for (std::size_t lane = 0; lane < block_rows; ++lane) {
      const std::span<const double> row = row_weights(row_of(block, lane));
      for (std::size_t column = 0; column < columns_; ++column) weights[column * block_rows + lane] = row[column];
      const RowRange& range = ranges_[row_of(block, lane)];
      row_max.row[lane] = std::max(-range.low, range.high);
    }
    for (std::size_t column = 0; column < columns_; ++column) {
      for (std::size_t lane = 0; lane < block_rows; ++lane) {
        row_sum.row[lane] += std::abs(weights[column * block_rows + lane]);
      }
    }
    for (std::size_t i = 0; i < seeds_.size(); ++i) fill_uniforms(*seeds_[i], block, uniforms[i].get());
    for (std::size_t p = 0; p < passes_.size(); ++p) {
      const double* randoms = passes_[p].configuration->quantizer == quantize::Quantizer::stochastic
                                  ? uniforms[seed_index(*passes_[p].configuration)].get()
                                  : nullptr;
      maxima_[block][p] = run_pass(passes_[p], block, weights, randoms, row_sum, row_max);
    }
  }

  void fill_uniforms(const Configuration& configuration, std::size_t block, double* uniforms) const {
    const quantize::StochasticUniforms random(configuration, layer_);
    for (std::size_t lane = 0; lane < block_rows; ++lane) {
      const std::size_t first = row_of(block, lane) * columns_;
      for (std::size_t column = 0; column < columns_; ++column) {
        uniforms[column * block_rows + lane] = random(static_cast<Index>(first + column));
      }
    }
  }

  Maxima run_pass(Pass& pass, std::size_t block, const double* weights, const double* uniforms, const Lanes& row_sum,
                  const Lanes& row_max) const {
    BlockGrid grid;
    std::array<bool, block_rows> ordinary{};
    for (std::size_t lane = 0; lane < block_rows; ++lane) {
      const RowGrid& row = pass.grid(row_of(block, lane));
      ordinary[lane] = is_ordinary(row, row_max.row[lane]);
      grid.step.row[lane] = ordinary[lane] ? row.step : 1.0;  // rows that are not ordinary are measured plainly
      grid.inverse_step.row[lane] = 1.0 / grid.step.row[lane];
      grid.low.row[lane] = row.lowest - row.zero_point;
      grid.high.row[lane] = row.highest - row.zero_point;
    }
    BlockTask task{weights, uniforms, columns_, pass.configuration->quantizer, pass.clip, Division::reciprocal};
    RowSums sums;
    if (detail::sum_rows(task, grid, sums) == Certainty::doubtful) {
      task.division = Division::exact;
      detail::sum_rows(task, grid, sums);
    }
    return finish(pass, block, grid, sums, ordinary, row_sum, row_max);
  }

  /// From sums in steps to upper bounds; the file's opening comment derives them.
  Maxima finish(Pass& pass, std::size_t block, const BlockGrid& grid, const RowSums& sums,
                const std::array<bool, block_rows>& ordinary, const Lanes& row_sum, const Lanes& row_max) const {
    constexpr double outward = 1.0 + 0x1p-50;  // a few roundings
    const double sum_outward = 1.0 + (static_cast<double>(columns_) + 3.0) * 0x1p-52;
    Lanes weight_sum, weight_max, weight_two, delta_sum, delta_max, delta_two, slack;
    for (std::size_t lane = 0; lane < block_rows; ++lane) {
      const double step = grid.step.row[lane];
      weight_sum.row[lane] = step * sums.level_sum.row[lane] * outward;
      weight_max.row[lane] = step * sums.level_max.row[lane];  // exact: rounding is monotone, so this is the largest |W'|
      weight_two.row[lane] = step * std::sqrt(sums.level_sum.row[lane] * sums.level_max.row[lane]) * outward;
      slack.row[lane] = (0x1.02p-52 * row_sum.row[lane] * sum_outward + 0x1.02p-53 * weight_sum.row[lane]) * outward;
      const double slack_max = (0x1.02p-52 * row_max.row[lane] + 0x1.02p-53 * weight_max.row[lane]) * outward;
      delta_sum.row[lane] = (step * (sums.error_sum.row[lane] * sum_outward) + slack.row[lane]) * outward;
      delta_max.row[lane] = (step * sums.error_max.row[lane] + slack_max) * outward;
      delta_two.row[lane] =
          (step * std::sqrt(sums.error_squares.row[lane] * sum_outward) + slack.row[lane]) * outward;
    }
    Maxima maxima;
    const std::size_t count = std::min(block_rows, rows_ - block * block_rows);
    for (std::size_t lane = 0; lane < count; ++lane) {
      const std::size_t row = block * block_rows + lane;
      const double error_sum = sums.error_sum.row[lane];
      const bool vanishing = row_sum.row[lane] > 0.0 && error_sum < 0x1p-100;  // underflow would count
      if (!ordinary[lane] || vanishing || slack.row[lane] > 1e-10 * grid.step.row[lane] * error_sum) {
        const Maxima plain = measure_plainly(pass, row);
        maxima = {std::max(maxima.weight, plain.weight), std::max(maxima.delta, plain.delta)};
        continue;
      }
      pass.rows.weight_sum[row] = weight_sum.row[lane];
      pass.rows.weight_two_norm[row] = weight_two.row[lane];
      pass.rows.delta_sum[row] = delta_sum.row[lane];
      pass.rows.delta_two_norm[row] = delta_two.row[lane];
      maxima.weight = std::max(maxima.weight, weight_max.row[lane]);
      maxima.delta = std::max(maxima.delta, delta_max.row[lane]);
    }
    return maxima;
  }

  /// One row by the definition.
  Maxima measure_plainly(Pass& pass, std::size_t row) const {
    const std::span<const double> weights = row_weights(row);
    const Configuration& configuration = *pass.configuration;
    const quantize::StochasticUniforms random(configuration, layer_);
    std::vector<double> delta(columns_);
    double weight_sum = 0.0, delta_sum = 0.0;
    Maxima maxima;
    for (std::size_t column = 0; column < columns_; ++column) {
      const double uniform = configuration.quantizer == quantize::Quantizer::stochastic
                                 ? random(static_cast<Index>(row * columns_ + column))
                                 : 0.0;
      const double value = quantize::quantize_value(weights[column], pass.grid(row), configuration.quantizer, uniform);
      delta[column] = detail::absolute_difference_up(weights[column], value);
      weight_sum += std::abs(value);
      delta_sum += delta[column];
      maxima = {std::max(maxima.weight, std::abs(value)), std::max(maxima.delta, delta[column])};
    }
    pass.rows.weight_sum[row] = detail::plain_sum_up(weight_sum, columns_);
    pass.rows.weight_two_norm[row] = std::sqrt(maxima.weight) * std::sqrt(pass.rows.weight_sum[row]) * (1.0 + 0x1p-50);
    pass.rows.delta_sum[row] = detail::plain_sum_up(delta_sum, columns_);
    pass.rows.delta_two_norm[row] = detail::two_norm_up(delta).to_double();
    return maxima;
  }

  const LayerParameters& parameters_;
  Index layer_;
  std::size_t rows_, columns_;
  std::vector<RowRange> ranges_;
  std::vector<Pass> passes_;
  std::vector<const Configuration*> seeds_;  ///< one configuration for every seed of stochastic rounding
  std::vector<std::vector<Maxima>> maxima_;  ///< per block and pass
};

}  // namespace

LayerReport measure_layer(const LayerParameters& parameters, const LayerShape& shape, Index layer,
                          std::span<const Configuration> configurations) {
  LayerReport report{measure_original(parameters, shape, layer), {}};
  report.quantized.reserve(configurations.size());
  const detail::BiasRows kept_bias = detail::bias_rows(parameters.bias, parameters.bias, shape, layer);
  for (const Pass& pass : LayerPass(parameters, shape, layer, configurations).run()) {
    std::optional<detail::BiasRows> quantized_bias;
    if (pass.configuration->bias_bits > 0) {
      quantized_bias = detail::bias_rows(
          parameters.bias, quantize::quantize_bias(parameters.bias, layer, *pass.configuration), shape, layer);
    }
    report.quantized.push_back(
        detail::summarize(pass.rows, quantized_bias ? *quantized_bias : kept_bias, shape, report.norms, layer));
  }
  return report;
}

}  // namespace quantbound::bounds
