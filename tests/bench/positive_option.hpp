/// Options of the benchmark programs: "--name=NUMBER".
#pragma once

#include <charconv>
#include <string>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"

namespace quantbound::bench {

/// Whether the argument is this option ("--batch="); then the positive number behind it goes where it belongs.
template <class Number>
bool take(std::string_view argument, std::string_view name, Number& number) {
  if (!argument.starts_with(name)) return false;
  const std::string_view text = argument.substr(name.size());
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number <= Number{0})
    throw core::InputError(fmt::format("'{}' is no positive number", text), std::string(argument));
  return true;
}

}  // namespace quantbound::bench
