/// A result file as a dataset again: the inverse of result_image.hpp, wary of files that others wrote.
#pragma once

#include <filesystem>

#include "quantbound/sweep/dataset.hpp"

namespace quantbound::store::detail {

/// Both throw Hdf5Error for what HDF5 cannot read and for what a Dataset cannot hold.
sweep::Dataset read_dataset(const std::filesystem::path& path);
sweep::Attributes read_root_attributes(const std::filesystem::path& path);

}  // namespace quantbound::store::detail
