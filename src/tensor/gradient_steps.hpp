/// Appends steps to a gradient program: buffers live from the first step that touches them to the last.
#pragma once

#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "gradient_program_parts.hpp"

namespace quantbound::tensor::detail {

class GradientSteps {
 public:
  static constexpr Index never = std::numeric_limits<Index>::max();

  explicit GradientSteps(GradientProgram::Implementation& program) : p_(program) {}

  Index batch() const { return p_.batch; }
  const dnnl::engine& engine() const { return p_.engine; }
  Index count() const { return std::ssize(p_.steps); }

  std::size_t new_buffer(const Descriptor& descriptor);
  /// The buffer is in use at this step, too; `never` for one that is read after the last.
  void touch(std::size_t buffer, Index step);

  GradientStep& add_step(std::vector<Argument> arguments);
  GradientStep& add_kernel(std::vector<Argument> arguments, BatchKernel kernel);
  template <class Primitive, class PrimitiveDescriptor>
  GradientStep& add_primitive(const PrimitiveDescriptor& descriptor, std::vector<Argument> arguments) {
    GradientStep& step = add_step(std::move(arguments));
    step.primitive = Primitive(descriptor);
    step.scratchpad = descriptor.scratchpad_desc();
    return step;
  }
  void add_reorder(const Version& from, const Version& to);
  /// In this layout: itself, or a copy.
  Version in_layout(const Version& version, const Descriptor& wanted);
  Descriptor plain(const Shape& shape) const { return plain_descriptor(p_.batch, shape); }

  /// target = a + b, of equal layout; `target` may be one of them.
  void add_sum(const Version& a, const Version& b, std::size_t target);
  /// target = a * b in the layout of `a`, where `b` has the same or is {c, 1, 1}; `target` may be `a`.
  void add_product(const Version& a, const Version& b, std::size_t target);
  /// A block of every input; before, every sample is set to `background`, unless that is empty.
  void add_moves(std::span<const Version> inputs, std::span<const std::vector<AxisMove>> blocks, const Version& out,
                 std::vector<float> background);

  void plan_memory();

 private:
  GradientProgram::Implementation& p_;
};

}  // namespace quantbound::tensor::detail
