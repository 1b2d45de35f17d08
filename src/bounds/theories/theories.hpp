/// The functions behind the list in theories.cpp; each file of this folder defines one.
#pragma once

#include "quantbound/bounds/theory.hpp"

namespace quantbound::bounds {

TheoryResult berner(const NormInput& input);
TheoryResult gonon(const NormInput& input);
TheoryResult neyshabur(const NormInput& input);
TheoryResult houache_mean(const NormInput& input);
TheoryResult houache_conv(const NormInput& input);
TheoryResult houache_layerwise(const NormInput& input);
TheoryResult operator_norm(const NormInput& input);
TheoryResult absolute_product(const WeightInput& input);
TheoryResult path_metric(const WeightInput& input);

}  // namespace quantbound::bounds
