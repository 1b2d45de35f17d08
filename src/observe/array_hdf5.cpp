// HDF5 datasets as arrays: rows are hyperslabs, so that chunked and compressed datasets are read like any other.
#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <hdf5.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

#include "array_file.hpp"

namespace quantbound::observe {

namespace {

using core::InputError;

/// HDF5 prints its error stack unless told otherwise; libraries do not print.
class SilentErrors {
 public:
  SilentErrors() {
    H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  SilentErrors(const SilentErrors&) = delete;
  SilentErrors& operator=(const SilentErrors&) = delete;
  ~SilentErrors() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

/// An HDF5 identifier that is closed when it goes out of scope, quietly: MPI_Finalize may have closed all before.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (id_ < 0) return;
    const SilentErrors silent;
    close_(id_);
  }
  hid_t id() const { return id_; }
  bool valid() const { return id_ >= 0; }

 private:
  hid_t id_;
  Close close_;
};

/// The paths of the datasets of a file, in the order of their names.
std::vector<std::string> datasets_of(hid_t file) {
  std::vector<std::string> names;
  const auto visit = [](hid_t, const char* name, const H5O_info_t* info, void* found) -> herr_t {
    if (info->type == H5O_TYPE_DATASET)
      static_cast<std::vector<std::string>*>(found)->push_back(fmt::format("/{}", name));
    return 0;
  };
  H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_INC, visit, &names, H5O_INFO_BASIC);
  return names;
}

std::string listing(hid_t file) {
  constexpr std::size_t most = 20;
  const std::vector<std::string> names = datasets_of(file);
  if (names.empty()) return "it holds no dataset";
  const std::size_t shown = std::min(names.size(), most);
  return fmt::format("it holds {}{}",
                     fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                     shown < names.size() ? fmt::format(" and {} more", names.size() - shown) : "");
}

ElementType integer_type(hid_t type, const std::string& location) {
  const bool is_signed = H5Tget_sign(type) == H5T_SGN_2;
  switch (H5Tget_size(type)) {
    case 1:
      return is_signed ? ElementType::i8 : ElementType::u8;
    case 2:
      return is_signed ? ElementType::i16 : ElementType::u16;
    case 4:
      return is_signed ? ElementType::i32 : ElementType::i64;
    case 8:
      if (is_signed) return ElementType::i64;
      break;
    default:
      break;
  }
  throw InputError("integers of this size are not read; save the dataset as int64 or smaller", location);
}

/// The type into which HDF5 converts what the file has, whatever its byte order, without loss.
ElementType element_type(hid_t type, const std::string& location) {
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return integer_type(type, location);
    case H5T_FLOAT:
      if (H5Tget_size(type) <= 4) return ElementType::f32;
      if (H5Tget_size(type) == 8) return ElementType::f64;
      throw InputError("floating-point numbers of more than 8 bytes are not read; save the dataset as float64",
                       location);
    default:
      throw InputError("the dataset holds neither integers nor floating-point numbers", location);
  }
}

hid_t memory_type(ElementType type) {
  switch (type) {
    case ElementType::u8:
      return H5T_NATIVE_UINT8;
    case ElementType::i8:
      return H5T_NATIVE_INT8;
    case ElementType::u16:
      return H5T_NATIVE_UINT16;
    case ElementType::i16:
      return H5T_NATIVE_INT16;
    case ElementType::i32:
      return H5T_NATIVE_INT32;
    case ElementType::i64:
      return H5T_NATIVE_INT64;
    case ElementType::f32:
      return H5T_NATIVE_FLOAT;
    case ElementType::f64:
      return H5T_NATIVE_DOUBLE;
    case ElementType::f16:
      break;  // element_type gives f32 for it
  }
  QUANTBOUND_ASSERT(false, static_cast<int>(type));
  return H5I_INVALID_HID;
}

