/// The affine operators of a graph as maps of rows: forward, where a row is a value, and backward, where a row is a
/// functional. Weights come from outside, so that f, f_q, their change and absolute values go the same way. Computed to
/// nearest by the kernels of the tensor room; what rounding costs is bounded where they are called (crown_walk.cpp).
#pragma once

#include <span>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::certify::detail {

using network::Graph;
using network::Index;
using network::NodeId;
using Values = std::vector<double>;

/// Whether the operator is affine in its inputs, taken together.
bool is_affine(const network::Operator& op);
/// The weight layer of the operator; -1 where it has none.
Index layer_of(const network::Operator& op);

/// The linear part at rows of values of all inputs, one after the other; `weights` of a weight layer, else ignored.
Values forward_linear(const Graph& graph, NodeId node, std::span<const double> weights,
                      std::span<const Values* const> inputs, Index rows);
/// The constant part; `bias` of a weight layer, else ignored.
Values constant_part(const Graph& graph, NodeId node, std::span<const double> bias);
/// Coefficients on the output become coefficients on each input.
std::vector<Values> backward_linear(const Graph& graph, NodeId node, std::span<const double> weights,
                                    const Values& coefficients, Index rows);
/// Most products in one sum of backward_linear; 0 where elements are only moved.
Index backward_terms(const Graph& graph, NodeId node);
/// Most products in one sum of forward_linear.
Index forward_terms(const Graph& graph, NodeId node);

}  // namespace quantbound::certify::detail
