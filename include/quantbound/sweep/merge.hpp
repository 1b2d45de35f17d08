/// Several result files as one, by label: the parts of a study that was cut in pieces, or studies of different
/// networks. Every axis becomes the union of its labels, in the order of the parts where these agree. A number that
/// several parts have must be the same, bit for bit (measurements in float: within an eighth); where no part has one,
/// it has what an unfinished study would (NaN, 0, empty text) and `status` = skipped. What a whole file says once
/// (step, grid, schema, ...) must be the same in all. Computes no number: a merged result holds what its parts hold.
#pragma once

#include <string>
#include <vector>

#include "quantbound/sweep/dataset.hpp"

namespace quantbound::sweep {

/// A result file, by the name that errors and /provenance call it.
struct ResultPart {
  std::string file;
  Dataset dataset;
};

struct MergedResult {
  /// As one study would have left it. Of /provenance everything but what the run that merges says of itself; there each
  /// part is a `source` with the study it was made from, and parts that were merged already are their sources.
  Dataset dataset;
  /// Settings in which the studies differ though they are no axis, one line each, for people.
  std::vector<std::string> notes;
};

/// Throws core::InputError where a part is no result of quantbound or the parts contradict each other.
/// @pre there is at least one part
MergedResult merge_results(std::vector<ResultPart> parts);

}  // namespace quantbound::sweep
