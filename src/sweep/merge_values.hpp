/// The variables of a merged result: every part's numbers at their places on the merged axes. Used by merge.cpp only.
#pragma once

#include <span>
#include <vector>

#include "quantbound/sweep/dataset.hpp"
#include "quantbound/sweep/merge.hpp"

#include "merge_axes.hpp"

namespace quantbound::sweep::detail {

/// Whether two parts must agree on a value: to the bit; within the eighth that is left to deviations measured in float
/// (which of them are measured again in double depends on how a study's work was cut); or not at all (times, notes,
/// where a file lay). The first part that has a value tells.
enum class Agreement { required, measured, kept };

/// One variable of the group that `group_of` takes from a part; parts without it leave it empty.
/// Throws core::InputError where two parts that must agree do not, naming both, the labels and the values.
/// @pre at least one part has it
Variable merge_variable(std::span<const ResultPart> parts, const std::string& name, const MergedAxes& axes,
                        Agreement agreement, const Group* (*group_of)(const Dataset&));

}  // namespace quantbound::sweep::detail
