// Operators on constants: Constant, ConstantOfShape, Shape, Gather and Cast, from which exporters compute shapes and
// pads.
#include <algorithm>
#include <type_traits>

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include "onnx_operators.hpp"

namespace quantbound::network::detail {

namespace {

bool is_integer_type(Index type) {
  using Type = ::onnx::TensorProto;
  return type == Type::INT64 || type == Type::INT32 || type == Type::INT16 || type == Type::INT8 ||
         type == Type::UINT8 || type == Type::UINT16 || type == Type::UINT32 || type == Type::UINT64;
}

bool is_real_type(Index type) {
  using Type = ::onnx::TensorProto;
  return type == Type::FLOAT || type == Type::DOUBLE || type == Type::FLOAT16 || type == Type::BFLOAT16;
}

}  // namespace

void import_constant(Importer& importer, const OnnxNode& node) {
  const std::vector<std::string> names = node.attribute_names();
  if (names.size() != 1) node.reject("needs exactly one value");
  importer.give(node, *node.constant(names.front()));
}

void import_constant_of_shape(Importer& importer, const OnnxNode& node) {
  constexpr Index limit = Index{1} << 24;  // a constant without data: nothing else bounds its size
  const Constant value = node.constant("value").value_or(Constant{{1}, Reals{0.0}});
  if (value.size() != 1) node.reject("its value is not one number");
  const Integers shape = *importer.optional_integers(node, 0);
  const Index count = node.guard([&] { return checked_elements(shape, limit); });
  importer.give(
      node,
      std::visit(
          [&](const auto& list) {
            return Constant{shape, std::remove_cvref_t<decltype(list)>(static_cast<std::size_t>(count), list.front())};
          },
          value.values));
}

void import_cast(Importer& importer, const OnnxNode& node) {
  const Index type = node.integer("to", 0);
  if (!is_integer_type(type) && !is_real_type(type)) node.refuse(fmt::format("type {} is not a number", type));
  if (importer.is_constant(node, 0)) {
    const Constant constant = importer.constant(node, 0);
    return importer.give(node,
                         node.guard([&] { return is_real_type(type) ? to_reals(constant) : to_integers(constant); }));
  }
  if (!is_real_type(type)) node.refuse("it turns values computed at run time into integers");
  importer.give(node, importer.value(node, 0));
}

void import_shape(Importer& importer, const OnnxNode& node) {
  const Shape dims = importer.dims(node, 0);
  const auto rank = std::ssize(dims);
  const auto bound = [&](std::string_view attribute, Index otherwise) {
    const Index raw = node.integer(attribute, otherwise);
    return std::clamp(raw < 0 ? std::max(raw, -rank) + rank : raw, Index{0}, rank);
  };
  const Index first = bound("start", 0), last = std::max(bound("end", rank), first);
  importer.give(node, Constant{{last - first}, Integers(dims.begin() + first, dims.begin() + last)});
}

void import_gather(Importer& importer, const OnnxNode& node) {
  if (!importer.all_constant(node)) node.refuse("it picks from values computed at run time; only shapes are read");
  importer.give(node, node.guard([&] {
    return gathered(importer.constant(node, 0), importer.constant(node, 1), node.integer("axis", 0));
  }));
}

}  // namespace quantbound::network::detail
