/// Which layers the layerwise bound blames: the share of each term n_l max|dW_l| P_l in the sum of houache_layerwise
/// (arXiv 2502.01156, Thm 4.1 before its maxima). A share says where the bound is large, not where the error is.
#pragma once

#include <optional>
#include <vector>

#include "quantbound/bounds/theory.hpp"

namespace quantbound::bounds {

/// One share in [0, 1] per weight layer, adding up to 1; nothing where the theory does not apply or nothing changed.
std::optional<std::vector<double>> layer_shares(const NormInput& input);

}  // namespace quantbound::bounds
