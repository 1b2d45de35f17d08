/// From a graph to the operators of a float program: which nodes are computed, and which become one operator.
#pragma once

#include <span>
#include <vector>

#include "quantbound/network/graph.hpp"
#include "quantbound/tensor/float_program.hpp"

namespace quantbound::network::detail {

/// Appends the operators of the graph to an empty program and names its output. Where the values of the captured nodes
/// are: such a node is not fused with what reads it, and is computed even where the output does not depend on it.
/// @pre no captured node is the Input
std::vector<tensor::FloatProgram::Value> lower(const Graph& graph, std::span<const NodeId> captured,
                                               tensor::FloatProgram& program);

}  // namespace quantbound::network::detail
