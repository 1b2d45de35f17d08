/// The set of inputs as the theories see it. What happens before the first weight layer (normalisation, reshapes, pads)
/// is the same in f and f_q and is evaluated exactly once, as boxes; bounds start where a first weight layer reads.
#pragma once

#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::bounds {

struct Domain {
  /// Box of every node before the first weight layer; empty for the others.
  std::vector<network::Box> boxes;
  /// D: largest magnitude of a value that enters a weight layer, joins a value behind one, or is the output.
  double radius = 0.0;

  bool precedes_weights(network::NodeId node) const { return !boxes[static_cast<std::size_t>(node)].low.empty(); }
  /// Largest magnitude in the box of such a node. @pre precedes_weights(node)
  double magnitude(network::NodeId node) const;
};

/// @pre box has one interval per input element, finite and low <= high
Domain make_domain(const network::Graph& graph, const network::Box& box);

}  // namespace quantbound::bounds
