/// Where the weights of a layer lie: row by row, within a row input channel by input channel, within a channel tap by
/// tap. A dense layer has one tap, and every input is a channel.
#pragma once

#include <cstddef>

#include "quantbound/core/assert.hpp"
#include "quantbound/network/graph.hpp"

namespace quantbound::quantize::detail {

using network::Index;

struct LayerLayout {
  Index rows = 0, channels = 0;
  Index kernel = 1, groups = 1;

  Index channels_of_row() const { return channels / groups; }
  /// The first input channel that a row reads.
  Index first_channel(Index row) const { return row / (rows / groups) * channels_of_row(); }
  bool depthwise() const { return groups == channels && rows == channels; }
};

/// @pre op is a Convolution or a Dense
inline LayerLayout layout_of(const network::Operator& op) {
  if (const auto* convolution = std::get_if<network::Convolution>(&op)) {
    const tensor::Convolution& geometry = convolution->geometry;
    return {.rows = geometry.channels_out,
            .channels = geometry.channels_in,
            .kernel = geometry.window.kernel_height * geometry.window.kernel_width,
            .groups = geometry.groups};
  }
  const auto* dense = std::get_if<network::Dense>(&op);
  QUANTBOUND_ASSERT(dense != nullptr, op.index());
  return {.rows = dense->outputs, .channels = dense->inputs};
}

/// Calls visit(weight, row, channel) for all weights, in order.
template <class Weights, class Visit>
void for_each_weight(Weights& weights, const LayerLayout& layout, Visit visit) {
  auto weight = weights.begin();
  for (Index row = 0; row < layout.rows; ++row) {
    const Index first = layout.first_channel(row);
    for (Index channel = first; channel < first + layout.channels_of_row(); ++channel) {
      for (Index tap = 0; tap < layout.kernel; ++tap) {
        visit(*weight++, static_cast<std::size_t>(row), static_cast<std::size_t>(channel));
      }
    }
  }
}

}  // namespace quantbound::quantize::detail
