/// Files through the system's own calls, with errors as core::IoError that say what to do: short writes are completed,
/// interrupted ones repeated, and nothing counts as written before fsync says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "quantbound/core/error.hpp"

namespace quantbound::store::detail {

/// An open file of the system; closes without a word.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();

  int number() const { return number_; }
  bool is_open() const { return number_ >= 0; }
  /// Closes and reports: network file systems tell only now that the disk is full.
  void close(const std::filesystem::path& path);

 private:
  int number_ = -1;
};

/// "cannot WHAT: REASON" with the remedy for what users can mend.
core::IoError io_error(const std::string& what, int error_number, const std::filesystem::path& path);

/// open(2) with O_CLOEXEC. Throws core::IoError "cannot WHAT".
Descriptor open_file(const std::filesystem::path& path, int flags, const std::string& what);
std::uint64_t file_size(const Descriptor& file, const std::filesystem::path& path);
/// Writes the pieces one after the other from `offset` on, in one system call unless the system takes less.
void write_at(const Descriptor& file, std::uint64_t offset, std::initializer_list<std::span<const std::byte>> pieces,
              const std::filesystem::path& path);
/// As many bytes from `offset` on as there are, at most `count`.
std::vector<std::byte> read_at(const Descriptor& file, std::uint64_t offset, std::size_t count,
                               const std::filesystem::path& path);
void sync_file(const Descriptor& file, const std::filesystem::path& path);
/// Makes the names in a directory durable.
void sync_directory(const std::filesystem::path& directory);

/// `path` holds `bytes`, or what it held before: written as PATH.partial, synced, renamed. A symbolic link stays one.
void replace_file(const std::filesystem::path& path, std::span<const std::byte> bytes);

}  // namespace quantbound::store::detail
