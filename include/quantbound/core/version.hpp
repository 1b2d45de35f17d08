/// What this build is: version, commit and whether the tree was modified, compiler, build type, instruction set.
/// Goes into `--version` and into /provenance of every result file.
#pragma once

#include <string_view>

namespace quantbound::core {

struct Version {
  std::string_view version;
  std::string_view commit;  ///< short hash, with "-modified" when the tree was
  std::string_view compiler;
  std::string_view build_type;
  std::string_view instruction_set;  ///< the -march of the build
  std::string_view hdf5;
};

Version version();

}  // namespace quantbound::core
