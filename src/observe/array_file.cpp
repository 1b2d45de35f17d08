// The three array formats that samples come in: .npy (NEP 1), idx (MNIST's), HDF5 datasets ("file.h5:/path").
#include <array>
#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <utility>

#include <fmt/format.h>
#include <hdf5.h>

#include "quantbound/core/error.hpp"
#include "quantbound/observe/samples.hpp"

namespace quantbound::observe {

namespace {

using core::InputError;
using Values = decltype(Array::values);

std::vector<char> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw InputError("cannot open the file; check the path", path);
  std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {});
  return bytes;
}

/// Product of extents read from a file, refused where it cannot be the size of `available` bytes.
std::size_t checked_elements(const Shape& shape, std::size_t element_size, std::size_t available,
                             const std::string& path) {
  std::size_t count = 1;
  for (const Index extent : shape) {
    if (extent < 0) throw InputError("negative extent in the header", path);
    const auto e = static_cast<std::size_t>(extent);
    if (e != 0 && count > available / e) throw InputError("the file is shorter than its header says", path);
    count *= e;
  }
  if (count > available / element_size) throw InputError("the file is shorter than its header says", path);
  return count;
}

template <class T>
std::vector<T> copy_values(std::span<const char> bytes, std::size_t count) {
  std::vector<T> values(count);
  if (count > 0) std::memcpy(values.data(), bytes.data(), count * sizeof(T));
  return values;
}

std::string header_field(const std::string& header, const std::string& key, const std::string& path) {
  const auto at = header.find("'" + key + "'");
  const auto colon = at == std::string::npos ? at : header.find(':', at);
  if (colon == std::string::npos) throw InputError(fmt::format("no '{}' in the .npy header", key), path);
  const auto start = header.find_first_not_of(' ', colon + 1);
  return start == std::string::npos ? std::string() : header.substr(start);
}

Shape parse_shape(const std::string& field, const std::string& path) {
  Shape shape;
  const auto close = field.find(')');
  if (field.empty() || field.front() != '(' || close == std::string::npos)
    throw InputError("bad shape in the .npy header", path);
  Index current = -1;
  for (const char c : field.substr(1, close)) {
    if (c >= '0' && c <= '9') {
      if (current > (Index{1} << 48)) throw InputError("bad shape in the .npy header", path);
      current = (current < 0 ? 0 : current * 10) + (c - '0');
    } else if (current >= 0) {
      shape.push_back(current);
      current = -1;
    }
  }
  return shape;
}

Array read_npy(const std::string& path) {
  const std::vector<char> bytes = read_file(path);
  if (bytes.size() < 12 || std::memcmp(bytes.data(), "\x93NUMPY", 6) != 0) throw InputError("not a .npy file", path);
  const bool version_1 = bytes[6] == 1;
  const std::size_t length_size = version_1 ? 2 : 4;
  std::size_t header_length = 0;
  for (std::size_t i = 0; i < length_size; ++i) {
    header_length |= static_cast<std::size_t>(static_cast<unsigned char>(bytes[8 + i])) << (8 * i);
  }
  const std::size_t data_start = 8 + length_size + header_length;
  if (data_start > bytes.size()) throw InputError("the .npy header is cut off", path);
  const std::string header(bytes.data() + 8 + length_size, header_length);
  if (header_field(header, "fortran_order", path).starts_with("True")) {
    throw InputError("a Fortran-ordered .npy array; save it with numpy.ascontiguousarray", path);
  }
  Array array{.shape = parse_shape(header_field(header, "shape", path), path), .values = {}};
  const std::span<const char> data(bytes.data() + data_start, bytes.size() - data_start);
  const std::string type = header_field(header, "descr", path).substr(0, 5);
  const auto load = [&]<class T>(T) -> Values {
    return copy_values<T>(data, checked_elements(array.shape, sizeof(T), data.size(), path));
  };
  if (type == "'|u1'" || type == "'<u1'")
    array.values = load(std::uint8_t{});
  else if (type == "'<u2'")
    array.values = load(std::uint16_t{});
  else if (type == "'<i4'")
    array.values = load(std::int32_t{});
  else if (type == "'<i8'")
    array.values = load(std::int64_t{});
  else if (type == "'<f4'")
    array.values = load(float{});
  else if (type == "'<f8'")
    array.values = load(double{});
  else
    throw InputError(
        fmt::format("element type {} is not read; save as uint8, uint16, int32, int64, float32 or float64", type),
        path);
  return array;
}

