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
using quantize::Range;
using quantize::RowGrid;

struct AlignedDelete {
  void operator()(double* memory) const { ::operator delete[](memory, std::align_val_t{64}); }
};
using AlignedArray = std::unique_ptr<double[], AlignedDelete>;

AlignedArray aligned_array(std::size_t count) {
  return AlignedArray(static_cast<double*>(::operator new[](count * sizeof(double), std::align_val_t{64})));
}

/// One configuration on the way through the layer. Arrays over rows are padded to whole blocks.
struct Pass {
  const Configuration* configuration = nullptr;
  std::vector<RowGrid> grids;  ///< one per row, or one for all
  Clip clip = Clip::possible;
  Division division = Division::reciprocal;  ///< to try first
  bool all_ordinary = true;
  std::span<double> step, inverse_step;  ///< 1 where the grid is not ordinary
  std::vector<double> low, high;         ///< with Clip::possible
  PairRows rows;

  /// Of padded length, in one piece of memory: those of `rows`, and the steps.
  static constexpr std::size_t arrays = PairRows::arrays + 2;

  const RowGrid& grid(std::size_t row) const { return grids.size() == 1 ? grids.front() : grids[row]; }
};

std::vector<RowGrid> choose_grids(const LayerParameters& parameters, std::span<const Range> ranges,
                                  const Configuration& configuration) {
  if (configuration.step_rule == quantize::StepRule::mse) {
    return quantize::choose_grids(parameters.weights, std::ssize(ranges), configuration);
  }
  if (configuration.granularity == quantize::Granularity::channel) return quantize::choose_grids(ranges, configuration);
  Range all;
  for (const Range& range : ranges) all = {std::min(all.low, range.low), std::max(all.high, range.high)};
  return quantize::choose_grids(std::span(&all, 1), configuration);
}

/// With step = max|w| / n the quotient is at most n (1 + 2^-51): the rules that round monotonically stay in the range.
Clip clip_of(const Configuration& configuration) {
  return configuration.step_rule == quantize::StepRule::max && configuration.grid == quantize::Grid::symmetric &&
                 configuration.quantizer != quantize::Quantizer::stochastic
             ? Clip::never
             : Clip::possible;
}

/// With a step of its own every row has a weight whose quotient is the integer n, where floor and truncate change.
Division division_of(const Configuration& configuration) {
  return configuration.step_rule == quantize::StepRule::max &&
                 configuration.granularity == quantize::Granularity::channel &&
                 configuration.quantizer != quantize::Quantizer::round
             ? Division::checked
             : Division::reciprocal;
}

/// Whether reciprocals, products and quotients with this step stay far from underflow and overflow, and quotients are
/// below 2^50.
bool is_ordinary(const RowGrid& grid, double largest) {
  return (grid.step > 0x1p-900) & (grid.step < 0x1p900) & (largest < grid.step * 0x1p50);
}

/// Steps of all rows, of those in the padding too.
void scale_rows(Pass& pass, std::span<const Range> ranges) {
  if (pass.grids.size() == 1) {
    const RowGrid& grid = pass.grids.front();
    double largest = 0.0;
    for (const Range& range : ranges) largest = std::max(largest, detail::magnitude(range));
    pass.all_ordinary = is_ordinary(grid, largest);
    pass.rows.step_max = grid.step;
    const double step = pass.all_ordinary ? grid.step : 1.0;
    std::fill(pass.step.begin(), pass.step.end(), step);
    std::fill(pass.inverse_step.begin(), pass.inverse_step.end(), 1.0 / step);
    return;
  }
  for (std::size_t row = 0; row < ranges.size(); ++row) {
    const double step = pass.grids[row].step;
    const bool ordinary = is_ordinary(pass.grids[row], detail::magnitude(ranges[row]));
    pass.rows.step_max = std::max(pass.rows.step_max, step);
    pass.all_ordinary &= ordinary;
    pass.step[row] = ordinary ? step : 1.0;
  }
  for (std::size_t row = ranges.size(); row < pass.step.size(); ++row) pass.step[row] = pass.step[ranges.size() - 1];
  for (std::size_t row = 0; row < pass.step.size(); ++row) pass.inverse_step[row] = 1.0 / pass.step[row];
}

