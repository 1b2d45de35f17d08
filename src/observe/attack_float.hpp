/// The search on large networks: climbs in float, what they found evaluated in double. Which output and sign is climbed
/// matters more than from where (of the thousand outputs of MobileNetV2 some are good for a third more than others, and
/// values at random points hardly tell which), so they race: many climbs for few steps, the best fourth of them for
/// four times as many, and the best fourth of these again.
#pragma once

#include "double_difference.hpp"
#include "float_difference.hpp"

namespace quantbound::observe::detail {

AttackResult search_in_float(FloatDifference& fast, const Difference& exact, const Box& box,
                             const AttackOptions& options);

}  // namespace quantbound::observe::detail
