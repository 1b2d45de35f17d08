/// Writing and reading plain values as bytes: what journals store and ranks exchange. Little-endian machines only (as
/// the reference systems are); a reader that runs past the end throws instead of inventing values.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "quantbound/core/error.hpp"

namespace quantbound::core {

static_assert(std::endian::native == std::endian::little);

using Bytes = std::vector<std::byte>;

class ByteWriter {
 public:
  template <class T>
  requires std::is_trivially_copyable_v<T> ByteWriter& value(const T& v) {
    return append(std::as_bytes(std::span(&v, 1)));
  }
  template <class T>
  requires std::is_trivially_copyable_v<T> ByteWriter& values(const std::vector<T>& v) {
    value(static_cast<std::uint64_t>(v.size()));
    return append(std::as_bytes(std::span(v)));
  }
  ByteWriter& text(const std::string& s) {
    value(static_cast<std::uint64_t>(s.size()));
    return append(std::as_bytes(std::span(s)));
  }
  Bytes take() { return std::move(bytes_); }

 private:
  ByteWriter& append(std::span<const std::byte> more) {
    bytes_.insert(bytes_.end(), more.begin(), more.end());
    return *this;
  }
  Bytes bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : rest_(bytes) {}
  template <class T>
  requires std::is_trivially_copyable_v<T> T value() {
    T v;
    std::memcpy(&v, take(sizeof(T)).data(), sizeof(T));
    return v;
  }
  template <class T>
  requires std::is_trivially_copyable_v<T> std::vector<T> values() {
    const auto count = value<std::uint64_t>();
    if (count > rest_.size() / sizeof(T)) truncated();
    std::vector<T> v(count);
    if (count > 0) std::memcpy(v.data(), take(count * sizeof(T)).data(), count * sizeof(T));
    return v;
  }
  std::string text() {
    const auto raw = values<char>();
    return {raw.begin(), raw.end()};
  }
  bool at_end() const { return rest_.empty(); }

 private:
  [[noreturn]] static void truncated() { throw Error("a stored record is shorter than it says", ""); }
  std::span<const std::byte> take(std::size_t count) {
    if (count > rest_.size()) truncated();
    const auto taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }
  std::span<const std::byte> rest_;
};

}  // namespace quantbound::core
