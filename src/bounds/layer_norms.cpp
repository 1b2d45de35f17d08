#include "quantbound/bounds/layer_norms.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"
#include "quantbound/quantize/quantize.hpp"

#include "lane_sums.hpp"
#include "row_norms.hpp"
#include "row_sums.hpp"

namespace quantbound::bounds {

namespace {

using core::Upper;
using detail::plain_sum_up;
using network::LayerParameters;

std::size_t size(Index count) { return static_cast<std::size_t>(count); }

void check_sizes(const LayerParameters& parameters, const LayerShape& shape) {
  QUANTBOUND_ASSERT(std::ssize(parameters.bias) == shape.rows, parameters.bias.size(), shape.rows);
  QUANTBOUND_ASSERT(std::ssize(parameters.weights) == shape.rows * shape.columns, parameters.weights.size());
  QUANTBOUND_ASSERT(shape.rows > 0 && shape.rows % shape.groups == 0, shape.rows, shape.groups);
}

double row_sum_up(std::span<const double> row) {
  return plain_sum_up(detail::sum_in_lanes(row, [](double w) { return std::abs(w); }), row.size());
}

struct GroupNorms {
  double row_sum = 0.0;      ///< ||.||_inf
  double column_sum = 0.0;   ///< largest column sum of the matrix {rows, columns}
  double channel_sum = 0.0;  ///< largest sum over rows and taps of one input channel: ||.||_1 of the convolution
  Upper frobenius;
};

/// `row_sums`: upper bounds of the absolute sums of the rows of `weights`.
GroupNorms group_norms(std::span<const double> weights, std::span<const double> row_sums,
                       std::span<const quantize::Range> ranges, std::size_t kernel) {
  const std::size_t rows = row_sums.size(), columns = weights.size() / rows;
  std::vector<double> column_sums(columns, 0.0);
  GroupNorms norms;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::span<const double> weights_of_row = weights.subspan(row * columns, columns);
    norms.row_sum = std::max(norms.row_sum, row_sums[row]);
    for (std::size_t column = 0; column < columns; ++column) column_sums[column] += std::abs(weights_of_row[column]);
  }
  for (std::size_t first = 0; first < columns; first += kernel) {
    double sum = 0.0;
    for (std::size_t tap = 0; tap < kernel; ++tap) {
      norms.column_sum = std::max(norms.column_sum, plain_sum_up(column_sums[first + tap], rows));
      sum += column_sums[first + tap];
    }
    norms.channel_sum = std::max(norms.channel_sum, plain_sum_up(sum, rows * kernel));
  }
  double largest = 0.0;
  for (const quantize::Range& range : ranges) largest = std::max(largest, detail::magnitude(range));
  norms.frobenius = detail::two_norm_up(weights, largest);
  return norms;
}

/// ||A||_2^2 <= ||A||_1 ||A||_inf for the convolution; or ||W||_2 of the matrix times the square root of the overlap,
/// because every input element lies in at most that many of the windows that W is applied to.
Upper group_two_norm(const GroupNorms& norms, Index overlap) {
  const Upper as_convolution = (Upper(norms.channel_sum) * Upper(norms.row_sum)).sqrt();
  const Upper as_matrix = min(norms.frobenius, (Upper(norms.column_sum) * Upper(norms.row_sum)).sqrt());
  return min(as_convolution, as_matrix * Upper(static_cast<double>(overlap)).sqrt());
}

detail::PairRows pair_rows(const LayerParameters& original, const LayerParameters& quantized, std::size_t rows,
                           std::span<double> memory) {
  const std::size_t columns = original.weights.size() / rows;
  detail::PairRows result(rows, memory);
  std::vector<double> delta(columns);
  for (std::size_t row = 0; row < rows; ++row) {
    double weight_sum = 0.0, weight_max = 0.0, delta_sum = 0.0, delta_max = 0.0;
    for (std::size_t column = 0; column < columns; ++column) {
      const double w = original.weights[row * columns + column], v = quantized.weights[row * columns + column];
      delta[column] = detail::absolute_difference_up(w, v);
      delta_sum += delta[column];
      weight_sum += std::abs(v);
      weight_max = std::max(weight_max, std::abs(v));
      delta_max = std::max(delta_max, delta[column]);
      result.sign_compatible &= detail::same_sign(w, v);
    }
    result.weight_sum[row] = plain_sum_up(weight_sum, columns);
    result.weight_two_norm[row] = (Upper(weight_max) * Upper(result.weight_sum[row])).sqrt().to_double();
    result.delta_sum[row] = plain_sum_up(delta_sum, columns);
    result.delta_two_norm[row] = detail::two_norm_up(delta).to_double();
    result.weight_max[row] = weight_max;
    result.delta_max[row] = delta_max;
  }
  return result;
}

constexpr auto norm_fields = std::to_array<double LayerNorms::*>(
    {&LayerNorms::weight_norm, &LayerNorms::bias_norm, &LayerNorms::augmented, &LayerNorms::two_norm,
     &LayerNorms::bias_two_norm, &LayerNorms::weight_max, &LayerNorms::fan_in, &LayerNorms::fan_in_dense,
     &LayerNorms::inputs, &LayerNorms::parameters});

constexpr auto quantized_fields = std::to_array<double QuantizedLayerNorms::*>(
    {&QuantizedLayerNorms::step_max, &QuantizedLayerNorms::delta_max, &QuantizedLayerNorms::delta_bias_max,
     &QuantizedLayerNorms::delta_norm, &QuantizedLayerNorms::weight_norm, &QuantizedLayerNorms::augmented,
     &QuantizedLayerNorms::bias_norm, &QuantizedLayerNorms::weight_max, &QuantizedLayerNorms::two_norm,
     &QuantizedLayerNorms::delta_two_norm, &QuantizedLayerNorms::bias_two_norm,
     &QuantizedLayerNorms::delta_bias_two_norm, &QuantizedLayerNorms::sign_compatible});

void append(const Envelope& envelope, std::vector<double>& numbers) {
  numbers.push_back(static_cast<double>(envelope.lines().size()));
  for (const Line& line : envelope.lines()) numbers.insert(numbers.end(), {line.slope, line.offset});
}

/// Reads numbers one after the other.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : numbers_(bytes.size() / sizeof(double)) {
    QUANTBOUND_ASSERT(bytes.size() % sizeof(double) == 0, bytes.size());
    if (!bytes.empty()) std::memcpy(numbers_.data(), bytes.data(), bytes.size());
  }

  double next() {
    QUANTBOUND_ASSERT(position_ < numbers_.size(), position_, numbers_.size());
    return numbers_[position_++];
  }

  Envelope next_envelope() {
    std::vector<Line> lines(static_cast<std::size_t>(next()));
    for (Line& line : lines) {
      line.slope = next();
      line.offset = next();
    }
    return Envelope(std::move(lines));
  }

  bool at_end() const { return position_ == numbers_.size(); }

 private:
  std::vector<double> numbers_;
  std::size_t position_ = 0;
};

}  // namespace

