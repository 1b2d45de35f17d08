/// Per-sample shapes {channels, height, width} as images of the tensor room, and the rule of an average's divisor.
#pragma once

#include "quantbound/core/assert.hpp"
#include "quantbound/network/graph.hpp"
#include "quantbound/tensor/pooling.hpp"

namespace quantbound::network {

inline tensor::Image image_of(const Shape& shape) {
  QUANTBOUND_ASSERT(shape.size() == 3, tensor::to_string(shape));
  return {shape[0], shape[1], shape[2]};
}

inline tensor::Divisor divisor_of(const AveragePool& pool) {
  return pool.divisor_includes_pads ? tensor::Divisor::window : tensor::Divisor::inside;
}

}  // namespace quantbound::network
