/// The result file: any sweep::Dataset as one netCDF-4 file that xarray opens by label with both engines (found by
/// trying: variable-length labels, scales on every axis, no object times). Equal datasets give equal bytes. The file is
/// made in memory and written under the name PATH.partial, synced and renamed: readers never see half a file, and a
/// full disk breaks nothing. What it does not know: the schema (docs/design.md section 6), which whoever fills the
/// dataset knows.
///
/// All functions are independent: one rank calls write_result, the others do not take part.
#pragma once

#include <filesystem>

#include "quantbound/sweep/dataset.hpp"

namespace quantbound::store {

/// Replaces `path` as a whole or leaves what was there. Throws core::IoError (no space, no permission), after which no
/// PATH.partial remains. Groups may use axes of the root. In text, bytes that are not UTF-8 (and NUL) become U+FFFD.
/// @pre !sweep::inconsistency(dataset)
void write_result(const std::filesystem::path& path, const sweep::Dataset& dataset);

/// The dataset write_result was given (numbers bit for bit, order kept). Throws core::InputError for a file that is
/// missing, cut short, damaged, or holds what a Dataset cannot (unlabelled axes, compound types).
sweep::Dataset read_result(const std::filesystem::path& path);

/// Only the attributes of the root: study_hash, complete, ... Throws like read_result.
sweep::Attributes read_result_attributes(const std::filesystem::path& path);

}  // namespace quantbound::store
