#include "quantbound/store/whole_file.hpp"

#include <fcntl.h>

#include "posix_file.hpp"

namespace quantbound::store {

void write_whole_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  detail::replace_file(path, bytes);
}

core::Bytes read_whole_file(const std::filesystem::path& path) {
  const auto file = detail::open_file(path, O_RDONLY, "open the file");
  return detail::read_at(file, 0, static_cast<std::size_t>(detail::file_size(file, path)), path);
}

}  // namespace quantbound::store
