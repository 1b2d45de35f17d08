/// The search on large networks: climbs in float, what they found evaluated in double.
///
/// Which output and sign is climbed decides more than how (of the thousand outputs of MobileNetV2, good ones are worth
/// twice as much as others, and the values at random points hardly tell which), so it is a race in three rounds: many
/// targets for few steps, the best fourth of the climbs for four times as many, of these the best fourth again.
/// Each round takes starts x steps steps in all.
#pragma once

#include "double_difference.hpp"
#include "float_difference.hpp"

namespace quantbound::observe::detail {

AttackResult search_in_float(FloatDifference& fast, const Difference& exact, const Box& box,
                             const AttackOptions& options);

}  // namespace quantbound::observe::detail
