// Flat files: .npy (NEP 1) and idx (MNIST's). Both are a header and then the numbers, so rows are read where they lie.
#include "array_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

namespace quantbound::observe {

namespace {

using core::InputError;
using namespace std::string_view_literals;

/// A file open for reading at any place, by any number of threads.
class File {
 public:
  explicit File(std::string path) : path_(std::move(path)), descriptor_(open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) {
      throw InputError(errno == ENOENT ? "no such file; check the path"
                                       : fmt::format("cannot open the file: {}", std::strerror(errno)),
                       path_);
    }
    struct stat status {};
    if (fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
      close(descriptor_);
      throw InputError("not a file; check the path", path_);
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
  }
  File(File&& other) noexcept
      : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }

  void read(std::uint64_t offset, std::span<std::byte> into) const {
    while (!into.empty()) {
      const ssize_t got = pread(descriptor_, into.data(), into.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw core::IoError(fmt::format("cannot read the file: {}", std::strerror(errno)), path_);
      if (got == 0) throw core::IoError("the file has become shorter since it was opened", path_);
      into = into.subspan(static_cast<std::size_t>(got));
      offset += static_cast<std::uint64_t>(got);
    }
  }
  /// At most `count` bytes: fewer where the file ends.
  std::string text(std::uint64_t offset, std::uint64_t count) const {
    std::string bytes(std::min(count, size_ - std::min(offset, size_)), '\0');
    read(offset, std::as_writable_bytes(std::span(bytes)));
    return bytes;
  }

 private:
  std::string path_;
  int descriptor_;
  std::uint64_t size_ = 0;
};

template <class Word>
Word swapped(Word word) {
  if constexpr (sizeof(Word) == 2) return __builtin_bswap16(word);
  if constexpr (sizeof(Word) == 4) return __builtin_bswap32(word);
  if constexpr (sizeof(Word) == 8) return __builtin_bswap64(word);
}

template <class Word>
void swap_words(std::span<std::byte> bytes) {
  for (std::size_t i = 0; i < bytes.size(); i += sizeof(Word)) {
    Word word;
    std::memcpy(&word, &bytes[i], sizeof(Word));
    word = swapped(word);
    std::memcpy(&bytes[i], &word, sizeof(Word));
  }
}

void swap_bytes(std::span<std::byte> bytes, std::size_t element_size) {
  if (element_size == 2) swap_words<std::uint16_t>(bytes);
  if (element_size == 4) swap_words<std::uint32_t>(bytes);
  if (element_size == 8) swap_words<std::uint64_t>(bytes);
}

/// What a header says of the numbers that follow it.
struct Header {
  Shape shape;
  ElementType type = ElementType::u8;
  std::endian order = std::endian::native;
  std::uint64_t size = 0;  ///< of the header
};

class FlatArray final : public ArrayFile {
 public:
  FlatArray(File file, Header header)
      : ArrayFile(file.path(), header.shape, header.type), file_(std::move(file)), header_(std::move(header)) {
    const std::uint64_t held = file_.size() - header_.size;
    const std::uint64_t said = static_cast<std::uint64_t>(rows()) * row_bytes();
    if (held < said) {
      throw InputError(fmt::format("the file is shorter than its header says: {} bytes for an array {}, which takes {}",
                                   held, tensor::to_string(shape()), said),
                       location());
    }
    if (held > said) {
      throw InputError(fmt::format("{} bytes follow the array {} of the header; save one array per file", held - said,
                                   tensor::to_string(shape())),
                       location());
    }
  }

  void read(Index first, Index count, std::span<std::byte> into) const override {
    QUANTBOUND_ASSERT(into.size() == static_cast<std::size_t>(count) * row_bytes(), into.size(), count);
    file_.read(header_.size + static_cast<std::uint64_t>(first) * row_bytes(), into);
    if (header_.order != std::endian::native) swap_bytes(into, size_of(type()));
  }

 private:
  File file_;
  Header header_;
};

// ----------------------------------------------------------------------------------------------------------- .npy

/// Reads the Python literal of a .npy header: a dict of strings, booleans and tuples of integers.
class Literal {
 public:
  Literal(std::string_view text, std::string path) : rest_(text), path_(std::move(path)) {}

