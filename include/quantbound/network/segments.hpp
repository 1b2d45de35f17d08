/// Cutting a graph in two: nodes whose value alone decides everything after them, and the graphs before and behind such
/// a node. Configurations that share their first layers share the values at a cut, so these are computed once.
#pragma once

#include <vector>

#include "quantbound/network/graph.hpp"

namespace quantbound::network {

/// In order, the nodes that no edge passes by: no later node reads an earlier one. Where all nodes lead to the output
/// these are the nodes that every path from input to output visits, both ends included.
std::vector<NodeId> cut_points(const Graph& graph);

/// tail(head(x)) == graph(x), bit for bit.
struct Halves {
  Graph head;  ///< the nodes up to the cut, numbered as before
  Graph tail;  ///< its Input stands for the cut; nodes and weight layers are counted anew from there
};
/// @pre node is a cut point
Halves split(const Graph& graph, NodeId node);

/// The nodes that `to` needs beyond `from`, whose value becomes the Input; in their order, weight layers counted anew.
/// @pre from < to, and every path from the Input to `to` visits `from`
Graph between(const Graph& graph, NodeId from, NodeId to);

}  // namespace quantbound::network
