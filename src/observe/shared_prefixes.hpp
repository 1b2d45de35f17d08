/// Which variants begin with the same layers, and where it pays to cut the graph so that a common beginning is
/// evaluated once. Weights are compared by 128-bit hashes, layer after layer and only among variants that agree so far:
/// as a rule that is the first layer alone.
#pragma once

#include <vector>

#include "quantbound/network/graph.hpp"

#include "variants.hpp"

namespace quantbound::observe::detail {

using network::Graph;
using network::NodeId;

class SharedPrefixes {
 public:
  explicit SharedPrefixes(const Variants& variants);

  /// The first variant whose first `layers` layers have the weights of this one's.
  Index representative(Index variant, Index layers) const {
    return representatives_[static_cast<std::size_t>(layers)][static_cast<std::size_t>(variant)];
  }
  /// How many different beginnings of so many layers there are.
  Index distinct(Index layers) const { return distinct_[static_cast<std::size_t>(layers)]; }
  Index variants() const { return distinct_.empty() ? 0 : std::ssize(representatives_.front()); }

 private:
  std::vector<std::vector<Index>> representatives_;  ///< [layers][variant]
  std::vector<Index> distinct_;                      ///< [layers]
};

/// A stretch of the graph between two cuts.
struct Segment {
  Graph graph;
  Index first_layer = 0, layers = 0;
  Index end() const { return first_layer + layers; }
};

/// The cuts that save most, by a model of the cost that knows the graph and which variants agree, nothing else: none
/// where they save less than a few percent.
std::vector<NodeId> choose_cuts(const Graph& graph, const SharedPrefixes& prefixes);
/// The stretches before, between and behind the cuts. @pre the cuts increase and are cut points of the graph
std::vector<Segment> cut(const Graph& graph, const std::vector<NodeId>& cuts);

/// Most elements that one sample may leave at a cut: bounds what a block stores there.
Index most_elements_at_cut(const Graph& graph);

/// Multiply-adds of a weight layer for one sample, 0 for other nodes.
Index multiply_adds(const network::Node& node);
Index multiply_adds(const Graph& graph);

}  // namespace quantbound::observe::detail
