/// How blocks are found (module.hpp says what a block is): the nodes that no edge passes by cut the graph into
/// segments; patterns of neighbouring segments are one block by design.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "quantbound/reconstruct/module.hpp"

namespace quantbound::reconstruct::detail {

/// "first..last" of weight layers by their numbers, or the name of a single one.
std::string label(const Graph& graph, std::span<const Index> layers);

/// The last node of the elementwise ones that alone follow a cut point; the node itself where there are none.
NodeId behind_elementwise(const Graph& graph, NodeId cut);

std::vector<Module> find_blocks(const Graph& graph);

}  // namespace quantbound::reconstruct::detail
