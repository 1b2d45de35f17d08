/// The file of --checkpoint: the state of a shared search, what problem it belongs to, and a checksum.
#pragma once

#include <filesystem>
#include <string>

#include "quantbound/core/bytes.hpp"

namespace quantbound::apps {

/// Replaces the file as a whole. Throws core::IoError.
void write_checkpoint(const std::filesystem::path& path, const std::string& problem_hash, const core::Bytes& state);
/// Throws core::InputError for a file that is none, is damaged, or belongs to another problem; core::IoError.
core::Bytes read_checkpoint(const std::filesystem::path& path, const std::string& problem_hash);

}  // namespace quantbound::apps