std::vector<quantize::Range> detail::row_ranges(const LayerParameters& parameters, const LayerShape& shape) {
  check_sizes(parameters, shape);
  const std::size_t columns = size(shape.columns);
  std::vector<quantize::Range> ranges(size(shape.rows));
  for (std::size_t row = 0; row < ranges.size(); ++row) {
    ranges[row] = extremes(std::span(parameters.weights).subspan(row * columns, columns));
  }
  return ranges;
}

LayerNorms detail::original_norms(const LayerParameters& parameters, std::span<const quantize::Range> ranges,
                                  const LayerShape& shape, Index layer) {
  LayerNorms norms;
  norms.fan_in = static_cast<double>(shape.columns);
  norms.fan_in_dense = static_cast<double>(shape.columns_dense);
  norms.inputs = static_cast<double>(shape.inputs);
  norms.parameters = static_cast<double>(parameters.weights.size() + parameters.bias.size());
  const std::size_t columns = size(shape.columns), rows = size(shape.rows),
                    group_rows = size(shape.rows / shape.groups);
  std::vector<double> row_sums(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    const double bias = std::abs(parameters.bias[row]);
    row_sums[row] = row_sum_up(std::span(parameters.weights).subspan(row * columns, columns));
    norms.bias_norm = std::max(norms.bias_norm, bias);
    norms.augmented = std::max(norms.augmented, core::add_up(row_sums[row], bias));
  }
  Upper two_norm;
  for (std::size_t first = 0; first < rows; first += group_rows) {
    const GroupNorms group = group_norms(std::span(parameters.weights).subspan(first * columns, group_rows * columns),
                                         std::span(row_sums).subspan(first, group_rows),
                                         ranges.subspan(first, group_rows), size(shape.kernel));
    detail::check_finite(std::array{group.row_sum, group.column_sum, group.channel_sum}, layer);
    norms.weight_norm = std::max(norms.weight_norm, group.row_sum);
    two_norm = max(two_norm, group_two_norm(group, shape.overlap));
  }
  norms.two_norm = two_norm.to_double();
  for (const quantize::Range& range : ranges) norms.weight_max = std::max(norms.weight_max, detail::magnitude(range));
  const Upper repetitions = Upper(static_cast<double>(shape.positions)).sqrt();
  norms.bias_two_norm = (detail::two_norm_up(parameters.bias, norms.bias_norm) * repetitions).to_double();
  detail::check_finite(std::array{norms.augmented, norms.two_norm, norms.bias_two_norm}, layer);
  return norms;
}

