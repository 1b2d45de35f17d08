/// The search on large networks: climbs in float, what they found evaluated in double.
#pragma once

#include "double_difference.hpp"
#include "float_difference.hpp"

namespace quantbound::observe::detail {

AttackResult search_in_float(FloatDifference& fast, const Difference& exact, const Box& box,
                             const AttackOptions& options);

}  // namespace quantbound::observe::detail
