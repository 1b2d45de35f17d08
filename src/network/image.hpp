/// Per-sample shapes of the graph as images of the tensor room: {channels, height, width}, or {channels, length} as an
/// image of height 1.
#pragma once

#include "quantbound/core/assert.hpp"
#include "quantbound/network/graph.hpp"
#include "quantbound/tensor/pooling.hpp"

namespace quantbound::network {

inline tensor::Image image_of(const Shape& shape) {
  QUANTBOUND_ASSERT(shape.size() == 2 || shape.size() == 3, tensor::to_string(shape));
  return shape.size() == 2 ? tensor::Image{shape[0], 1, shape[1]} : tensor::Image{shape[0], shape[1], shape[2]};
}

inline tensor::Divisor divisor_of(const AveragePool& pool) {
  return pool.divisor_includes_pads ? tensor::Divisor::window : tensor::Divisor::inside;
}

}  // namespace quantbound::network
