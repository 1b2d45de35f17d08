#include "atomic_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "quantbound/core/error.hpp"

namespace quantbound::network::detail {

namespace {

const char* remedy(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return "; free space or choose another place";
    case EFBIG:
      return "; raise the limit on file sizes (ulimit -f)";
    case ENOENT:
      return "; create the directory first";
    case EACCES:
    case EPERM:
    case EROFS:
      return "; choose a place you may write to";
    default:
      return "";
  }
}

[[noreturn]] void fail(const std::string& what, int error_number, const std::filesystem::path& path) {
  throw core::IoError("cannot " + what + ": " + std::generic_category().message(error_number) + remedy(error_number),
                      path.string());
}

/// A file that is removed again unless it was renamed.
class Partial {
 public:
  explicit Partial(std::filesystem::path target)
      : target_(std::move(target)), path_(target_.string() + ".partial"), number_(open(path_)) {
    if (number_ < 0) fail("create the file", errno, target_);
  }
  Partial(const Partial&) = delete;
  Partial& operator=(const Partial&) = delete;
  ~Partial() {
    if (number_ >= 0) ::close(number_);
    if (!renamed_) ::unlink(path_.c_str());
  }

  void write(std::string_view bytes) {
    constexpr std::size_t largest = std::size_t{1} << 30;  // Linux takes at most 0x7ffff000 bytes per call
    while (!bytes.empty()) {
      const ssize_t written = ::write(number_, bytes.data(), std::min(bytes.size(), largest));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("write", errno, target_);
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  void rename() {
    if (::fsync(number_) != 0) fail("bring the file to the disk", errno, target_);
    // Network file systems tell only at the end that the disk is full.
    if (::close(std::exchange(number_, -1)) != 0 && errno != EINTR) fail("close the file", errno, target_);
    if (std::rename(path_.c_str(), target_.c_str()) != 0) fail("rename the finished file", errno, target_);
    renamed_ = true;
  }

 private:
  static int open(const std::filesystem::path& path) {
    return ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  }

  std::filesystem::path target_, path_;
  int number_;
  bool renamed_ = false;
};

/// Where the bytes must go: the target of a symbolic link, and never a device or a directory.
std::filesystem::path resolved(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    throw core::IoError("cannot write: this is not a regular file; choose another name", path.string());
  }
  if (!std::filesystem::is_symlink(std::filesystem::symlink_status(path, error))) return path;
  auto target = std::filesystem::weakly_canonical(path, error);
  if (error) fail("follow the symbolic link", error.value(), path);
  return target;
}

}  // namespace

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  Partial file(resolved(path));
  file.write(bytes);
  file.rename();
}

}  // namespace quantbound::network::detail