Array read_idx(const std::string& path) {
  const std::vector<char> bytes = read_file(path);
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (bytes.size() < 4 || byte(0) != 0 || byte(1) != 0 || byte(2) != 0x08) {
    throw InputError("neither .npy, .h5:/dataset, nor an idx file of unsigned bytes", path);
  }
  const std::size_t axes = byte(3);
  if (bytes.size() < 4 + 4 * axes) throw InputError("the idx header is cut off", path);
  Array array;
  for (std::size_t a = 0; a < axes; ++a) {
    Index extent = 0;
    for (std::size_t i = 0; i < 4; ++i) extent = extent << 8 | byte(4 + 4 * a + i);
    array.shape.push_back(extent);
  }
  const std::span<const char> data(bytes.data() + 4 + 4 * axes, bytes.size() - 4 - 4 * axes);
  array.values = copy_values<std::uint8_t>(data, checked_elements(array.shape, 1, data.size(), path));
  return array;
}

/// An HDF5 identifier that is closed when it goes out of scope.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  hid_t id() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

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

Array read_hdf5(const std::string& location, std::size_t separator) {
  const SilentErrors silent;
  const std::string path = location.substr(0, separator), dataset = location.substr(separator + 1);
  const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (file.id() < 0) throw InputError("cannot open it as an HDF5 file", path);
  const Handle set(H5Dopen2(file.id(), dataset.c_str(), H5P_DEFAULT), H5Dclose);
  if (set.id() < 0) throw InputError(fmt::format("no dataset '{}' in the file", dataset), path);
  const Handle space(H5Dget_space(set.id()), H5Sclose);
  std::vector<hsize_t> extents(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space.id())));
  H5Sget_simple_extent_dims(space.id(), extents.data(), nullptr);
  Array array{.shape = Shape(extents.begin(), extents.end()), .values = {}};
  const auto count = static_cast<std::size_t>(tensor::elements(array.shape));
  const Handle type(H5Dget_type(set.id()), H5Tclose);
  const auto load = [&]<class T>(T, hid_t memory) {
    std::vector<T> values(count);
    if (H5Dread(set.id(), memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0)
      throw InputError("cannot read the dataset", location);
    array.values = std::move(values);
  };
  if (H5Tequal(type.id(), H5T_STD_U8LE) > 0)
    load(std::uint8_t{}, H5T_NATIVE_UINT8);
  else if (H5Tget_class(type.id()) == H5T_INTEGER)
    load(std::int64_t{}, H5T_NATIVE_INT64);
  else if (H5Tget_class(type.id()) == H5T_FLOAT && H5Tget_size(type.id()) <= 4)
    load(float{}, H5T_NATIVE_FLOAT);
  else if (H5Tget_class(type.id()) == H5T_FLOAT)
    load(double{}, H5T_NATIVE_DOUBLE);
  else
    throw InputError("the dataset holds neither integers nor floating-point numbers", location);
  return array;
}

}  // namespace

Array read_array(const std::string& location) {
  const auto separator = location.rfind(":/");
  if (separator != std::string::npos && separator > 1) return read_hdf5(location, separator);
  if (!std::filesystem::exists(location)) throw InputError("no such file; check the path", location);
  if (location.ends_with(".npy")) return read_npy(location);
  return read_idx(location);
}

}  // namespace quantbound::observe
