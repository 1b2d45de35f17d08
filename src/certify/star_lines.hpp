/// Lines over and under an activation on an interval, and the range of its slopes, as proved inequalities for the very
/// doubles that are returned (docs/theory.md 9.5.4: any slope is sound when the offset is rounded for that slope).
/// Piecewise linear functions get the edges of the convex hull of their graph, sigmoid and tanh chords and tangents.
/// hard_swish has none.
#pragma once

#include <optional>
#include <vector>

#include "linear_program.hpp"

namespace quantbound::certify::linear {

/// The line slope * x + offset.
struct Line {
  double slope = 0.0, offset = 0.0;
};

/// Every `above` is >= the function on the interval, every `below` <=. Level lines are left out: they say what the
/// interval of the function's values does.
struct Lines {
  std::vector<Line> above, below;
};

/// @pre limits finite, low <= high
Lines activation_lines(const network::Activation& activation, Interval limits);

/// Where the activation is exactly slope * x + offset all over the interval.
std::optional<Line> single_piece(const network::Activation& activation, Interval limits);

/// (f(p) - f(q)) / (p - q) lies in it for all p, q of the interval; empty for hard_swish.
std::optional<Interval> slope_range(const network::Activation& activation, Interval limits);

/// For d in `limits` and k in `slopes`: lines over and under k d, the chords of the two extreme slopes.
Lines slope_lines(Interval slopes, Interval limits);

}  // namespace quantbound::certify::linear
