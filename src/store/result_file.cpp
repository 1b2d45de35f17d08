#include "quantbound/store/result_file.hpp"

#include <optional>
#include <string>
#include <vector>

#include <fcntl.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

#include "hdf5_handle.hpp"
#include "posix_file.hpp"
#include "result_image.hpp"
#include "result_reading.hpp"

namespace quantbound::store {

namespace {

/// What the system says about a file is clearer than what HDF5 makes of it.
void check_readable(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) throw core::InputError("there is no such file", path.string());
  if (!std::filesystem::is_regular_file(status)) throw core::InputError("this is not a file", path.string());
  try {
    detail::open_file(path, O_RDONLY, "read the file");
  } catch (const core::IoError& refused) {
    throw core::InputError(refused.what(), "");
  }
}

template <class Read>
auto read_with(Read read, const std::filesystem::path& path) {
  check_readable(path);
  const detail::QuietErrors quiet;
  try {
    return read(path);
  } catch (const detail::Hdf5Error& error) {
    throw core::InputError("this is not a complete result file of quantbound: " + error.message, path.string());
  }
}

}  // namespace

void write_result(const std::filesystem::path& path, const sweep::Dataset& dataset) {
  const std::optional<std::string> problem = sweep::inconsistency(dataset);
  QUANTBOUND_ASSERT(!problem.has_value(), problem.value_or(""));
  const detail::QuietErrors quiet;
  std::vector<std::byte> image;
  try {
    image = detail::result_image(dataset);
  } catch (const detail::Hdf5Error& error) {
    throw core::IoError("HDF5 " + error.message, path.string());
  }
  detail::replace_file(path, image);
}

sweep::Dataset read_result(const std::filesystem::path& path) { return read_with(detail::read_dataset, path); }

sweep::Attributes read_result_attributes(const std::filesystem::path& path) {
  return read_with(detail::read_root_attributes, path);
}

}  // namespace quantbound::store
