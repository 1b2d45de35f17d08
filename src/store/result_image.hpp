/// A dataset as the bytes of a netCDF-4 file. The dimension scales are written by hand, not by H5DS: that library
/// rewrites the list of references with every variable and leaves undefined padding bytes in it.
#pragma once

#include <cstddef>
#include <vector>

#include "quantbound/sweep/dataset.hpp"

namespace quantbound::store::detail {

/// Throws Hdf5Error. @pre !sweep::inconsistency(dataset)
std::vector<std::byte> result_image(const sweep::Dataset& dataset);

}  // namespace quantbound::store::detail