LayerNorms measure_original(const LayerParameters& parameters, const LayerShape& shape, Index layer) {
  return detail::original_norms(parameters, detail::row_ranges(parameters, shape), shape, layer);
}

QuantizedLayerNorms measure_pair(const LayerParameters& original, const LayerNorms& original_norms,
                                 const LayerParameters& quantized, const LayerShape& shape, Index layer) {
  check_sizes(original, shape);
  check_sizes(quantized, shape);
  std::vector<double> memory(detail::PairRows::arrays * detail::padded_rows(size(shape.rows)));
  return detail::summarize(pair_rows(original, quantized, size(shape.rows), memory),
                           detail::bias_rows(original.bias, quantized.bias, shape, layer), shape, original_norms,
                           layer);
}

LayerReport measure_layer_reference(const LayerParameters& parameters, const LayerShape& shape, Index layer,
                                    std::span<const quantize::Configuration> configurations) {
  LayerReport report{measure_original(parameters, shape, layer), {}};
  for (const quantize::Configuration& configuration : configurations) {
    const LayerParameters quantized = quantize::quantize_layer(parameters, layer, configuration);
    QuantizedLayerNorms norms = measure_pair(parameters, report.norms, quantized, shape, layer);
    for (const auto& grid : quantize::choose_grids(parameters.weights, shape.rows, configuration)) {
      norms.step_max = std::max(norms.step_max, grid.step);
    }
    report.quantized.push_back(std::move(norms));
  }
  return report;
}

LayerReport measure_given(const LayerParameters& original, const LayerShape& shape, Index layer,
                          std::span<const GivenLayer> quantized) {
  LayerReport report{measure_original(original, shape, layer), {}};
  for (const GivenLayer& given : quantized) {
    QUANTBOUND_ASSERT(std::isfinite(given.step_max) && given.step_max >= 0.0, given.step_max, layer);
    report.quantized.push_back(measure_pair(original, report.norms, given.parameters, shape, layer));
    report.quantized.back().step_max = given.step_max;
  }
  return report;
}

NetworkNorms measure_network(const network::Graph& graph, std::span<const LayerParameters> original,
                             std::span<const GivenLayer> quantized) {
  const std::vector<LayerShape> shapes = layer_shapes(graph);
  QUANTBOUND_ASSERT(original.size() == shapes.size() && quantized.size() == shapes.size(), original.size(),
                    quantized.size(), shapes.size());
  NetworkNorms norms;
  for (std::size_t layer = 0; layer < shapes.size(); ++layer) {
    LayerReport report =
        measure_given(original[layer], shapes[layer], static_cast<Index>(layer), quantized.subspan(layer, 1));
    norms.layers.push_back(report.norms);
    norms.quantized.push_back(std::move(report.quantized.front()));
  }
  return norms;
}

std::vector<std::byte> to_bytes(const LayerReport& report) {
  std::vector<double> numbers;
  numbers.reserve(norm_fields.size());
  for (const auto field : norm_fields) numbers.push_back(report.norms.*field);
  numbers.push_back(static_cast<double>(report.quantized.size()));
  for (const QuantizedLayerNorms& norms : report.quantized) {
    for (const auto field : quantized_fields) numbers.push_back(norms.*field);
    append(norms.head, numbers);
    append(norms.delta, numbers);
  }
  std::vector<std::byte> bytes(numbers.size() * sizeof(double));
  std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return bytes;
}

LayerReport from_bytes(std::span<const std::byte> bytes) {
  Cursor cursor(bytes);
  LayerReport report;
  for (const auto field : norm_fields) report.norms.*field = cursor.next();
  report.quantized.resize(static_cast<std::size_t>(cursor.next()));
  for (QuantizedLayerNorms& norms : report.quantized) {
    for (const auto field : quantized_fields) norms.*field = cursor.next();
    norms.head = cursor.next_envelope();
    norms.delta = cursor.next_envelope();
  }
  QUANTBOUND_ASSERT(cursor.at_end());
  return report;
}

}  // namespace quantbound::bounds
