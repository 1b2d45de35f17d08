/// QUANTBOUND_ASSERT(condition, values...): our own invariants, always on. A failure is a bug of ours: it prints the
/// expression and the values passed, and aborts. User errors never come here (error.hpp).
#pragma once

#include <sstream>
#include <string>

namespace quantbound::core::detail {

[[noreturn]] void assertion_failed(const char* expression, const char* names, const std::string& values,
                                   const char* file, int line);

template <class... Values>
std::string join_values(const Values&... values) {
  std::ostringstream out;
  out.precision(17);
  ((out << values << ' '), ...);
  return out.str();
}

}  // namespace quantbound::core::detail

#define QUANTBOUND_ASSERT(condition, ...)              \
  ((condition)                                         \
       ? static_cast<void>(0)                          \
       : ::quantbound::core::detail::assertion_failed( \
             #condition, #__VA_ARGS__, ::quantbound::core::detail::join_values(__VA_ARGS__), __FILE__, __LINE__))
