/// Constants of an ONNX file: initializers, Constant nodes, and what follows from them while the file is read (shapes,
/// axes, pads, transposed weights). Real numbers of every width become doubles exactly; integers stay integers, because
/// INT64_MAX is a legal bound of a Slice. Nothing here knows the graph under construction.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "quantbound/tensor/shape.hpp"

namespace onnx {
class TensorProto;
}

namespace quantbound::network::detail {

using tensor::Index;
using tensor::Shape;
using Reals = std::vector<double>;
using Integers = std::vector<std::int64_t>;

struct Constant {
  Shape dims;
  std::variant<Reals, Integers> values;
  std::int32_t type = 0;  ///< TensorProto's element type where a tensor of the file gave the values as they are, else 0

  Index size() const;
  bool is_integral() const { return std::holds_alternative<Integers>(values); }
  /// The values as doubles.
  Reals reals() const;
};

/// Thrown by the functions below; OnnxNode and the reader add node and file.
struct ConstantError {
  std::string message;
};

/// Reads a tensor of any numeric type, from raw_data or from its typed field.
Constant decode(const ::onnx::TensorProto& tensor);

/// TensorProto's element types that are younger than the header of ONNX 1.12.
inline constexpr std::int32_t uint4_type = 21, int4_type = 22;

/// Elements of a shape, held against `limit` so that a damaged file cannot ask for more.
Index checked_elements(const Shape& dims, Index limit);

/// Elements `offset + sum_i index_i * strides[i]` for all indices below `count`, row-major.
Constant strided(const Constant& in, Index offset, std::span<const Index> strides, const Shape& count);
Shape row_major_strides(const Shape& dims);

Constant permuted(const Constant& in, std::span<const Index> axes);
Constant gathered(const Constant& in, const Constant& indices, Index axis);
Constant concatenated(std::span<const Constant> parts, Index axis);
Constant to_integers(const Constant& in);
Constant to_reals(const Constant& in);

enum class Arithmetic { add, subtract, multiply, divide };
/// Elementwise, with numpy's broadcasting.
Constant combined(Arithmetic operation, const Constant& a, const Constant& b);

}  // namespace quantbound::network::detail
