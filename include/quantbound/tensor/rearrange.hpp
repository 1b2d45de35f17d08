/// Moving elements without computing: permutations of axes, slices, pads and concatenations are all a strided copy of a
/// block of elements from one row-major array into another.
#pragma once

#include <span>
#include <vector>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor {

/// Element i of the block (a multi-index below `count`) goes from in_offset + i . in_stride to out_offset + i .
/// out_stride.
struct Rearrangement {
  Shape count;
  std::vector<Index> in_stride, out_stride;
  Index in_offset = 0, out_offset = 0;
};

/// Distance of neighbours along each axis of a row-major array.
std::vector<Index> row_major_strides(const Shape& shape);

/// Axis i of the result is axis axes[i] of the input.
Rearrangement permutation(const Shape& in, std::span<const Index> axes);
/// Elements start, start + step, ... per axis, `count` of them; steps may be negative. @pre they lie in the input
Rearrangement slice(const Shape& in, std::span<const Index> start, std::span<const Index> step,
                    std::span<const Index> count);
/// The input as a block of `out`, `before` elements from its beginning along each axis. @pre it fits
Rearrangement placement(const Shape& in, const Shape& out, std::span<const Index> before);

/// @pre in and out hold what the rearrangement reaches
void rearrange(const Rearrangement& rearrangement, const double* in, double* out);
void rearrange(const Rearrangement& rearrangement, const float* in, float* out);

}  // namespace quantbound::tensor
