#include "quantbound/store/result_file.hpp"

#include <vector>

#include "quantbound/core/error.hpp"

#include "hdf5_handle.hpp"
#include "posix_file.hpp"
#include "result_image.hpp"

namespace quantbound::store {

void write_result(const std::filesystem::path& path, const sweep::Dataset& dataset) {
  sweep::check(dataset);
  const detail::QuietErrors quiet;
  std::vector<std::byte> image;
  try {
    image = detail::result_image(dataset);
  } catch (const detail::Hdf5Error& error) {
    throw core::IoError("HDF5 " + error.message, path.string());
  }
  detail::replace_file(path, image);
}

}  // namespace quantbound::store
