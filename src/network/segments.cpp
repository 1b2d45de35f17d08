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

Graph between(const Graph& graph, NodeId from, NodeId to) {
  QUANTBOUND_ASSERT(from < to, from, to);
  std::vector<char> needed(graph.nodes.size(), 0);
  needed[at(to)] = 1;
  for (NodeId id = to; id > from; --id) {
    if (needed[at(id)] == 0) continue;
    for (const NodeId input : graph.nodes[at(id)].inputs) {
      QUANTBOUND_ASSERT(input >= from, input, from, to);
      needed[at(input)] = 1;
    }
  }
  Graph part;
  part.nodes.push_back({graph.nodes[at(from)].name, Input{}, {}, graph.nodes[at(from)].shape});
  std::vector<NodeId> renamed(graph.nodes.size(), 0);
  Index layers = 0;
  for (NodeId id = from + 1; id <= to; ++id) {
    if (needed[at(id)] == 0) continue;
    renamed[at(id)] = std::ssize(part.nodes);
    Node& node = part.nodes.emplace_back(graph.nodes[at(id)]);
    if (auto* convolution = std::get_if<Convolution>(&node.op)) convolution->layer = layers++;
    if (auto* dense = std::get_if<Dense>(&node.op)) dense->layer = layers++;
    for (NodeId& input : node.inputs) input = renamed[at(input)];
  }
  part.output = renamed[at(to)];
  return part;
}

}  // namespace quantbound::network