/// A cache that holds the chunks of one row of chunks: consecutive rows then decompress every chunk once.
Handle chunk_cache(hid_t set, const Shape& shape, ElementType type) {
  constexpr double largest = 256.0 * 1024 * 1024, smallest = 1024.0 * 1024;
  constexpr std::size_t slots = 10007;  // a prime, as the manual asks
  Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  const Handle creation(H5Dget_create_plist(set), H5Pclose);
  if (H5Pget_layout(creation.id()) != H5D_CHUNKED) return access;
  std::vector<hsize_t> chunk(shape.size());
  H5Pget_chunk(creation.id(), static_cast<int>(chunk.size()), chunk.data());
  double bytes = static_cast<double>(chunk.front()) * static_cast<double>(size_of(type));
  for (std::size_t a = 1; a < shape.size(); ++a) {
    const auto extent = static_cast<hsize_t>(shape[a]);
    const hsize_t chunks = (extent + chunk[a] - 1) / chunk[a];
    bytes *= static_cast<double>(chunks * chunk[a]);
  }
  H5Pset_chunk_cache(access.id(), slots, static_cast<std::size_t>(std::clamp(bytes, smallest, largest)), 1.0);
  return access;
}

class Hdf5Array final : public ArrayFile {
 public:
  Hdf5Array(std::string location, Shape shape, ElementType type, Handle file, Handle set)
      : ArrayFile(std::move(location), std::move(shape), type), file_(std::move(file)), set_(std::move(set)) {}

  void read(Index first, Index count, std::span<std::byte> into) const override {
    QUANTBOUND_ASSERT(into.size() == static_cast<std::size_t>(count) * row_bytes(), into.size(), count);
    const SilentErrors silent;
    std::vector<hsize_t> start(shape().size(), 0), extent(shape().begin(), shape().end());
    start.front() = static_cast<hsize_t>(first);
    extent.front() = static_cast<hsize_t>(count);
    const Handle file_space(H5Dget_space(set_.id()), H5Sclose);
    const Handle memory_space(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose);
    H5Sselect_hyperslab(file_space.id(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr);
    if (H5Dread(set_.id(), memory_type(type()), memory_space.id(), file_space.id(), H5P_DEFAULT, into.data()) < 0) {
      throw core::IoError(fmt::format("cannot read rows {} to {}: the file is damaged, or HDF5 has no filter for its "
                                      "compression (h5dump -pH names it)",
                                      first, first + count - 1),
                          location());
    }
  }

 private:
  Handle file_, set_;  // the dataset is closed first
};

}  // namespace

std::shared_ptr<const ArrayFile> open_hdf5_array(const Location& location) {
  const SilentErrors silent;
  Handle file(H5Fopen(location.file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file.valid()) throw InputError("cannot open it as an HDF5 file", location.file);
  if (location.dataset.empty()) {
    throw InputError(fmt::format("an HDF5 file: name the dataset, as in file.h5:/images; {}", listing(file.id())),
                     location.file);
  }
  const Handle set(H5Dopen2(file.id(), location.dataset.c_str(), H5P_DEFAULT), H5Dclose);
  if (!set.valid()) {
    throw InputError(fmt::format("no dataset '{}' in the file; {}", location.dataset, listing(file.id())),
                     location.file);
  }
  const std::string place = location.file + ":" + location.dataset;
  const Handle space(H5Dget_space(set.id()), H5Sclose);
  const int axes = H5Sget_simple_extent_ndims(space.id());
  if (axes < 1) throw InputError("the dataset is a single value, not an array of samples", place);
  std::vector<hsize_t> extents(static_cast<std::size_t>(axes));
  H5Sget_simple_extent_dims(space.id(), extents.data(), nullptr);
  if (std::ranges::any_of(extents, [](hsize_t e) { return e > hsize_t{1} << 48; })) {
    throw InputError("the dataset is too large", place);
  }
  const Handle stored(H5Dget_type(set.id()), H5Tclose);
  const ElementType type = element_type(stored.id(), place);
  const Shape shape(extents.begin(), extents.end());
  const Handle access = chunk_cache(set.id(), shape, type);
  Handle cached(H5Dopen2(file.id(), location.dataset.c_str(), access.id()), H5Dclose);
  return std::make_shared<Hdf5Array>(place, shape, type, std::move(file), std::move(cached));
}

}  // namespace quantbound::observe
