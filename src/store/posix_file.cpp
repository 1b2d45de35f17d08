#include "posix_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "quantbound/core/assert.hpp"

namespace quantbound::store::detail {

namespace {

/// Linux writes at most 0x7ffff000 bytes per call.
constexpr std::size_t largest_write = std::size_t{1} << 30;

/// What the user can do about it, as the end of a sentence.
const char* remedy(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return "; free space and run again with --resume";
    case EFBIG:
      return "; raise the limit on file sizes (ulimit -f) and run again with --resume";
    case EACCES:
    case EPERM:
    case EROFS:
      return "; choose a place you may write to";
    case EMFILE:
      return "; raise the limit on open files (ulimit -n)";
    default:
      return "";
  }
}

/// Removes a file unless told that it has served.
class Cleanup {
 public:
  explicit Cleanup(std::filesystem::path path) : path_(std::move(path)) {}
  Cleanup(const Cleanup&) = delete;
  Cleanup& operator=(const Cleanup&) = delete;
  ~Cleanup() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  void release() { path_.clear(); }

 private:
  std::filesystem::path path_;
};

/// Where the bytes must go: the target of a symbolic link, and never a device or a directory.
std::filesystem::path resolve_target(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    throw core::IoError("cannot write the file: this is not a regular one", path.string());
  }
  if (!std::filesystem::is_symlink(std::filesystem::symlink_status(path, error))) return path;
  auto target = std::filesystem::weakly_canonical(path, error);
  if (error) throw io_error("follow the symbolic link", error.value(), path);
  return target;
}

}  // namespace

Descriptor::Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(number_, other.number_);
  return *this;
}

Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

void Descriptor::close(const std::filesystem::path& path) {
  QUANTBOUND_ASSERT(is_open(), path);
  // After EINTR Linux has closed the file all the same.
  if (::close(std::exchange(number_, -1)) != 0 && errno != EINTR) throw io_error("close the file", errno, path);
}

core::IoError io_error(const std::string& what, int error_number, const std::filesystem::path& path) {
  return {"cannot " + what + ": " + std::generic_category().message(error_number) + remedy(error_number),
          path.string()};
}

Descriptor open_file(const std::filesystem::path& path, int flags, const std::string& what) {
  int number = -1;
  do {
    number = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  } while (number < 0 && errno == EINTR);
  if (number < 0) throw io_error(what, errno, path);
  return Descriptor(number);
}

std::uint64_t file_size(const Descriptor& file, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(file.number(), &status) != 0) throw io_error("ask for the size of the file", errno, path);
  return static_cast<std::uint64_t>(status.st_size);
}

void write_at(const Descriptor& file, std::uint64_t offset, std::initializer_list<std::span<const std::byte>> pieces,
              const std::filesystem::path& path) {
  std::vector<std::span<const std::byte>> left(pieces);
  while (true) {
    std::erase_if(left, [](const auto& piece) { return piece.empty(); });
    if (left.empty()) return;
    std::vector<iovec> vectors;
    for (const auto& piece : left) {
      vectors.push_back({const_cast<std::byte*>(piece.data()), std::min(piece.size(), largest_write)});
      if (piece.size() > largest_write) break;
    }
    const ssize_t written =
        ::pwritev(file.number(), vectors.data(), static_cast<int>(vectors.size()), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw io_error("write", errno, path);
    if (written == 0) throw io_error("write", ENOSPC, path);
    offset += static_cast<std::uint64_t>(written);
    auto consumed = static_cast<std::size_t>(written);
    for (auto& piece : left) {
      const std::size_t part = std::min(consumed, piece.size());
      piece = piece.subspan(part);
      consumed -= part;
    }
  }
}

std::vector<std::byte> read_at(const Descriptor& file, std::uint64_t offset, std::size_t count,
                               const std::filesystem::path& path) {
  std::vector<std::byte> bytes(count);
  std::size_t filled = 0;
  while (filled < count) {
    const ssize_t got = ::pread(file.number(), bytes.data() + filled, std::min(count - filled, largest_write),
                                static_cast<off_t>(offset + filled));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw io_error("read", errno, path);
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  bytes.resize(filled);
  return bytes;
}

void sync_file(const Descriptor& file, const std::filesystem::path& path) {
  int result = 0;
  do {
    result = ::fsync(file.number());
  } while (result != 0 && errno == EINTR);
  if (result != 0) throw io_error("bring the file to the disk", errno, path);
}

void sync_directory(const std::filesystem::path& directory) {
  const std::filesystem::path place = directory.empty() ? "." : directory;
  const Descriptor handle = open_file(place, O_RDONLY | O_DIRECTORY, "open the directory");
  // Some file systems know no fsync of directories: there is nothing more to ask of them.
  if (::fsync(handle.number()) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EINTR) {
    throw io_error("bring the directory to the disk", errno, place);
  }
}

void replace_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  const std::filesystem::path target = resolve_target(path);
  const std::filesystem::path partial = target.string() + ".partial";
  Descriptor file = open_file(partial, O_WRONLY | O_CREAT | O_TRUNC, "create the file");
  Cleanup cleanup(partial);
  write_at(file, 0, {bytes}, partial);
  sync_file(file, partial);
  file.close(partial);
  if (std::rename(partial.c_str(), target.c_str()) != 0) throw io_error("rename the finished file", errno, target);
  cleanup.release();
  sync_directory(target.parent_path());
}

}  // namespace quantbound::store::detail
