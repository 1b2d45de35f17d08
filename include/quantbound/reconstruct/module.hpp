/// Modules: pieces of a network whose weights are reconstructed together (MRECG, arXiv 2303.11906: any consecutive set
/// of layers; one layer as in AdaRound, a block as in BRECQ, or a stage). The modules of one kind hold every weight
/// layer once, in order, and each reads one value and makes one, on which its loss is measured. Nodes without weights
/// may lie between modules (pooling, padding, reshapes): they belong to none. What ModCap, homogeneity and the choice
/// of joint modules are: capacity.hpp, selection.hpp.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quantbound/network/graph.hpp"

namespace quantbound::reconstruct {

using network::Graph;
using network::Index;
using network::NodeId;

/// layer: a weight layer and the activation that alone follows it. Its input may be read by others too.
/// block: what lies between two nodes that no edge passes by: a residual block, a layer of a dense block, a branching;
/// or
///   several of these where they are one by design: a fire module (a 1x1 convolution to fewer channels, and branches of
///   it side by side), an inverted residual without skip (1x1, depthwise, 1x1 without activation), a depthwise
///   convolution and the 1x1 convolution behind it (either may be gated: squeeze-excite); or a single layer. The
///   elementwise nodes that alone follow belong to it (activations, scales, x * sigmoid(x)), so that the loss is taken
///   behind the activation; pooling does not: a loss behind a global average would be blind to most of the values.
/// stage: a run of blocks whose outputs have the same height and width (flat values: the same size).
enum class ModuleKind { layer, block, stage };
std::string_view to_string(ModuleKind kind);
std::optional<ModuleKind> parse_module_kind(std::string_view text);

struct Module {
  std::string name;              ///< a label: of its first weight layer, or "first..last"
  std::vector<Index> layers;     ///< numbers of its weight layers in the network, increasing
  NodeId input = 0, output = 0;  ///< nodes of the network: the value that the module reads, the value that it makes
  bool operator==(const Module&) const = default;
};

/// @pre the output depends on every weight layer
std::vector<Module> find_modules(const Graph& graph, ModuleKind kind);

/// A module as a study names it: by the nodes of its first and its last weight layer (one name twice: a single layer).
struct LayerRange {
  std::string first, last;
};
/// The named modules in order, and every layer that no one names as a module of its own. A named module reads the input
/// of its first layer or the last node before it that no edge passes by; nothing within it is read from outside.
/// Throws core::InputError (unknown name, overlap, layers that cannot be separated from others); `where` is the place.
std::vector<Module> named_modules(const Graph& graph, std::span<const LayerRange> ranges, const std::string& where);

/// Whether what lies between the input of `first` and the output of `last` is a module: it reads no other value, holds
/// all their layers, and nothing within is read from outside. Always so for neighbouring blocks and stages; for layers
/// of a chain, not for branches side by side.
bool may_merge(const Graph& graph, const Module& first, const Module& last);

/// Runs of modules, given by the number of modules in each, become one module each.
/// @pre sum(runs) == modules.size(), runs >= 1, neighbours within a run may_merge
std::vector<Module> merge(std::span<const Module> modules, std::span<const Index> runs);

/// The module as a network of its own: module.input is its Input, layer i of it is module.layers[i] of the network.
Graph module_graph(const Graph& graph, const Module& module);

}  // namespace quantbound::reconstruct
