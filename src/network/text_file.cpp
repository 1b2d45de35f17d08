#include "text_file.hpp"

#include <charconv>
#include <cmath>
#include <fstream>
#include <system_error>

#include "quantbound/core/error.hpp"

namespace quantbound::network::detail {

std::string read_file(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    throw core::InputError("there is no such file; check the path", path.string());
  }
  if (!std::filesystem::is_regular_file(path, error)) {
    throw core::InputError("this is not a file; give the path of a network file", path.string());
  }
  std::ifstream stream(path, std::ios::binary);
  std::string bytes(stream ? std::filesystem::file_size(path, error) : 0, '\0');
  stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!stream) throw core::InputError("the file cannot be read; check its permissions", path.string());
  return bytes;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::optional<double> parse_number(std::string_view text) {
  std::string_view digits = trimmed(text);
  if (digits.size() > 1 && digits.front() == '+' && digits[1] != '-') digits.remove_prefix(1);
  double value = 0.0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace quantbound::network::detail
