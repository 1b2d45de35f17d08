/// What a reconstruction is guessed to cost: for balance, `quantbound plan` and the time left. Nothing depends on it
/// but who computes what. Used by plan.cpp only.
#pragma once

#include "quantbound/reconstruct/reconstruct.hpp"

namespace quantbound::sweep::detail {

/// Seconds on one core, of one configuration fitted to so many samples.
double reconstruct_seconds(reconstruct::Method method, const network::Graph& graph, network::Index samples,
                           const reconstruct::Options& options);

}  // namespace quantbound::sweep::detail
