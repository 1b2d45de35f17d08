// Decoding of TensorProto: every numeric type, raw or typed. Sizes are held against the bytes that are there before
// anything is allocated.
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include "onnx_constant.hpp"

namespace quantbound::network::detail {

namespace {

static_assert(std::endian::native == std::endian::little, "raw_data is little-endian");

constexpr Index max_constant = Index{1} << 32;

double from_half(std::uint16_t bits) {
  const double sign = (bits & 0x8000U) != 0 ? -1.0 : 1.0;
  const int exponent = (bits >> 10) & 0x1F;
  const int mantissa = bits & 0x3FF;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  if (exponent == 31) return mantissa == 0 ? sign * HUGE_VAL : std::nan("");
  return sign * std::ldexp(mantissa + 1024, exponent - 25);
}

double from_bfloat(std::uint16_t bits) {
  return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16));
}

template <class Stored, class Out, class Convert>
std::vector<Out> from_raw(const std::string& raw, Index count, Convert convert) {
  if (raw.size() != static_cast<std::size_t>(count) * sizeof(Stored)) {
    throw ConstantError{fmt::format("{} bytes of data for {} elements of {} bytes; the file is damaged", raw.size(),
                                    count, sizeof(Stored))};
  }
  std::vector<Out> out(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < out.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, raw.data() + i * sizeof(Stored), sizeof(Stored));
    out[i] = convert(stored);
  }
  return out;
}

template <class Out, class Field, class Convert>
std::vector<Out> from_field(const Field& field, Index count, Convert convert) {
  if (field.size() != count) {
    throw ConstantError{fmt::format("{} values for {} elements; the file is damaged", field.size(), count)};
  }
  std::vector<Out> out;
  out.reserve(static_cast<std::size_t>(count));
  for (const auto value : field) out.push_back(convert(value));
  return out;
}

/// The values of a tensor whose elements are `Stored` in raw_data and sit in `field` otherwise.
template <class Stored, class Out, class Field, class Convert>
std::vector<Out> elements_of(const ::onnx::TensorProto& tensor, const Field& field, Index count, Convert convert) {
  if (!tensor.raw_data().empty()) return from_raw<Stored, Out>(tensor.raw_data(), count, convert);
  return from_field<Out>(field, count, [&](auto value) { return convert(static_cast<Stored>(value)); });
}

std::int64_t as_integer(std::uint64_t value) {
  if (value > static_cast<std::uint64_t>(INT64_MAX)) throw ConstantError{"an unsigned integer is beyond 2^63"};
  return static_cast<std::int64_t>(value);
}

/// Two elements in a byte, the first one in its lower half; int32_data holds a byte in each number.
template <class Convert>
Integers from_nibbles(const ::onnx::TensorProto& tensor, Index count, Convert convert) {
  const Index bytes = count / 2 + count % 2;
  const auto pairs = elements_of<std::uint8_t, unsigned>(tensor, tensor.int32_data(), bytes,
                                                         [](std::uint8_t byte) { return unsigned{byte}; });
  Integers out(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = convert(i % 2 == 0 ? pairs[i / 2] & 15U : pairs[i / 2] >> 4);
  return out;
}

std::variant<Reals, Integers> values_of(const ::onnx::TensorProto& tensor, Index n) {
  using Type = ::onnx::TensorProto;
  const auto real = [](auto value) { return static_cast<double>(value); };
  const auto integer = [](auto value) { return static_cast<std::int64_t>(value); };
  switch (tensor.data_type()) {
    case Type::FLOAT:
      return elements_of<float, double>(tensor, tensor.float_data(), n, real);
    case Type::DOUBLE:
      return elements_of<double, double>(tensor, tensor.double_data(), n, real);
    case Type::FLOAT16:
      return elements_of<std::uint16_t, double>(tensor, tensor.int32_data(), n, from_half);
    case Type::BFLOAT16:
      return elements_of<std::uint16_t, double>(tensor, tensor.int32_data(), n, from_bfloat);
    case Type::INT64:
      return elements_of<std::int64_t, std::int64_t>(tensor, tensor.int64_data(), n, integer);
    case Type::INT32:
      return elements_of<std::int32_t, std::int64_t>(tensor, tensor.int32_data(), n, integer);
    case Type::INT16:
      return elements_of<std::int16_t, std::int64_t>(tensor, tensor.int32_data(), n, integer);
    case Type::INT8:
      return elements_of<std::int8_t, std::int64_t>(tensor, tensor.int32_data(), n, integer);
    case Type::UINT16:
      return elements_of<std::uint16_t, std::int64_t>(tensor, tensor.int32_data(), n, integer);
    case Type::UINT8:
    case Type::BOOL:
      return elements_of<std::uint8_t, std::int64_t>(tensor, tensor.int32_data(), n, integer);
    case Type::UINT32:
      return elements_of<std::uint32_t, std::int64_t>(tensor, tensor.uint64_data(), n, integer);
    case Type::UINT64:
      return elements_of<std::uint64_t, std::int64_t>(tensor, tensor.uint64_data(), n, as_integer);
    case int4_type:
      return from_nibbles(tensor, n, [](unsigned bits) { return static_cast<std::int64_t>(bits ^ 8U) - 8; });
    case uint4_type:
      return from_nibbles(tensor, n, [](unsigned bits) { return static_cast<std::int64_t>(bits); });
    default:
      throw ConstantError{fmt::format("element type {} is not a number", tensor.data_type())};
  }
}

}  // namespace

Constant decode(const ::onnx::TensorProto& tensor) {
  using Type = ::onnx::TensorProto;
  if (tensor.data_location() == Type::EXTERNAL || tensor.external_data_size() > 0) {
    throw ConstantError{
        "its data lies in another file; save the model in one file: "
        "onnx.save(onnx.load(FILE), OUT, save_as_external_data=False)"};
  }
  if (tensor.has_segment()) throw ConstantError{"it is stored in segments, which nothing writes"};
  Shape dims(tensor.dims().begin(), tensor.dims().end());
  const Index n = checked_elements(dims, max_constant);
  return {dims, values_of(tensor, n), tensor.data_type()};
}

}  // namespace quantbound::network::detail
