/// Modules: pieces of a network whose weights are reconstructed together (MRECG, arXiv 2303.11906: any consecutive set
/// of layers; one layer as in AdaRound, a block as in BRECQ). The modules of one kind hold every weight layer once, in
/// order, and each reads one value and makes one.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "quantbound/network/graph.hpp"

namespace quantbound::reconstruct {

using network::Graph;
using network::Index;
using network::NodeId;

/// layer: a weight layer and the activation that alone follows it. Its input may be read by others too.
enum class ModuleKind { layer };

struct Module {
  std::string name;              ///< of its first weight layer, or "first..last"
  std::vector<Index> layers;     ///< numbers of its weight layers in the network, increasing
  NodeId input = 0, output = 0;  ///< nodes of the network: the value that the module reads, the value that it makes
  bool operator==(const Module&) const = default;
};

std::vector<Module> find_modules(const Graph& graph, ModuleKind kind);

/// The module as a network of its own: module.input is its Input, layer i of it is module.layers[i] of the network.
Graph module_graph(const Graph& graph, const Module& module);

}  // namespace quantbound::reconstruct
