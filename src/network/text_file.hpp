/// Whole files in memory, and numbers read exactly: what the readers of this room share.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace quantbound::network::detail {

/// The bytes of a file. Throws core::InputError where there is no such file or it cannot be read.
std::string read_file(const std::filesystem::path& path);

/// The finite number that `text` spells, surrounding blanks aside; nothing where it spells anything else.
std::optional<double> parse_number(std::string_view text);

/// `text` without blanks at its ends.
std::string_view trimmed(std::string_view text);

}  // namespace quantbound::network::detail
