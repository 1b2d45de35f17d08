/// The C interface of HDF5 behind values: handles that close themselves, calls that throw, and the error stack as text
/// instead of on stderr. Nothing here knows what is stored.
#pragma once

#include <exception>
#include <string>
#include <utility>

#include <hdf5.h>

namespace quantbound::store::detail {

/// While one of these lives, and after an exception has left its scope, HDF5 prints nothing by itself; throw_hdf5_error
/// reads its error stack instead.
class QuietErrors {
 public:
  QuietErrors();
  ~QuietErrors();
  QuietErrors(const QuietErrors&) = delete;
  QuietErrors& operator=(const QuietErrors&) = delete;

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
  int exceptions_ = std::uncaught_exceptions();
};

/// HDF5 refused: `what()` says what was tried and the innermost cause HDF5 gives.
struct Hdf5Error {
  std::string message;
};

[[noreturn]] void throw_hdf5_error(const std::string& what);

/// The result of a call that is negative on failure.
template <class Result>
Result verify(Result result, const std::string& what) {
  if (result < 0) throw_hdf5_error(what);
  return result;
}

template <herr_t (*close)(hid_t)>
class Handle {
 public:
  Handle() = default;
  Handle(hid_t id, const std::string& what) : id_(verify(id, what)) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, hid_t{-1})) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) close(id_);
  }
  /// Gives the identifier away, to be closed where the result of closing matters.
  hid_t release() { return std::exchange(id_, hid_t{-1}); }
  // Handles stand wherever the C interface wants a hid_t.
  operator hid_t() const { return id_; }  // NOLINT(google-explicit-constructor)

 private:
  hid_t id_ = -1;
};

using File = Handle<H5Fclose>;
using GroupHandle = Handle<H5Gclose>;
using DatasetHandle = Handle<H5Dclose>;
using ObjectHandle = Handle<H5Oclose>;
using Space = Handle<H5Sclose>;
using Type = Handle<H5Tclose>;
using AttributeHandle = Handle<H5Aclose>;
using Properties = Handle<H5Pclose>;

/// Text of `size` bytes, UTF-8, padded with NUL.
Type fixed_text(std::size_t size);
/// Text of any length, UTF-8: what xarray reads as str.
Type variable_text();

}  // namespace quantbound::store::detail
