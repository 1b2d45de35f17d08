#include "quantbound/store/shelf_directory.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/hash.hpp"

#include "posix_file.hpp"

namespace quantbound::store {

namespace {

constexpr std::array<char, 8> magic = {'Q', 'B', 'S', 'H', 'E', 'L', 'F', '\n'};
constexpr std::array<std::string_view, 2> extensions = {".weights", ".state"};

struct Header {
  std::array<char, 8> magic = store::magic;
  std::uint64_t study = 0;
  std::uint64_t length = 0;
  std::uint64_t checksum = 0;
};
static_assert(sizeof(Header) == 32);

/// Over everything that the file says.
std::uint64_t checksum(const Header& header, std::span<const std::byte> payload) {
  const std::array<std::uint64_t, 3> words = {header.study, header.length, core::hash64(payload)};
  return core::hash64(std::as_bytes(std::span(words)));
}

void remove_file(const std::filesystem::path& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw detail::io_error("remove the file", errno, path);
}

}  // namespace

ShelfDirectory::ShelfDirectory(std::filesystem::path directory, std::string_view study_hash)
    : directory_(std::move(directory)), study_(core::hash64(study_hash)) {}

std::filesystem::path ShelfDirectory::path_of(const std::string& name) const {
  const auto is_plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; };
  const bool known = std::ranges::any_of(extensions, [&](std::string_view e) { return name.ends_with(e); });
  QUANTBOUND_ASSERT(known && std::ranges::all_of(name, is_plain), name);
  return directory_ / name;
}

std::optional<core::Bytes> ShelfDirectory::read(const std::string& name) const {
  const std::filesystem::path path = path_of(name);
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::nullopt;
  const auto file = detail::open_file(path, O_RDONLY, "open the stored weights");
  core::Bytes bytes = detail::read_at(file, 0, static_cast<std::size_t>(detail::file_size(file, path)), path);
  Header header;
  if (bytes.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  bytes.erase(bytes.begin(), bytes.begin() + sizeof header);
  const bool whole = header.magic == magic && header.study == study_ && header.length == bytes.size() &&
                     header.checksum == checksum(header, bytes);
  return whole ? std::optional(std::move(bytes)) : std::nullopt;
}

void ShelfDirectory::write(const std::string& name, std::span<const std::byte> bytes) {
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  if (error) throw detail::io_error("create the journal directory", error.value(), directory_);
  Header header{.study = study_, .length = bytes.size()};
  header.checksum = checksum(header, bytes);
  core::Bytes content(sizeof header + bytes.size());
  std::memcpy(content.data(), &header, sizeof header);
  std::ranges::copy(bytes, content.begin() + sizeof header);
  detail::replace_file(path_of(name), content);
}

void ShelfDirectory::remove(const std::string& name) { remove_file(path_of(name)); }

void ShelfDirectory::clear() {
  std::error_code error;
  std::filesystem::directory_iterator entries(directory_, error);
  if (error == std::errc::no_such_file_or_directory) return;
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    std::filesystem::path name = entries->path().filename();
    if (name.extension() == ".partial") name = name.stem();
    const std::string extension = name.extension().string();
    if (std::ranges::find(extensions, extension) != extensions.end()) remove_file(entries->path());
  }
  if (error) throw detail::io_error("read the journal directory", error.value(), directory_);
}

}  // namespace quantbound::store
