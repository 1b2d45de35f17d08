// QuantizeLinear and DequantizeLinear of constants, with the roundings of float32 that ONNX Runtime makes: weights that
// are stored as integers, and weights that are rounded to a grid when the file is loaded.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include "onnx_operators.hpp"

namespace quantbound::network::detail {

namespace {

using Type = ::onnx::TensorProto;

struct IntegerRange {
  std::int64_t lowest, highest;
};

std::optional<IntegerRange> range_of(Index type) {
  switch (type) {
    case int4_type:
      return IntegerRange{-8, 7};
    case uint4_type:
      return IntegerRange{0, 15};
    case Type::INT8:
      return IntegerRange{INT8_MIN, INT8_MAX};
    case Type::UINT8:
      return IntegerRange{0, UINT8_MAX};
    case Type::INT16:
      return IntegerRange{INT16_MIN, INT16_MAX};
    case Type::UINT16:
      return IntegerRange{0, UINT16_MAX};
    default:
      return std::nullopt;
  }
}

/// Which scale and zero point belong to an element: one for all, one per index along an axis, or one per block of that
/// axis.
class Groups {
 public:
  Groups(const OnnxNode& node, const Shape& dims, const Shape& scales) {
    block_ = node.integer("block_size", 0);
    if (block_ == 0 && tensor::elements(scales) == 1 && scales.size() <= 1) return;
    const auto axis = static_cast<std::size_t>(from_front(node, node.integer("axis", 1), dims.size()));
    for (std::size_t i = axis + 1; i < dims.size(); ++i) inner_ *= dims[i];
    extent_ = dims[axis];
    Shape expected{extent_};
    if (block_ > 0) {
      expected = dims;
      expected[axis] = groups_ = (extent_ - 1) / block_ + 1;
    }
    if (block_ >= 0 && scales == expected) return;
    node.reject(fmt::format("scales of shape {} do not fit values of shape {} along axis {}", tensor::to_string(scales),
                            tensor::to_string(dims), axis));
  }

  std::size_t operator()(std::size_t element) const {
    const auto i = static_cast<Index>(element);
    const Index along = i / inner_ % extent_;
    if (block_ == 0) return static_cast<std::size_t>(along);
    return static_cast<std::size_t>((i / (inner_ * extent_) * groups_ + along / block_) * inner_ + i % inner_);
  }

 private:
  Index inner_ = 1, extent_ = 1, block_ = 0, groups_ = 1;
};

struct Parameters {
  Groups groups;
  std::vector<float> scales;
  Integers zero_points;
};

[[gnu::noinline]] bool is_float(double value) { return static_cast<double>(static_cast<float>(value)) == value; }

/// Float32 numbers: in other formats the operator would round otherwise.
std::vector<float> floats(const OnnxNode& node, const Constant& constant, const char* role) {
  const Reals values = constant.reals();
  const bool stated = constant.type == Type::FLOAT || constant.type == 0;
  if (!stated || constant.is_integral() || !std::all_of(values.begin(), values.end(), is_float))
    node.refuse(fmt::format("its {} are not float32 numbers", role));
  return {values.begin(), values.end()};
}

Parameters parameters(const Importer& importer, const OnnxNode& node, const Shape& dims) {
  const Constant scales = importer.constant(node, 1);
  Parameters result{Groups(node, dims, scales.dims), floats(node, scales, "scales"), {}};
  result.zero_points.assign(result.scales.size(), 0);
  if (!node.has_input(2)) return result;
  const Constant zero_points = importer.constant(node, 2);
  if (!zero_points.is_integral()) node.refuse("its zero points are not integers");
  if (zero_points.size() != scales.size())
    node.reject(fmt::format("{} zero points for {} scales", zero_points.size(), scales.size()));
  result.zero_points = std::get<Integers>(zero_points.values);
  return result;
}

/// Division and rounding to even in float32, as ONNX Runtime has it.
std::int64_t quantized(float value, float scale, std::int64_t zero_point, const IntegerRange& range) {
  const float quotient = std::nearbyint(value / scale);
  if (std::isnan(quotient)) return zero_point;
  const double limited = std::clamp(static_cast<double>(quotient), -0x1p40, 0x1p40);
  return std::clamp(static_cast<std::int64_t>(limited) + zero_point, range.lowest, range.highest);
}

/// Of the zero point, else the stated one, else unsigned bytes.
Index result_type(const Importer& importer, const OnnxNode& node) {
  if (node.has_input(2)) return importer.constant(node, 2).type;
  const Index stated = node.integer("output_dtype", 0);
  return stated == 0 ? Index{Type::UINT8} : stated;
}

}  // namespace

void import_quantize_linear(Importer& importer, const OnnxNode& node) {
  if (!importer.all_constant(node)) {
    node.refuse("it quantizes values computed at run time; only weights may be integers: give the float network");
  }
  const Index type = result_type(importer, node);
  const auto range = range_of(type);
  if (!range) node.refuse(fmt::format("its results have type {}, no integer of 4, 8 or 16 bits", type));
  const Constant constant = importer.constant(node, 0);
  const std::vector<float> values = floats(node, constant, "values");
  const Parameters p = parameters(importer, node, constant.dims);
  Integers codes(values.size());
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const std::size_t group = p.groups(i);
    codes[i] = quantized(values[i], p.scales[group], p.zero_points[group], *range);
  }
  importer.give(node, Constant{constant.dims, std::move(codes), static_cast<std::int32_t>(type)});
}

void import_dequantize_linear(Importer& importer, const OnnxNode& node) {
  if (!importer.all_constant(node)) {
    node.refuse("it scales integers computed at run time; only weights may be integers: give the float network");
  }
  const Constant constant = importer.constant(node, 0);
  const auto* codes = std::get_if<Integers>(&constant.values);
  if (codes == nullptr || !(range_of(constant.type) || constant.type == Type::INT32))
    node.refuse("its values are not integers of 4, 8, 16 or 32 bits");
  const Parameters p = parameters(importer, node, constant.dims);
  Reals values(codes->size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t group = p.groups(i);
    const float value = static_cast<float>((*codes)[i] - p.zero_points[group]) * p.scales[group];
    values[i] = static_cast<double>(value);
  }
  importer.give(node, Constant{constant.dims, std::move(values)});
}

}  // namespace quantbound::network::detail
