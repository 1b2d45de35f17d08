#include "quantbound/core/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace quantbound::core::detail {

void assertion_failed(const char* expression, const char* names, const std::string& values, const char* file,
                      int line) {
  std::fprintf(stderr, "quantbound: bug: %s:%d: %s failed [%s = %s]\n", file, line, expression, names, values.c_str());
  std::abort();
}

}  // namespace quantbound::core::detail
