/// An array in a file, opened and checked, whose rows (along the first axis) are read when they are asked for: .npy
/// (NEP 1, versions 1 to 3), idx (MNIST's), or an HDF5 dataset "file.h5:/path". Opening costs a header, whatever the
/// size of the file. Used by the sources of this folder only.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "quantbound/observe/samples.hpp"

namespace quantbound::observe {

enum class ElementType { u8, i8, u16, i16, i32, i64, f16, f32, f64 };

/// A number of IEEE binary16, as stored.
struct Half {
  std::uint16_t bits;

  explicit operator double() const {
    const std::uint32_t magnitude = (bits & 0x7fffU) << 13;
    const bool finite = (bits & 0x7c00U) != 0x7c00U;
    // The exponent of a float starts 112 lower; the product is exact, for subnormals too.
    const float value =
        finite ? std::bit_cast<float>(magnitude) * 0x1p112F : std::bit_cast<float>(magnitude | 0x7f800000U);
    return static_cast<double>((bits & 0x8000U) != 0 ? -value : value);
  }
};

/// Calls `use` with a value of the type that the elements have in memory.
template <class Use>
decltype(auto) with_type(ElementType type, const Use& use) {
  switch (type) {
    case ElementType::u8:
      return use(std::uint8_t{});
    case ElementType::i8:
      return use(std::int8_t{});
    case ElementType::u16:
      return use(std::uint16_t{});
    case ElementType::i16:
      return use(std::int16_t{});
    case ElementType::i32:
      return use(std::int32_t{});
    case ElementType::i64:
      return use(std::int64_t{});
    case ElementType::f16:
      return use(Half{});
    case ElementType::f32:
      return use(float{});
    case ElementType::f64:
      break;
  }
  return use(double{});
}

inline std::size_t size_of(ElementType type) {
  return with_type(type, [](auto value) { return sizeof(value); });
}
inline bool is_floating_point(ElementType type) { return type >= ElementType::f16; }

class ArrayFile {
 public:
  virtual ~ArrayFile() = default;
  ArrayFile(const ArrayFile&) = delete;
  ArrayFile& operator=(const ArrayFile&) = delete;

  const std::string& location() const { return location_; }
  /// At least one axis; every extent is positive, and the number of bytes is no more than an Index can hold.
  const Shape& shape() const { return shape_; }
  ElementType type() const { return type_; }
  Index rows() const { return shape_.front(); }
  Index row_elements() const { return row_elements_; }
  std::size_t row_bytes() const { return static_cast<std::size_t>(row_elements_) * size_of(type_); }

  /// Rows first .. first + count as they are in this machine's memory, row-major. Throws core::IoError.
  virtual void read(Index first, Index count, std::span<std::byte> into) const = 0;

 protected:
  /// Throws core::InputError where the shape holds nothing or too much.
  ArrayFile(std::string location, Shape shape, ElementType type);

 private:
  std::string location_;
  Shape shape_;
  ElementType type_;
  Index row_elements_ = 1;
};

/// Throws core::InputError for what is no such array, with the remedy.
std::shared_ptr<const ArrayFile> open_array(const std::string& location);

/// The HDF5 part of open_array (array_hdf5.cpp).
std::shared_ptr<const ArrayFile> open_hdf5_array(const Location& location);

}  // namespace quantbound::observe
