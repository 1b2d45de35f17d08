#include "temporary_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

#include "quantbound/core/error.hpp"

namespace quantbound::observe::detail {

namespace {

/// Linux moves at most 0x7ffff000 bytes per call.
constexpr std::size_t largest_transfer = std::size_t{1} << 30;

const char* remedy(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return "; set TMPDIR to a directory with more room";
    case EFBIG:
      return "; raise the limit on file sizes (ulimit -f)";
    case EMFILE:
    case ENFILE:
      return "; raise the limit on open files (ulimit -n)";
    case EIO:
      return "; set TMPDIR to a directory on a sound disk";
    default:
      return "; set TMPDIR to a directory you may write to";
  }
}

core::IoError io_error(const std::string& what, int error_number, const std::string& directory) {
  return {"cannot " + what + ": " + std::generic_category().message(error_number) + remedy(error_number), directory};
}

std::string temporary_directory() {
  const char* chosen = std::getenv("TMPDIR");
  return chosen != nullptr && *chosen != '\0' ? chosen : "/tmp";
}

}  // namespace

TemporaryFile::TemporaryFile() : directory_(temporary_directory()) {
  std::string path = directory_ + "/quantbound-XXXXXX";
  do {
    descriptor_ = ::mkostemp(path.data(), O_CLOEXEC);
  } while (descriptor_ < 0 && errno == EINTR);
  if (descriptor_ < 0) throw io_error("create a temporary file", errno, directory_);
  ::unlink(path.c_str());
}

TemporaryFile::~TemporaryFile() { ::close(descriptor_); }

void TemporaryFile::write(Index offset, std::span<const double> values) {
  auto left = std::as_bytes(values);
  auto place = static_cast<off_t>(offset * static_cast<Index>(sizeof(double)));
  while (!left.empty()) {
    const ssize_t written = ::pwrite(descriptor_, left.data(), std::min(left.size(), largest_transfer), place);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw io_error("write to the temporary file", written < 0 ? errno : ENOSPC, directory_);
    left = left.subspan(static_cast<std::size_t>(written));
    place += written;
  }
}

void TemporaryFile::read(Index offset, std::span<double> values) const {
  auto left = std::as_writable_bytes(values);
  auto place = static_cast<off_t>(offset * static_cast<Index>(sizeof(double)));
  while (!left.empty()) {
    const ssize_t got = ::pread(descriptor_, left.data(), std::min(left.size(), largest_transfer), place);
    if (got < 0 && errno == EINTR) continue;
    // A network file system may have taken what it could not keep: the file then ends early.
    if (got <= 0) throw io_error("read the temporary file", got < 0 ? errno : EIO, directory_);
    left = left.subspan(static_cast<std::size_t>(got));
    place += got;
  }
}

}  // namespace quantbound::observe::detail
