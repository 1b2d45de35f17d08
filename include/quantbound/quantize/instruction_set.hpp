/// Which instructions the loops over weights use on this processor, for --version. The bits are the same with all.
#pragma once

#include <string_view>

namespace quantbound::quantize {

/// "AVX-512", "AVX2" or "baseline".
std::string_view instruction_set();

}  // namespace quantbound::quantize
