#include "quantbound/tensor/float_library.hpp"

#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_debug.h>

namespace quantbound::tensor {

FloatLibrary float_library() {
  const dnnl_version_t& version = *dnnl_version();
  return {.version = std::to_string(version.major) + '.' + std::to_string(version.minor) + '.' +
                     std::to_string(version.patch),
          .instruction_set = dnnl_cpu_isa2str(dnnl_get_effective_cpu_isa())};
}

}  // namespace quantbound::tensor
