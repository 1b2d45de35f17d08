#include "quantbound/network/segments.hpp"

#include <algorithm>
#include <iterator>

#include "quantbound/core/assert.hpp"

namespace quantbound::network {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// The last node that reads each node, itself where no one does.
std::vector<NodeId> last_readers(const Graph& graph) {
  std::vector<NodeId> last;
  for (NodeId id = 0; id < std::ssize(graph.nodes); ++id) {
    last.push_back(id);
    for (const NodeId input : graph.nodes[at(id)].inputs) last[at(input)] = id;
  }
  return last;
}

/// The same operator where the first `layers` weight layers are not counted.
Operator renumbered(Operator op, Index layers) {
  if (auto* convolution = std::get_if<Convolution>(&op)) convolution->layer -= layers;
  if (auto* dense = std::get_if<Dense>(&op)) dense->layer -= layers;
  return op;
}

}  // namespace

std::vector<NodeId> cut_points(const Graph& graph) {
  const std::vector<NodeId> last = last_readers(graph);
  std::vector<NodeId> cuts;
  NodeId reach = 0;  // the last reader of anything before
  for (NodeId id = 0; id <= graph.output; ++id) {
    if (reach <= id) cuts.push_back(id);
    reach = std::max(reach, last[at(id)]);
  }
  return cuts;
}

Halves split(const Graph& graph, NodeId node) {
  const std::vector<NodeId> cuts = cut_points(graph);
  QUANTBOUND_ASSERT(std::binary_search(cuts.begin(), cuts.end(), node), node);
  Halves halves;
  halves.head.nodes.assign(graph.nodes.begin(), graph.nodes.begin() + node + 1);
  halves.head.output = node;

  const Index layers = std::ssize(halves.head.weight_layers());
  const Node& cut = graph.nodes[at(node)];
  halves.tail.nodes.push_back({cut.name, Input{}, {}, cut.shape});
  halves.tail.output = graph.output - node;
  for (NodeId id = node + 1; id < std::ssize(graph.nodes); ++id) {
    Node& moved = halves.tail.nodes.emplace_back(graph.nodes[at(id)]);
    moved.op = renumbered(std::move(moved.op), layers);
    for (NodeId& input : moved.inputs) input -= node;
  }
  return halves;
}

}  // namespace quantbound::network
