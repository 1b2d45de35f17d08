#include "quantbound/reconstruct/gram.hpp"

#include <algorithm>
#include <cstring>

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/convolution.hpp"
#include "quantbound/tensor/matrix.hpp"
#include "quantbound/tensor/worth_threads.hpp"

namespace quantbound::reconstruct {

namespace {

using tensor::Convolution;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

constexpr Index block_places = 512;  // columns of one product: enough to pay for adding its result
constexpr Index panel = 64;          // rows of a result that a thread takes at once

Convolution geometry_of(const network::Operator& layer) {
  if (const auto* dense = std::get_if<network::Dense>(&layer))
    return {.channels_in = dense->inputs, .channels_out = dense->outputs};
  const auto* convolution = std::get_if<network::Convolution>(&layer);
  QUANTBOUND_ASSERT(convolution != nullptr, network::operator_name(layer));
  return convolution->geometry;
}

Index input_elements(const Convolution& g) { return g.channels_in * g.height * g.width; }

std::span<const double> part(const std::vector<double>& values, Index first, Index count) {
  return std::span(values).subspan(at(first), at(count));
}

/// A weight of a group: a channel of its input, and the way from a place of the window to an element.
struct Tap {
  Index channel, offset_y, offset_x;
};

Tap tap_of(const Convolution& g, Index group, Index column) {
  const tensor::Window& w = g.window;
  const Index area = w.kernel_height * w.kernel_width, within = column % area;
  return {group * (g.channels_in / g.groups) + column / area, within / w.kernel_width * w.dilation_height - w.pad_top,
          within % w.kernel_width * w.dilation_width - w.pad_left};
}

/// What the tap reads at the places of lines [begin, end), a line being a row of the output of a sample.
void gather(const Convolution& g, const Tap& tap, std::span<const float> inputs, Index begin, Index end,
            double* target) {
  const Index out_height = g.out_height(), out_width = g.out_width();
  for (Index line = begin; line < end; ++line, target += out_width) {
    const Index sample = line / out_height, y = line % out_height * g.window.stride_height + tap.offset_y;
    if (y < 0 || y >= g.height) {
      std::fill_n(target, out_width, 0.0);
      continue;
    }
    const float* source = inputs.data() + sample * input_elements(g) + (tap.channel * g.height + y) * g.width;
    for (Index place = 0; place < out_width; ++place) {
      const Index x = place * g.window.stride_width + tap.offset_x;
      target[place] = x >= 0 && x < g.width ? static_cast<double>(source[x]) : 0.0;
    }
  }
}

}  // namespace

/// Columns of im2col, transposed: one row per weight, one column per place.
struct GramAccumulator::Block {
  Index places = 0;
  std::vector<double> inputs, changes;  ///< x^, and x^ - x where that is not zero everywhere
};

std::span<const double> Gram::moments_of(Index group) const {
  return part(moments, group * columns * columns, columns * columns);
}

std::vector<double> row_losses(const Gram& gram, std::span<const double> weights, std::span<const double> quantized) {
  const Index columns = gram.columns, group_size = gram.group_rows() * columns;
  QUANTBOUND_ASSERT(weights.size() == quantized.size() && weights.size() == gram.residual.size(), weights.size(),
                    quantized.size(), gram.residual.size());
  std::vector<double> change(weights.size());
  std::ranges::transform(quantized, weights, change.begin(), std::minus<>{});
  std::vector<double> losses = gram.energy;
  for (Index group = 0; group < gram.groups; ++group) {
    const std::span<const double> rows = part(change, group * group_size, group_size);
    const std::vector<double> image = tensor::dense(columns, gram.moments_of(group), {}, rows, gram.group_rows());
    for (Index i = 0; i < group_size; ++i) {
      const Index weight = group * group_size + i;
      losses[at(weight / columns)] += change[at(weight)] * (image[at(i)] + 2.0 * gram.residual[at(weight)]);
    }
  }
  return losses;
}

Index GramAccumulator::bytes(const network::Operator& layer) {
  const Convolution g = geometry_of(layer);
  return static_cast<Index>(sizeof(double)) * (g.groups * g.fan_in() * g.fan_in() + g.weight_count() + g.channels_out);
}

GramAccumulator::GramAccumulator(const network::Operator& layer, const network::LayerParameters& original,
                                 std::span<const double> quantized_bias)
    : geometry_(geometry_of(layer)), weights_(original.weights), bias_change_(original.bias.size()) {
  QUANTBOUND_ASSERT(std::ssize(weights_) == geometry_.weight_count(), weights_.size(), geometry_.weight_count());
  QUANTBOUND_ASSERT(
      std::ssize(original.bias) == geometry_.channels_out && original.bias.size() == quantized_bias.size(),
      original.bias.size(), quantized_bias.size());
  std::ranges::transform(quantized_bias, original.bias, bias_change_.begin(), std::minus<>{});
  bias_changes_ = std::ranges::any_of(bias_change_, [](double change) { return change != 0.0; });
  sums_.groups = geometry_.groups;
  sums_.rows = geometry_.channels_out;
  sums_.columns = geometry_.fan_in();
  sums_.moments.resize(at(sums_.groups * sums_.columns * sums_.columns));
  sums_.residual.resize(at(sums_.rows * sums_.columns));
  sums_.energy.resize(at(sums_.rows));
}

void GramAccumulator::add(std::span<const float> inputs, std::span<const float> quantized_inputs) {
  const Index elements = input_elements(geometry_), samples = std::ssize(inputs) / elements;
  QUANTBOUND_ASSERT(inputs.size() == quantized_inputs.size() && std::ssize(inputs) == samples * elements, inputs.size(),
                    quantized_inputs.size(), elements);
  if (std::ranges::equal(inputs, quantized_inputs)) inputs = {};
    // Groups are apart; a single one shares its products among the threads instead.
#pragma omp parallel for schedule(dynamic) if (geometry_.groups > 1)
  for (Index group = 0; group < geometry_.groups; ++group) add_group(group, inputs, quantized_inputs);
  sums_.count += samples * geometry_.out_height() * geometry_.out_width();
}

/// `inputs` is empty where they equal the quantized ones.
void GramAccumulator::add_group(Index group, std::span<const float> inputs, std::span<const float> quantized_inputs) {
  const Index columns = sums_.columns, width = geometry_.out_width();
  const Index lines = std::ssize(quantized_inputs) / input_elements(geometry_) * geometry_.out_height();
  const Index lines_at_once = std::max<Index>(1, block_places / std::max<Index>(1, width));
  for (Index line = 0; line < lines; line += lines_at_once) {
    const Index end = std::min(line + lines_at_once, lines), places = (end - line) * width;
    Block block{places, std::vector<double>(at(columns * places)), {}};
    block.changes.resize(inputs.empty() ? 0 : block.inputs.size());
#pragma omp parallel for schedule(static) if (tensor::worth_threads(columns * places))
    for (Index column = 0; column < columns; ++column) {
      const Tap tap = tap_of(geometry_, group, column);
      double* row = block.inputs.data() + column * places;
      gather(geometry_, tap, quantized_inputs, line, end, row);
      if (inputs.empty()) continue;
      double* change = block.changes.data() + column * places;
      gather(geometry_, tap, inputs, line, end, change);
      for (Index place = 0; place < places; ++place) change[place] = row[place] - change[place];
    }
    add_moments(group, block);
    if (bias_changes_ || !inputs.empty()) add_residuals(group, block);
  }
}

void GramAccumulator::add_moments(Index group, const Block& block) {
  const Index columns = sums_.columns, places = block.places;
  double* moments = sums_.moments.data() + group * columns * columns;
  const Index panels = (columns + panel - 1) / panel;
#pragma omp parallel for schedule(dynamic) if (tensor::worth_threads(columns * columns * places))
  for (Index p = 0; p < panels; ++p) {
    const Index first = (panels - 1 - p) * panel;  // the long ones first
    const Index end = std::min(first + panel, columns);
    const std::vector<double> products =
        tensor::dense(end, part(block.inputs, 0, end * places), {},
                      part(block.inputs, first * places, (end - first) * places), end - first);
    for (Index i = first; i < end; ++i)
      for (Index j = 0; j <= i; ++j) moments[i * columns + j] += products[at((i - first) * end + j)];
  }
}

void GramAccumulator::add_residuals(Index group, const Block& block) {
  const Index columns = sums_.columns, places = block.places, rows = sums_.group_rows();
  const std::vector<double> unchanged(block.changes.empty() ? block.inputs.size() : 0);
#pragma omp parallel for schedule(dynamic) if (tensor::worth_threads(rows * columns * places))
  for (Index first = 0; first < rows; first += panel) {
    const Index count = std::min(panel, rows - first), row = group * rows + first;
    // The product of weights and columns is a convolution of an image of one line.
    const Convolution product{.channels_in = columns, .width = places, .channels_out = count};
    const std::vector<double> residual =
        tensor::convolve(product, part(weights_, row * columns, count * columns), part(bias_change_, row, count),
                         block.changes.empty() ? unchanged : block.changes, 1);
    const std::vector<double> products = tensor::dense(columns, block.inputs, {}, residual, count);
    for (Index i = 0; i < count; ++i) {
      for (Index j = 0; j < columns; ++j) sums_.residual[at((row + i) * columns + j)] += products[at(i * columns + j)];
      double sum = 0.0;
      for (const double value : part(residual, i * places, places)) sum += value * value;
      sums_.energy[at(row + i)] += sum;
    }
  }
}

Gram GramAccumulator::finish() const {
  QUANTBOUND_ASSERT(sums_.count > 0, sums_.count);
  Gram gram = sums_;
  const auto count = static_cast<double>(gram.count);
  for (std::vector<double>* values : {&gram.moments, &gram.residual, &gram.energy})
    for (double& value : *values) value /= count;
  for (Index group = 0; group < gram.groups; ++group) {
    double* moments = gram.moments.data() + group * gram.columns * gram.columns;
    for (Index i = 0; i < gram.columns; ++i)
      for (Index j = 0; j < i; ++j) moments[j * gram.columns + i] = moments[i * gram.columns + j];
  }
  return gram;
}

}  // namespace quantbound::reconstruct
