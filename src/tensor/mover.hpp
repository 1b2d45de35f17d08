/// Moving elements between values of any layout: slices, pads, permutations and concatenations, one sample at a time.
#pragma once

#include <vector>

#include "layout.hpp"

namespace quantbound::tensor::detail {

/// Index out_start + i * out_step of out_axis takes index in_start + i * in_step of in_axis, for i below `count`.
struct AxisMove {
  Index in_axis = 0, in_start = 0, in_step = 1;
  Index out_axis = 0, out_start = 0, out_step = 1;
  Index count = 0;
};
/// From where it went back to where it came from.
AxisMove reversed(const AxisMove& move);

/// Offsets worked out once; what is contiguous on both sides is copied in one piece.
class Mover {
 public:
  Mover(const std::vector<AxisMove>& axes, const Descriptor& in, const Descriptor& out);
  void operator()(const float* in, float* out) const;

 private:
  struct Run {
    Index in = 0, out = 0, length = 0;
  };
  using Axis = std::vector<Run>;

  void copy(std::size_t axis, const float* in, float* out) const;

  std::vector<Axis> axes_;  ///< the last one has the longest runs; the others have runs of length 1
};

/// Constants (one, one per channel or one per element) as one sample in this layout, zeros in its padding.
std::vector<float> spread(const std::vector<double>& constants, const Shape& shape, const Descriptor& layout);

}  // namespace quantbound::tensor::detail