  [[noreturn]] void fail(std::string_view what) const {
    throw InputError(fmt::format("{} in the .npy header", what), path_);
  }
  char next() {
    const auto start = rest_.find_first_not_of(" \t\n\r");
    rest_.remove_prefix(start == std::string_view::npos ? rest_.size() : start);
    return rest_.empty() ? '\0' : rest_.front();
  }
  bool accept(char c) {
    if (next() != c || rest_.empty()) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(fmt::format("no '{}' where one belongs", c));
  }
  bool accept_word(std::string_view word) {
    next();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  std::string quoted() {
    const char quote = next();
    if (quote != '\'' && quote != '"') fail("no quoted name");
    const auto end = rest_.find(quote, 1);
    if (end == std::string_view::npos) fail("a quotation without end");
    std::string word(rest_.substr(1, end - 1));
    if (word.size() > 40 || !std::ranges::all_of(word, [](char c) { return c >= ' ' && c <= '~'; }))
      fail("an odd name");
    rest_.remove_prefix(end + 1);
    return word;
  }
  bool boolean() {
    if (accept_word("True")) return true;
    if (accept_word("False")) return false;
    fail("neither True nor False");
  }
  Index integer() {
    constexpr Index largest = Index{1} << 48;
    Index value = 0;
    if (next() < '0' || next() > '9') fail("a bad shape");
    for (; !rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9'; rest_.remove_prefix(1)) {
      value = value * 10 + (rest_.front() - '0');
      if (value > largest) fail("an extent beyond 2^48");
    }
    accept('L');  // Python 2 wrote long integers so
    return value;
  }
  Shape tuple() {
    Shape shape;
    expect('(');
    while (!accept(')')) {
      shape.push_back(integer());
      if (accept(',')) continue;
      expect(')');
      break;
    }
    return shape;
  }
  bool at_end() { return next() == '\0' && rest_.empty(); }

 private:
  std::string_view rest_;
  std::string path_;
};

void set_type(Header& header, const std::string& descr, const std::string& path) {
  struct Known {
    std::string_view code;
    ElementType type;
  };
  static constexpr std::array known{
      Known{"u1", ElementType::u8},  Known{"i1", ElementType::i8},  Known{"u2", ElementType::u16},
      Known{"i2", ElementType::i16}, Known{"i4", ElementType::i32}, Known{"i8", ElementType::i64},
      Known{"f2", ElementType::f16}, Known{"f4", ElementType::f32}, Known{"f8", ElementType::f64}};
  const char order = descr.empty() ? '\0' : descr.front();
  const auto found = std::ranges::find(known, std::string_view(descr).substr(descr.empty() ? 0 : 1), &Known::code);
  const bool ordered = order == '<' || order == '>' || order == '=';
  if (found == known.end() || !(ordered || (order == '|' && size_of(found->type) == 1))) {
    throw InputError(
        fmt::format("element type '{}' is not read; save the array with .astype(numpy.float32), or as uint8, "
                    "int8, uint16, int16, int32, int64, float16 or float64",
                    descr),
        path);
  }
  header.type = found->type;
  if (order == '<') header.order = std::endian::little;
  if (order == '>') header.order = std::endian::big;
}

void parse_dictionary(Header& header, Literal literal, const std::string& path) {
  bool has_type = false, has_order = false, has_shape = false;
  literal.expect('{');
  while (!literal.accept('}')) {
    const std::string key = literal.quoted();
    literal.expect(':');
    if (key == "descr" && !std::exchange(has_type, true)) {
      if (literal.next() == '[') throw InputError("an array of records; save one field of it", path);
      set_type(header, literal.quoted(), path);
    } else if (key == "fortran_order" && !std::exchange(has_order, true)) {
      if (literal.boolean()) {
        throw InputError("a Fortran-ordered array; save it again with numpy.save(file, numpy.ascontiguousarray(array))",
                         path);
      }
    } else if (key == "shape" && !std::exchange(has_shape, true)) {
      header.shape = literal.tuple();
    } else {
      literal.fail(fmt::format("key '{}' unknown or twice", key));
    }
    if (literal.accept(',')) continue;
    literal.expect('}');
    break;
  }
  if (!literal.at_end()) literal.fail("something after the last brace");
  if (!has_type || !has_order || !has_shape) literal.fail("one of 'descr', 'fortran_order', 'shape' is missing");
}

Header read_npy_header(const File& file) {
  constexpr std::uint64_t largest = 1 << 20;
  const std::string start = file.text(0, 12);
  if (start.size() < 12) throw InputError("the .npy header is cut off", file.path());
  const auto byte = [&](std::size_t i) { return static_cast<std::uint64_t>(static_cast<unsigned char>(start[i])); };
  const std::uint64_t version = byte(6);
  if (version < 1 || version > 3) {
    throw InputError(fmt::format("version {} of the .npy format is not known; 1 to 3 are", version), file.path());
  }
  Header header;
  const std::uint64_t before = version == 1 ? 10 : 12;
  const std::uint64_t length =
      version == 1 ? byte(8) | byte(9) << 8 : byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24;
  header.size = before + length;
  if (header.size > file.size()) throw InputError("the .npy header is cut off", file.path());
  if (length > largest) throw InputError("a .npy header of more than 1 MiB", file.path());
  const std::string text = file.text(before, length);
  parse_dictionary(header, Literal(text, file.path()), file.path());
  return header;
}

// ------------------------------------------------------------------------------------------------------------ idx

std::optional<ElementType> idx_type(char code) {
  switch (code) {
    case '\x08':
      return ElementType::u8;
    case '\x09':
      return ElementType::i8;
    case '\x0b':
      return ElementType::i16;
    case '\x0c':
      return ElementType::i32;
    case '\x0d':
      return ElementType::f32;
    case '\x0e':
      return ElementType::f64;
    default:
      return std::nullopt;
  }
}

/// None where the file does not start like one.
std::optional<Header> read_idx_header(const File& file) {
  const std::string start = file.text(0, 4);
  if (start.size() < 4 || start[0] != '\0' || start[1] != '\0') return std::nullopt;
  const auto type = idx_type(start[2]);
  if (!type) return std::nullopt;
  Header header{.shape = {}, .type = *type, .order = std::endian::big, .size = 0};
  const std::size_t axes = static_cast<unsigned char>(start[3]);
  const std::string extents = file.text(4, 4 * axes);
  if (extents.size() < 4 * axes) throw InputError("the idx header is cut off", file.path());
  for (std::size_t a = 0; a < axes; ++a) {
    Index extent = 0;
    for (std::size_t i = 0; i < 4; ++i) extent = extent << 8 | static_cast<unsigned char>(extents[4 * a + i]);
    header.shape.push_back(extent);
  }
  header.size = 4 + 4 * axes;
  return header;
}

/// What people have instead of an array, and what they can do about it.
void refuse_other_formats(std::string_view start, const std::string& path) {
  if (start.starts_with("\x1f\x8b"sv)) throw InputError("a gzip-compressed file; unpack it first (gunzip)", path);
  if (start.starts_with("PK\x03\x04"sv)) {
    throw InputError("a zip archive (.npz?); save one of its arrays: numpy.save(file, numpy.load(archive)[name])",
                     path);
  }
  if (start.starts_with("\x89PNG"sv) || start.starts_with("\xff\xd8\xff"sv)) {
    throw InputError("a picture; save all pictures as one array: numpy.save(file, numpy.stack([numpy.asarray(i) ...]))",
                     path);
  }
}

}  // namespace

ArrayFile::ArrayFile(std::string location, Shape shape, ElementType type)
    : location_(std::move(location)), shape_(std::move(shape)), type_(type) {
  if (shape_.empty() || std::ranges::find(shape_, Index{0}) != shape_.end()) {
    throw InputError(fmt::format("no samples in the file: the array is {}", tensor::to_string(shape_)), location_);
  }
  constexpr Index largest = Index{1} << 60;
  Index bytes = static_cast<Index>(size_of(type_));
  for (const Index extent : shape_) {
    if (extent > largest / bytes) {
      throw InputError(fmt::format("the array {} of the header is too large", tensor::to_string(shape_)), location_);
    }
    bytes *= extent;
  }
  for (std::size_t a = 1; a < shape_.size(); ++a) row_elements_ *= shape_[a];
  constexpr Index largest_row = Index{1} << 28;
  if (row_elements_ > largest_row) {
    throw InputError(fmt::format("samples of {} numbers in the array {}; the first axis counts the samples",
                                 row_elements_, tensor::to_string(shape_)),
                     location_);
  }
}

Location split_location(const std::string& location) {
  const auto separator = location.rfind(":/");
  if (separator == std::string::npos || separator < 2) return {.file = location, .dataset = {}};
  return {.file = location.substr(0, separator), .dataset = location.substr(separator + 1)};
}

std::shared_ptr<const ArrayFile> open_array(const std::string& location) {
  const Location parts = split_location(location);
  File file(parts.file);
  const std::string start = file.text(0, 8);
  if (!parts.dataset.empty() || start == "\x89HDF\r\n\x1a\n"sv) return open_hdf5_array(parts);
  refuse_other_formats(start, location);
  if (start.starts_with("\x93NUMPY"sv)) {
    Header header = read_npy_header(file);
    return std::make_shared<FlatArray>(std::move(file), std::move(header));
  }
  if (auto header = read_idx_header(file)) return std::make_shared<FlatArray>(std::move(file), std::move(*header));
  throw InputError("not an array of samples: it is neither .npy nor idx nor HDF5 (file.h5:/dataset)", location);
}

}  // namespace quantbound::observe
