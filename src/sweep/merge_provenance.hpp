/// What a merged result says of where it comes from: the sources, the failures of all, and their times. Used by
/// merge.cpp only.
#pragma once

#include <span>

#include "quantbound/sweep/dataset.hpp"
#include "quantbound/sweep/merge.hpp"

#include "merge_axes.hpp"

namespace quantbound::sweep::detail {

/// /failures: those of all parts, one after the other; their tasks are counted on.
Group merge_failures(std::span<const ResultPart> parts);

/// /provenance: every part a `source` (a merged part: its sources), with its file, its study and what its run said of
/// itself; tasks, ranks and failures of all with the source they belong to; times put together as the values are.
Group merge_provenance(std::span<const ResultPart> parts, const MergedAxes& axes, const Group& failures);

}  // namespace quantbound::sweep::detail
