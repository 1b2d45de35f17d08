/// Search for a large deviation inside a box: projected sign-gradient ascent on +-(f_q - f)_i from many starts, in
/// double. What it finds is attained (up to the rounding of one forward pass), so it is a lower bound of the supremum.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::observe {

using network::Box;
using network::Graph;
using network::Index;
using network::LayerParameters;

struct AttackOptions {
  Index starts = 16;  ///< starting points; each output and sign is climbed from the best of them
  Index steps = 100;
  std::uint64_t seed = 1;
};

struct AttackResult {
  double deviation = 0.0;      ///< |f_q - f|, inf-norm, at `point`
  Index output = 0;            ///< where it is largest
  std::vector<double> point;   ///< inside the box
};

/// Deterministic in its arguments; uses the OpenMP threads of the caller.
AttackResult attack(const Graph& graph, std::span<const LayerParameters> f, std::span<const LayerParameters> fq,
                    const Box& box, const AttackOptions& options);

}  // namespace quantbound::observe
