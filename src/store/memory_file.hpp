/// An HDF5 file that lives in memory and is given out as bytes when it is closed. Writing it to a disk is our own
/// business then (posix_file.hpp): HDF5 cannot meet a full disk, which would leave its caches broken for the process.
/// Not H5Fget_file_image: before HDF5 2.0 that clears a flag in the superblock without renewing its checksum
/// (github.com/HDFGroup/hdf5/issues/1915), and such an image cannot be opened.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "hdf5_handle.hpp"

namespace quantbound::store::detail {

class MemoryFile {
 public:
  explicit MemoryFile(const Properties& creation);
  /// The file, to make groups and datasets in.
  const File& file() const { return file_; }
  /// Closes the file and gives its bytes. @pre every handle of something in the file is closed
  std::vector<std::byte> close();

 private:
  std::unique_ptr<std::vector<std::byte>> bytes_;  ///< where HDF5 writes: outlives the file
  File file_;
};

}  // namespace quantbound::store::detail
