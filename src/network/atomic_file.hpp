/// Whole files written so that readers see all of one or none.
#pragma once

#include <filesystem>
#include <string_view>

namespace quantbound::network::detail {

/// `path` holds `bytes`, or what it held before: they are written as PATH.partial, brought to the disk and renamed.
/// Throws core::IoError.
void write_file(const std::filesystem::path& path, std::string_view bytes);

}  // namespace quantbound::network::detail
