/// Files written and read as a whole: checkpoints. Written under the name PATH.partial, synced and renamed, so that a
/// reader sees the former or the new content and never half of it. What is inside is the caller's affair.
///
/// All functions are independent.
#pragma once

#include <filesystem>
#include <span>

#include "quantbound/core/bytes.hpp"

namespace quantbound::store {

/// Throws core::IoError, after which `path` holds what it held before.
void write_whole_file(const std::filesystem::path& path, std::span<const std::byte> bytes);
/// Throws core::IoError.
core::Bytes read_whole_file(const std::filesystem::path& path);

}  // namespace quantbound::store
