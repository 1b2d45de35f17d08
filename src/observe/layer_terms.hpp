/// What every layer adds to the deviation and carries on, measured (docs/theory.md 1.6). f and f_q run in lockstep, a
/// few samples at a time, on the graph with a twin of every weight layer: it reads the same input and has the weights
/// W - W' and bias b - b', so that its output in f_q is the layer's local term D; then W Delta is (z - z') - D, with
/// the outputs z, z' of the layer before its activation. Memory is that of a few batches.
#pragma once

#include "quantbound/observe/deviation.hpp"

#include "evaluation.hpp"
#include "variants.hpp"

namespace quantbound::observe::detail {

/// The graph and a twin of every weight layer behind it; twin l is weight layer number L + l.
Graph with_twins(const Graph& graph);

/// Samples that one pair of engines takes at once: a divisor of `samples` for which what is kept of all layers stays
/// small.
Index layer_batch(const Graph& graph, Index samples);
/// Batches whose values of f are kept while the configurations follow one another.
Index batches_at_once(const Graph& graph, Index batch);

/// All configurations at all `inputs`. Throws core::NumericalError where a term is not finite.
LayerObservation layer_terms(const Graph& graph, const Variants& variants, std::span<const double> inputs,
                             Arithmetic arithmetic);

/// Nodes that are captured in float, and their elements for one sample.
std::vector<network::NodeId> captured_nodes(const Graph& graph);
Index captured_elements(const Graph& graph);

}  // namespace quantbound::observe::detail
