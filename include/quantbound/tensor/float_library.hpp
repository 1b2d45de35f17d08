/// The library behind the float kernels (oneDNN), for --version: which, and what it uses of this processor.
#pragma once

#include <string>

namespace quantbound::tensor {

struct FloatLibrary {
  std::string version;          ///< "2.6.0"
  std::string instruction_set;  ///< the newest it may use here, in its own words: "avx512_core_vnni"
};

FloatLibrary float_library();

}  // namespace quantbound::tensor
