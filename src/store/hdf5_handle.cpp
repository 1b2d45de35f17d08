#include "hdf5_handle.hpp"

namespace quantbound::store::detail {

namespace {

/// Keeps the description of the innermost error: the walk begins there.
herr_t keep_innermost(unsigned position, const H5E_error2_t* error, void* text) {
  if (position == 0 && error->desc != nullptr) *static_cast<std::string*>(text) = error->desc;
  return 0;
}

}  // namespace

QuietErrors::QuietErrors() {
  H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

QuietErrors::~QuietErrors() {
  // After a failure HDF5 may hold objects that it cannot close, and would say so when the program ends.
  if (std::uncaught_exceptions() == exceptions_) H5Eset_auto2(H5E_DEFAULT, function_, data_);
}

void throw_hdf5_error(const std::string& what) {
  std::string cause;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &cause);
  H5Eclear2(H5E_DEFAULT);
  throw Hdf5Error{"cannot " + what + (cause.empty() ? "" : ": " + cause)};
}

Type fixed_text(std::size_t size) {
  Type type(H5Tcopy(H5T_C_S1), "make a text type");
  verify(H5Tset_size(type, size), "make a text type");
  verify(H5Tset_cset(type, H5T_CSET_UTF8), "make a text type");
  verify(H5Tset_strpad(type, H5T_STR_NULLPAD), "make a text type");
  return type;
}

Type variable_text() {
  Type type(H5Tcopy(H5T_C_S1), "make a text type");
  verify(H5Tset_size(type, H5T_VARIABLE), "make a text type");
  verify(H5Tset_cset(type, H5T_CSET_UTF8), "make a text type");
  return type;
}

}  // namespace quantbound::store::detail
