/// The axes of a merged result: the union of the labels of all parts, and where each part's labels went. Axes that only
/// count (layer, region, region_output, module, sample) are put together by what they are pieces of: all layers of a
/// network stay together, and networks come in the order of the axis `network`. Used by merge*.cpp only.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "quantbound/sweep/dataset.hpp"
#include "quantbound/sweep/merge.hpp"

namespace quantbound::sweep::detail {

/// The union of several lists without repetitions. The order of every list is kept as far as they agree; what they
/// leave open comes in the order of appearance.
std::vector<std::string> merge_orders(std::span<const std::vector<std::string>> lists);

/// The union of the labels of one axis. Numbers that go up (or down) in every list go up (or down) in the union, so
/// that they can be sliced; everything else as merge_orders does it.
Labels merge_labels(std::span<const Labels> lists);

/// How many merged positions there are in a dimension, what they are called in errors, and where the parts are.
struct MergedAxis {
  Axis axis;
  std::vector<std::string> names;                ///< "round"; of counting axes "3 of digits_mlp_5"
  std::vector<std::vector<std::size_t>> places;  ///< by part and position there; empty where the part has no such axis
};

/// Axes in the order of the file, to be found by name.
struct MergedAxes {
  std::vector<MergedAxis> axes;

  const MergedAxis* find(std::string_view name) const;
};

/// Throws core::InputError where a part lacks what tells the pieces apart, or a network (a sample set) has other pieces
/// in one part than in another.
MergedAxes merge_axes(std::span<const ResultPart> parts);

}  // namespace quantbound::sweep::detail
