/// Which places of a sliding window meet the image at one tap.
#pragma once

#include <algorithm>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor::detail {

struct Range {
  Index begin = 0, end = 0;
};

/// The places p in [0, places) whose input index p * stride + offset lies in [0, size).
/// @pre stride > 0
inline Range places_inside(Index offset, Index stride, Index size, Index places) {
  const Index begin = offset >= 0 ? 0 : (stride - 1 - offset) / stride;
  const Index last = size - 1 - offset;
  const Index end = last < 0 ? 0 : std::min(places, last / stride + 1);
  return {std::min(begin, end), end};
}

}  // namespace quantbound::tensor::detail
