/// Text as HDF5 and Python can hold it. Names come from ONNX files and file systems, where any bytes are possible.
#pragma once

#include <string>
#include <string_view>

namespace quantbound::store::detail {

/// The text itself where it is UTF-8 without NUL; else with U+FFFD for every byte that is not part of a character.
std::string valid_utf8(std::string_view text);

}  // namespace quantbound::store::detail
