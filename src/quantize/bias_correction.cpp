#include "quantbound/quantize/bias_correction.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"

#include "layer_layout.hpp"

namespace quantbound::quantize {

namespace {

using detail::LayerLayout;
using network::Graph;
using network::Node;
using network::NodeId;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// Places of a window along one axis of which a tap lies inside, as a sum over them.
struct Axis {
  Index extent, places, stride, dilation, pad;

  /// Position that tap number `tap` reads at a place; outside [0, extent) on the padding.
  Index position(Index place, Index tap) const { return place * stride + tap * dilation - pad; }
  bool inside(Index position) const { return position >= 0 && position < extent; }
};

double mean_of_tap(std::span<const double> image, const Axis& down, const Axis& across, Index row_tap,
                   Index column_tap) {
  double sum = 0.0;
  for (Index y = 0; y < down.places; ++y) {
    const Index row = down.position(y, row_tap);
    if (!down.inside(row)) continue;
    for (Index x = 0; x < across.places; ++x) {
      const Index column = across.position(x, column_tap);
      if (across.inside(column)) sum += image[at(row * across.extent + column)];
    }
  }
  return sum / static_cast<double>(down.places * across.places);
}

std::vector<double> column_means_of(const tensor::Convolution& geometry, std::span<const double> input) {
  const tensor::Window& window = geometry.window;
  const Axis down{geometry.height, geometry.out_height(), window.stride_height, window.dilation_height, window.pad_top};
  const Axis across{geometry.width, geometry.out_width(), window.stride_width, window.dilation_width, window.pad_left};
  const Index pixels = geometry.height * geometry.width;
  std::vector<double> means;
  for (Index channel = 0; channel < geometry.channels_in; ++channel) {
    const auto image = input.subspan(at(channel * pixels), at(pixels));
    for (Index row_tap = 0; row_tap < window.kernel_height; ++row_tap) {
      for (Index column_tap = 0; column_tap < window.kernel_width; ++column_tap)
        means.push_back(mean_of_tap(image, down, across, row_tap, column_tap));
    }
  }
  return means;
}

const network::Operator& operator_of(const Graph& graph, Index layer) {
  return graph.nodes[at(graph.weight_layers()[at(layer)])].op;
}

bool pads(const tensor::Window& window) {
  return window.pad_top != 0 || window.pad_left != 0 || window.pad_bottom != 0 || window.pad_right != 0;
}

/// Whether g(z) = g(z - c) + c for z >= c >= 0.
bool passes_constant(const network::Activation& activation) {
  switch (activation.kind) {
    case network::ActivationKind::relu:
    case network::ActivationKind::leaky_relu:
      return true;
    case network::ActivationKind::clip:
      return activation.alpha <= 0.0 && activation.beta > std::numeric_limits<double>::max();
    default:
      return false;
  }
}

bool passes_constant(const network::Operator& op) {
  if (const auto* activation = std::get_if<network::Activation>(&op)) return passes_constant(*activation);
  if (const auto* average = std::get_if<network::AveragePool>(&op))
    return !average->divisor_includes_pads || !pads(average->window);
  if (const auto* convolution = std::get_if<network::Convolution>(&op)) return !pads(convolution->geometry.window);
  return std::holds_alternative<network::Dense>(op) || std::holds_alternative<network::MaxPool>(op) ||
         std::holds_alternative<network::GlobalAveragePool>(op) || std::holds_alternative<network::Reshape>(op) ||
         std::holds_alternative<network::Permute>(op) || std::holds_alternative<network::Slice>(op);
}

}  // namespace

std::vector<double> column_means(const network::Operator& op, std::span<const double> input) {
  if (const auto* convolution = std::get_if<network::Convolution>(&op)) {
    const tensor::Convolution& geometry = convolution->geometry;
    QUANTBOUND_ASSERT(std::ssize(input) == geometry.channels_in * geometry.height * geometry.width, input.size());
    return column_means_of(geometry, input);
  }
  QUANTBOUND_ASSERT(std::ssize(input) == detail::layout_of(op).channels, input.size());
  return {input.begin(), input.end()};
}

std::vector<double> corrected_bias(const network::Operator& op, const LayerParameters& original,
                                   const LayerParameters& quantized, const InputMeans& means) {
  const LayerLayout layout = detail::layout_of(op);
  const std::size_t columns = at(layout.channels_of_row() * layout.kernel);
  QUANTBOUND_ASSERT(std::ssize(means.original) == layout.channels * layout.kernel, means.original.size());
  QUANTBOUND_ASSERT(means.quantized.size() == means.original.size(), means.quantized.size(), means.original.size());
  QUANTBOUND_ASSERT(original.weights.size() == at(layout.rows) * columns, original.weights.size());
  QUANTBOUND_ASSERT(quantized.weights.size() == original.weights.size(), quantized.weights.size());
  std::vector<double> bias = original.bias;
  for (std::size_t row = 0; row < bias.size(); ++row) {
    const std::size_t first_mean = at(layout.first_channel(static_cast<Index>(row)) * layout.kernel);
    double excess = 0.0;
    for (std::size_t column = 0; column < columns; ++column) {
      const double w = original.weights[row * columns + column], v = quantized.weights[row * columns + column];
      const double m = means.original[first_mean + column], n = means.quantized[first_mean + column];
      excess += (v - w) * n + w * (n - m);
    }
    bias[row] -= excess;
  }
  return bias;
}

std::vector<double> absorbable(std::span<const ChannelStatistics> channels, double deviations) {
  std::vector<double> result;
  result.reserve(channels.size());
  for (const ChannelStatistics& channel : channels)
    result.push_back(std::max(0.0, channel.mean - deviations * channel.deviation));
  return result;
}

std::string not_absorbing(const Graph& graph, const Link& link) {
  const auto layers = graph.weight_layers();
  const auto consumers = graph.consumers();
  for (NodeId v = layers[at(link.first)]; v != layers[at(link.second)];) {
    QUANTBOUND_ASSERT(consumers[at(v)].size() == 1, v);
    v = consumers[at(v)].front();
    const Node& node = graph.nodes[at(v)];
    if (!passes_constant(node.op))
      return fmt::format("{} '{}' does not let a constant pass", network::operator_name(node.op), node.name);
  }
  return {};
}

AbsorbedBiases absorbed_biases(const Graph& graph, const Link& link, std::span<const double> first_bias,
                               std::span<const double> second_bias, const LayerParameters& second_original,
                               std::span<const double> c) {
  QUANTBOUND_ASSERT(not_absorbing(graph, link).empty(), link.first, link.second);
  QUANTBOUND_ASSERT(c.size() == first_bias.size(), c.size(), first_bias.size());
  QUANTBOUND_ASSERT(std::ranges::all_of(c, [](double value) { return value >= 0.0; }), link.first);
  const LayerLayout layout = detail::layout_of(operator_of(graph, link.second));
  AbsorbedBiases result{{first_bias.begin(), first_bias.end()}, {second_bias.begin(), second_bias.end()}};
  for (std::size_t i = 0; i < c.size(); ++i) result.first[i] -= c[i];
  std::vector<double> gained(second_bias.size(), 0.0);
  detail::for_each_weight(second_original.weights, layout, [&](double weight, std::size_t row, std::size_t channel) {
    gained[row] += weight * c[at(link.rows[channel])];
  });
  for (std::size_t row = 0; row < gained.size(); ++row) result.second[row] += gained[row];
  return result;
}

}  // namespace quantbound::quantize
