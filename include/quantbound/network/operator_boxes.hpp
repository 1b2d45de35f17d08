/// Interval arithmetic for one operator of the graph: the box of a node's values from the boxes of its inputs, rounded
/// outward (core/interval.hpp). All operators but weight layers, whose intervals need the weights: prefix_boxes walks
/// the nodes before them, the certify room the whole graph.
#pragma once

#include <span>

#include "quantbound/core/interval.hpp"
#include "quantbound/network/network.hpp"

namespace quantbound::network {

/// What the function can be on an interval, as tight as doubles allow but for sigmoid and tanh, where the library's
/// exp and tanh are trusted to 8 units in the last place.
core::Interval activation_range(const Activation& activation, core::Interval x);

/// Box of a node that applies `op` to inputs of the given shapes. @pre op is neither Input nor a weight layer
Box operator_box(const Operator& op, const Shape& shape, std::span<const Shape* const> input_shapes,
                 std::span<const Box* const> inputs);

}  // namespace quantbound::network
