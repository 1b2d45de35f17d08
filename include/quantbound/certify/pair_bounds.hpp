/// What is proved about every node of a pair over a domain: intervals that contain f's value y, f_q's value y' and the
/// difference d = y' - y of the output of each node, element by element. All methods read and deliver this, and the
/// results of several methods are intersected.
#pragma once

#include <vector>

#include "quantbound/certify/pair.hpp"

namespace quantbound::certify {

struct PairBox {
  Box f, fq, difference;
};

struct PairBounds {
  std::vector<PairBox> nodes;  ///< per node of the graph

  const PairBox& operator[](NodeId node) const { return nodes[static_cast<std::size_t>(node)]; }
  PairBox& operator[](NodeId node) { return nodes[static_cast<std::size_t>(node)]; }
};

/// Largest |x| in the box, element by element or over all: the deviation that a box of differences allows. A bound that
/// overflowed is infinite, never NaN.
std::vector<double> magnitudes(const Box& box);
double largest_magnitude(const Box& box);

/// Element by element; both contain the same points, so the result is never empty but for rounding: an interval that
/// came out empty is our bug and asserted. @pre equal sizes
Box intersection(const Box& a, const Box& b);
PairBox intersection(const PairBox& a, const PairBox& b);

/// The domain of a pair that reads one shared x: difference exactly zero.
PairBox shared_input(const Box& x);

}  // namespace quantbound::certify
