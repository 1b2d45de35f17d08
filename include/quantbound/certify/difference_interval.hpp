/// Interval analysis of the pair: y, y' and d = y' - y of every node at once (docs/theory.md 9.1, B8). Affine layers
/// evaluate both identities d_out = W d + dW y' + db = W' d + dW y + db (beyond 2^18 multiply-adds, where passes are
/// the price and the second gains about one percent, the first alone), activations the optimal transformer of 5.1, and
/// every difference is intersected with that of the two separate intervals. All operators of the graph, including
/// products of two values and rounded activations of f_q. Sound in floating point (9.5.3): midpoints and radii with one
/// pass of absolute weights for the rounding errors. Never looser than AMP with ranges, up to that rounding.
#pragma once

#include "quantbound/certify/pair_bounds.hpp"

namespace quantbound::certify {

/// @pre input boxes finite, low <= high, sizes as the graph's input
PairBounds difference_interval(const Pair& pair, const Box& input);
/// The input of f_q may differ from f's: `input` says what is known of both and of their difference.
PairBounds difference_interval(const Pair& pair, const PairBox& input);

/// The same at the output alone, in a part of the memory and sooner.
PairBox output_interval(const Pair& pair, const Box& input);

/// Both networks apart: the difference of their intervals and nothing else, at every node.
PairBounds separate_intervals(const Pair& pair, const Box& input);

/// f_q(x) - f(x) at one point, enclosed: a proved lower bound of the deviation is smallest_magnitude of its elements.
Box difference_at(const Pair& pair, std::span<const double> x);

}  // namespace quantbound::certify
