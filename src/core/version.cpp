#include "quantbound/core/version.hpp"

#include "version_generated.hpp"

namespace quantbound::core {

Version version() {
  return {.version = QUANTBOUND_VERSION,
          .commit = QUANTBOUND_COMMIT,
          .compiler = QUANTBOUND_COMPILER,
          .build_type = QUANTBOUND_BUILD_TYPE,
          .instruction_set = QUANTBOUND_ARCH,
          .hdf5 = QUANTBOUND_HDF5};
}

}  // namespace quantbound::core
