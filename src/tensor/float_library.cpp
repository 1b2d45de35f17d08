#include "quantbound/tensor/float_library.hpp"

#include <string_view>

#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_debug.h>

namespace quantbound::tensor {

FloatLibrary float_library() {
  const dnnl_version_t& version = *dnnl_version();
  const std::string_view name = dnnl_cpu_isa2str(dnnl_get_effective_cpu_isa());
  constexpr std::string_view prefix = "cpu_isa_";
  return {.version =
              std::to_string(version.major) + '.' + std::to_string(version.minor) + '.' + std::to_string(version.patch),
          .instruction_set = std::string(name.substr(name.starts_with(prefix) ? prefix.size() : 0))};
}

}  // namespace quantbound::tensor