/// @pre memory.size() == Pass::arrays * padded_rows(ranges.size())
Pass make_pass(const LayerParameters& parameters, std::span<const Range> ranges, const Configuration& configuration,
               std::span<double> memory) {
  const std::size_t rows = ranges.size(), padded = detail::padded_rows(rows);
  Pass pass{.configuration = &configuration,
            .grids = choose_grids(parameters, ranges, configuration),
            .clip = clip_of(configuration),
            .division = division_of(configuration),
            .step = memory.subspan(PairRows::arrays * padded, padded),
            .inverse_step = memory.subspan((PairRows::arrays + 1) * padded, padded),
            .low = {},
            .high = {},
            .rows = PairRows(rows, memory.first(PairRows::arrays * padded))};
  scale_rows(pass, ranges);
  if (pass.clip == Clip::never) return pass;
  pass.low.resize(padded);
  pass.high.resize(padded);
  for (std::size_t row = 0; row < rows; ++row) {
    const RowGrid& grid = pass.grid(row);
    pass.low[row] = grid.lowest - grid.zero_point;
    pass.high[row] = grid.highest - grid.zero_point;
  }
  return pass;
}

class LayerPass {
 public:
  LayerPass(const LayerParameters& parameters, std::span<const Range> ranges, Index layer,
            std::span<const Configuration> configurations)
      : parameters_(parameters),
        layer_(layer),
        ranges_(ranges),
        rows_(ranges.size()),
        columns_(parameters.weights.size() / ranges.size()),
        memory_(std::make_unique_for_overwrite<double[]>(pass_size() * configurations.size())) {
    for (const Configuration& configuration : configurations) {
      const std::span<double> memory(memory_.get() + passes_.size() * pass_size(), pass_size());
      passes_.push_back(make_pass(parameters, ranges_, configuration, memory));
      if (configuration.quantizer == quantize::Quantizer::stochastic) add_seed(configuration);
    }
  }

  /// Fills the rows of every pass. Blocks write to their own rows only, so threads cannot change a bit.
  void run() {
    const auto blocks = static_cast<std::ptrdiff_t>(detail::padded_rows(rows_) / block_rows);
#pragma omp parallel if (blocks > 1 && parameters_.weights.size() * passes_.size() > 100000)
    {
      const AlignedArray weights = aligned_array(columns_ * block_rows);
      std::vector<AlignedArray> uniforms;
      for (std::size_t i = 0; i < seeds_.size(); ++i) uniforms.push_back(aligned_array(columns_ * block_rows));
#pragma omp for schedule(dynamic)
      for (std::ptrdiff_t block = 0; block < blocks; ++block) {
        run_block(static_cast<std::size_t>(block) * block_rows, weights.get(), uniforms);
      }
    }
  }

  std::span<const Pass> passes() const { return passes_; }

 private:
  std::size_t pass_size() const { return Pass::arrays * detail::padded_rows(rows_); }

  /// What all configurations share of the sixteen rows from `first`.
  struct Block {
    std::size_t first = 0;
    Lanes sum, max;  ///< of |w|: an upper bound, and exactly
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

  const double* uniforms_of(const Configuration& configuration, std::span<const AlignedArray> uniforms) const {
    if (configuration.quantizer != quantize::Quantizer::stochastic) return nullptr;
    std::size_t index = 0;
    while (seeds_[index]->seed != configuration.seed) ++index;
    return uniforms[index].get();
  }

  /// Row of a lane: lanes past the last row repeat it, and nobody reads what comes out.
  std::size_t row_of(std::size_t first, std::size_t lane) const { return std::min(first + lane, rows_ - 1); }

