/// The values of all calibration samples on the way through a network, of f and of its quantized prefix side by side:
/// at the inputs and outputs of modules, computed once, kept while something later reads them (a skip that passes by
/// several layers keeps its value so long), and given back then. Between modules lie operators without weights (sums,
/// poolings): graphs of their own, which may read several values.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "quantbound/reconstruct/module.hpp"
#include "quantbound/reconstruct/reconstruct.hpp"

namespace quantbound::reconstruct::detail {

/// What leads to the input of each module, and until when a value is needed.
struct Route {
  struct Stop {
    std::vector<NodeId> sources;   ///< the values that the module's input follows from; {} where it is one of them
    std::vector<NodeId> released;  ///< values that nothing reads after this module
  };
  std::vector<Stop> stops;  ///< one per module
};
Route find_route(const Graph& graph, std::span<const Module> modules);

/// The operators between these nodes and `target`. One source becomes the Input; several become one flat Input, one
/// after the other, that is cut up again.
/// @pre no weight layer lies between
Graph glue_graph(const Graph& graph, std::span<const NodeId> sources, NodeId target);

/// A value of all samples in f and in the quantized network.
struct Pair {
  std::vector<float> original, quantized;
};

class Values {
 public:
  /// The calibration samples stay the caller's.
  Values(const Graph& graph, std::span<const Module> modules, const Calibration& calibration);

  /// Computes the input of module number `module`. @pre all modules before it are finished
  void reach(Index module);
  std::span<const float> original(NodeId node) const;
  std::span<const float> quantized(NodeId node) const;
  /// The module's output is known now; drops what nothing reads any longer.
  void finish(Index module, Pair output);
  /// Elements per sample that are held now, of one of the two networks.
  Index held() const;

 private:
  const Graph& graph_;
  std::span<const Module> modules_;
  Calibration calibration_;
  Route route_;
  std::map<NodeId, Pair> held_;
};

/// Largest number of elements per sample of one of the two networks that Values holds at once, the output of the module
/// at hand included; the network's input does not count.
Index held_elements(const Graph& graph, std::span<const Module> modules);

}  // namespace quantbound::reconstruct::detail
