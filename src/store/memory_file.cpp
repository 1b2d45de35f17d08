#include "memory_file.hpp"

#include <cstdint>
#include <cstring>
#include <exception>

#include "quantbound/core/assert.hpp"

namespace quantbound::store::detail {

namespace {

using Bytes = std::vector<std::byte>;

/// The file grows in the vector. Exceptions must not pass through C.
void* resize(void*, std::size_t size, H5FD_file_image_op_t, void* bytes) {
  try {
    static_cast<Bytes*>(bytes)->resize(size);
    return static_cast<Bytes*>(bytes)->data();
  } catch (const std::exception&) {
    return nullptr;
  }
}

void* allocate(std::size_t size, H5FD_file_image_op_t operation, void* bytes) {
  return resize(nullptr, size, operation, bytes);
}

void* copy(void* to, const void* from, std::size_t size, H5FD_file_image_op_t, void*) {
  return std::memcpy(to, from, size);
}

/// Closing the file leaves the bytes where they are.
herr_t keep(void*, H5FD_file_image_op_t, void*) { return 0; }

void* share(void* bytes) { return bytes; }
herr_t leave(void*) { return 0; }

/// Where the superblock of version 2 says that the file ends: what the memory driver holds is rounded up.
std::size_t end_of_file(const Bytes& bytes) {
  constexpr std::size_t version_offset = 8, end_offset = 28;
  QUANTBOUND_ASSERT(bytes.size() > end_offset + sizeof(std::uint64_t), bytes.size());
  QUANTBOUND_ASSERT(bytes[version_offset] == std::byte{2}, static_cast<int>(bytes[version_offset]));
  std::uint64_t end = 0;
  std::memcpy(&end, bytes.data() + end_offset, sizeof end);
  QUANTBOUND_ASSERT(end <= bytes.size(), end, bytes.size());
  return static_cast<std::size_t>(end);
}

}  // namespace

MemoryFile::MemoryFile(const Properties& creation) : bytes_(std::make_unique<Bytes>()) {
  const Properties access(H5Pcreate(H5P_FILE_ACCESS), "make file properties");
  verify(H5Pset_fapl_core(access, std::size_t{4} << 20, false), "choose the memory driver");
  H5FD_file_image_callbacks_t callbacks{allocate, copy, resize, keep, share, leave, bytes_.get()};
  verify(H5Pset_file_image_callbacks(access, &callbacks), "choose where the file grows");
  verify(H5Pset_fclose_degree(access, H5F_CLOSE_SEMI), "set how the file closes");
  // Objects of 1.8: readers of the last fifteen years understand them, and they need no repair after a crash.
  verify(H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V110), "set the format version");
  file_ = File(H5Fcreate("result in memory", H5F_ACC_TRUNC, creation, access), "create the file in memory");
}

std::vector<std::byte> MemoryFile::close() {
  verify(H5Fclose(file_.release()), "close the file in memory");
  bytes_->resize(end_of_file(*bytes_));
  return std::move(*bytes_);
}

}  // namespace quantbound::store::detail