  void run_block(std::size_t first, double* weights, std::span<const AlignedArray> uniforms) {
    Block block{first, {}, {}};
    std::array<const double*, block_rows> from{};
    for (std::size_t lane = 0; lane < block_rows; ++lane) {
      from[lane] = row_weights(row_of(first, lane)).data();
      block.max.row[lane] = detail::magnitude(ranges_[row_of(first, lane)]);
    }
    for (std::size_t column = 0; column < columns_; ++column) {
      double* to = weights + column * block_rows;
      for (std::size_t lane = 0; lane < block_rows; ++lane) to[lane] = from[lane][column];
      for (std::size_t lane = 0; lane < block_rows; ++lane) block.sum.row[lane] += std::abs(to[lane]);
    }
    for (double& sum : block.sum.row) sum *= sum_outward();
    for (std::size_t i = 0; i < seeds_.size(); ++i) fill_uniforms(*seeds_[i], first, uniforms[i].get());
    for (Pass& pass : passes_) {
      BlockTask task{weights,   uniforms_of(*pass.configuration, uniforms),
                     columns_,  pass.configuration->quantizer,
                     pass.clip, pass.division};
      run_pass(pass, block, task);
    }
  }

  void fill_uniforms(const Configuration& configuration, std::size_t first, double* uniforms) const {
    const quantize::StochasticUniforms random(configuration, layer_);
    std::vector<double> row(columns_);
    for (std::size_t lane = 0; lane < block_rows; ++lane) {
      random.fill(static_cast<Index>(row_of(first, lane) * columns_), row);
      for (std::size_t column = 0; column < columns_; ++column) uniforms[column * block_rows + lane] = row[column];
    }
  }

  /// What a sum over the columns is multiplied by to be an upper bound, where nothing underflows.
  double sum_outward() const { return 1.0 + (static_cast<double>(columns_) + 3.0) * 0x1p-52; }

  void run_pass(Pass& pass, const Block& block, BlockTask task) const {
    const bool clips = pass.clip == Clip::possible;
    const BlockGrid grid{pass.step.data() + block.first, pass.inverse_step.data() + block.first,
                         clips ? pass.low.data() + block.first : nullptr,
                         clips ? pass.high.data() + block.first : nullptr};
    RowSums sums;
    if (detail::sum_rows(task, grid, sums) == Certainty::doubtful) {
      task.division = Division::checked;
      detail::sum_rows(task, grid, sums);
    }
    const Lanes slack = finish(pass.rows, block, grid, sums);
    Lanes doubt;  // 1 where the row is measured plainly
    double any = 0.0;
    for (std::size_t lane = 0; lane < block_rows; ++lane) {
      const double error_sum = sums.error_sum.row[lane];
      const bool vanishing = error_sum < 0x1p-100;  // underflow would count, unless the row is zero
      const double size = vanishing ? block.max.row[lane] : slack.row[lane];
      const double allowed = vanishing ? 0.0 : 1e-10 * (grid.step[lane] * error_sum);
      doubt.row[lane] = size > allowed ? 1.0 : 0.0;
    }
    for (const double lane : doubt.row) any += lane;
    if (pass.all_ordinary && any == 0.0) return;
    const std::size_t count = std::min(block_rows, rows_ - block.first);
    for (std::size_t lane = 0; lane < count; ++lane) {
      const std::size_t row = block.first + lane;
      if (doubt.row[lane] > 0.0 || pass.step[row] != pass.grid(row).step) measure_plainly(pass, row);
    }
  }

