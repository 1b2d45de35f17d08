#include "onnx_node.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include "quantbound/core/error.hpp"

namespace quantbound::network::detail {

namespace {

using Attribute = ::onnx::AttributeProto;

bool is_standard_domain(const std::string& domain) { return domain.empty() || domain == "ai.onnx"; }

}  // namespace

OnnxNode::OnnxNode(const ::onnx::NodeProto& proto, std::string file, Index opset)
    : proto_(proto),
      file_(std::move(file)),
      op_(is_standard_domain(proto.domain()) ? proto.op_type() : proto.domain() + "::" + proto.op_type()),
      name_(proto.name().empty() && proto.output_size() > 0 ? proto.output(0) : proto.name()),
      opset_(opset) {}

std::size_t OnnxNode::input_count() const { return static_cast<std::size_t>(proto_.input_size()); }

bool OnnxNode::has_input(std::size_t i) const {
  return i < input_count() && !proto_.input(static_cast<int>(i)).empty();
}

const std::string& OnnxNode::input(std::size_t i) const {
  if (!has_input(i)) reject(fmt::format("input {} is missing", i));
  return proto_.input(static_cast<int>(i));
}

std::size_t OnnxNode::output_count() const {
  return static_cast<std::size_t>(std::count_if(proto_.output().begin(), proto_.output().end(),
                                                [](const std::string& name) { return !name.empty(); }));
}

const std::string& OnnxNode::output() const {
  if (proto_.output_size() == 0) reject("has no output");
  return proto_.output(0);
}

std::vector<std::string> OnnxNode::attribute_names() const {
  std::vector<std::string> names;
  for (const Attribute& attribute : proto_.attribute()) names.push_back(attribute.name());
  return names;
}

const Attribute* OnnxNode::find(std::string_view attribute) const {
  for (const Attribute& candidate : proto_.attribute()) {
    if (candidate.name() == attribute) return &candidate;
  }
  return nullptr;
}

std::int64_t OnnxNode::integer(std::string_view attribute, std::int64_t otherwise) const {
  const Attribute* found = find(attribute);
  if (found == nullptr) return otherwise;
  if (!found->has_i() && found->type() != Attribute::INT)
    reject(fmt::format("attribute '{}' is not an integer", attribute));
  return found->i();
}

double OnnxNode::real(std::string_view attribute, float otherwise) const {
  const Attribute* found = find(attribute);
  if (found == nullptr) return static_cast<double>(otherwise);
  if (!found->has_f() && found->type() != Attribute::FLOAT)
    reject(fmt::format("attribute '{}' is not a number", attribute));
  return static_cast<double>(found->f());
}

std::optional<Integers> OnnxNode::integers(std::string_view attribute) const {
  const Attribute* found = find(attribute);
  if (found == nullptr) return std::nullopt;
  if (found->has_i() || found->has_f() || found->has_s() || found->has_t()) {
    reject(fmt::format("attribute '{}' is not a list of integers", attribute));
  }
  return Integers(found->ints().begin(), found->ints().end());
}

std::string OnnxNode::text(std::string_view attribute, std::string_view otherwise) const {
  const Attribute* found = find(attribute);
  if (found == nullptr) return std::string(otherwise);
  if (!found->has_s() && found->type() != Attribute::STRING)
    reject(fmt::format("attribute '{}' is not a text", attribute));
  return found->s();
}

std::optional<Constant> OnnxNode::constant(std::string_view attribute) const {
  const Attribute* found = find(attribute);
  if (found == nullptr) return std::nullopt;
  if (found->has_t()) return guard([&] { return decode(found->t()); });
  if (found->has_f()) return Constant{{}, Reals{static_cast<double>(found->f())}};
  if (found->has_i()) return Constant{{}, Integers{found->i()}};
  if (found->floats_size() > 0) {
    return Constant{{found->floats_size()}, Reals(found->floats().begin(), found->floats().end())};
  }
  if (found->ints_size() > 0) {
    return Constant{{found->ints_size()}, Integers(found->ints().begin(), found->ints().end())};
  }
  refuse(fmt::format("attribute '{}' holds no numeric tensor", attribute));
}

void OnnxNode::reject(const std::string& message) const {
  throw core::InputError(fmt::format("node '{}' ({}): {}", name_, op_, message), file_);
}

void OnnxNode::refuse(const std::string& message) const { throw core::UnsupportedOperator(op_, name_, message, file_); }

}  // namespace quantbound::network::detail
