/// Differential zonotopes (docs/theory.md 5.4, VeryDiff; B9 of 9.1): y, y' and d = y' - y of every node as affine forms
/// of the input and of one shared noise per relaxed activation. Weight layers evaluate both identities
/// d_out = W' d + dW y + db = W d + dW y' + db and keep the narrower form of each element; activations, the relaxation
/// with the least noise over the polygon of feasible (y, y'); a maximum that one element decides is exact. Products of
/// two values, hard_swish and hard_sigmoid forget their correlations (boxes from difference_interval). Bounds of every
/// node are intersected with difference_interval's, so they are never looser. Sound in floating point (9.5.4): every
/// element carries the rounding errors of its form. Feed it small images or local boxes: time is generators x
/// multiply-adds.
#pragma once

#include <cstddef>

#include "quantbound/certify/pair_bounds.hpp"

namespace quantbound::certify {

/// At most `generators` noises are kept per form; beyond that the smallest become a box. Independent of threads.
/// @pre input finite, low <= high, as many elements as the graph's input; generators >= 1
PairBounds difference_zonotope(const Pair& pair, const Box& input, Index generators);

/// Upper estimate of the memory that takes.
std::size_t difference_zonotope_bytes(const Pair& pair, Index generators);

}  // namespace quantbound::certify