  /// From sums in steps to upper bounds; the file's opening comment derives them. Returns the slack of the sums.
  Lanes finish(PairRows& rows, const Block& block, const BlockGrid& grid, const RowSums& sums) const {
    constexpr double outward = 1.0 + 0x1p-50;  // a few roundings
    const double inflate = sum_outward();
    Lanes slack, weight_sum, weight_max, weight_two, delta_sum, delta_max, delta_two;  // local, so that they vectorize
    for (std::size_t lane = 0; lane < block_rows; ++lane) {
      const double step = grid.step[lane], levels = sums.level_sum.row[lane], top = sums.level_max.row[lane];
      const double slack_sum = (0x1.02p-52 * block.sum.row[lane] + 0x1.02p-53 * (step * levels)) * outward;
      const double slack_max = (0x1.02p-52 * block.max.row[lane] + 0x1.02p-53 * (step * top)) * outward;
      slack.row[lane] = slack_sum;
      weight_sum.row[lane] = step * levels * outward;
      weight_max.row[lane] = step * top;  // exact: rounding is monotone, so this is the largest |W'|
      weight_two.row[lane] = step * std::sqrt(levels * top) * outward;
      delta_sum.row[lane] = (step * (sums.error_sum.row[lane] * inflate) + slack_sum) * outward;
      delta_max.row[lane] = (step * sums.error_max.row[lane] + slack_max) * outward;
      delta_two.row[lane] = (step * std::sqrt(sums.error_squares.row[lane] * inflate) + slack_sum) * outward;
    }
    const auto put = [&](const Lanes& from, std::span<double> to) {
      std::copy_n(from.row, block_rows, to.data() + block.first);
    };
    put(weight_sum, rows.weight_sum);
    put(weight_max, rows.weight_max);
    put(weight_two, rows.weight_two_norm);
    put(delta_sum, rows.delta_sum);
    put(delta_max, rows.delta_max);
    put(delta_two, rows.delta_two_norm);
    return slack;
  }

  /// One row by the definition.
  void measure_plainly(Pass& pass, std::size_t row) const {
    const std::span<const double> weights = row_weights(row);
    const Configuration& configuration = *pass.configuration;
    const quantize::StochasticUniforms random(configuration, layer_);
    std::vector<double> delta(columns_);
    double weight_sum = 0.0, weight_max = 0.0, delta_sum = 0.0, delta_max = 0.0;
    for (std::size_t column = 0; column < columns_; ++column) {
      const double uniform = configuration.quantizer == quantize::Quantizer::stochastic
                                 ? random(static_cast<Index>(row * columns_ + column))
                                 : 0.0;
      const double value = quantize::quantize_value(weights[column], pass.grid(row), configuration.quantizer, uniform);
      delta[column] = detail::absolute_difference_up(weights[column], value);
      weight_sum += std::abs(value);
      delta_sum += delta[column];
      weight_max = std::max(weight_max, std::abs(value));
      delta_max = std::max(delta_max, delta[column]);
    }
    PairRows& rows = pass.rows;
    rows.weight_sum[row] = detail::plain_sum_up(weight_sum, columns_);
    rows.weight_max[row] = weight_max;
    rows.weight_two_norm[row] = std::sqrt(weight_max) * std::sqrt(rows.weight_sum[row]) * (1.0 + 0x1p-50);
    rows.delta_sum[row] = detail::plain_sum_up(delta_sum, columns_);
    rows.delta_max[row] = delta_max;
    rows.delta_two_norm[row] = detail::two_norm_up(delta).to_double();
  }

  const LayerParameters& parameters_;
  Index layer_;
  std::span<const Range> ranges_;
  std::size_t rows_, columns_;
  std::unique_ptr<double[]> memory_;  ///< of the passes' arrays, left as it is: everything read was written before
  std::vector<Pass> passes_;
  std::vector<const Configuration*> seeds_;  ///< one configuration for every seed of stochastic rounding
};

}  // namespace

LayerReport measure_layer(const LayerParameters& parameters, const LayerShape& shape, Index layer,
                          std::span<const Configuration> configurations) {
  const std::vector<Range> ranges = detail::row_ranges(parameters, shape);
  LayerReport report{detail::original_norms(parameters, ranges, shape, layer), {}};
  report.quantized.reserve(configurations.size());
  const detail::BiasRows kept_bias = detail::bias_rows(parameters.bias, parameters.bias, shape, layer);
  LayerPass layer_pass(parameters, ranges, layer, configurations);
  layer_pass.run();
  for (const Pass& pass : layer_pass.passes()) {
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
