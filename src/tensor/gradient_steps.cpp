#include "gradient_steps.hpp"

#include <algorithm>

#include "quantbound/core/assert.hpp"

#include "arena.hpp"
#include "float_primitives.hpp"
#include "pairwise.hpp"

namespace quantbound::tensor::detail {

std::size_t GradientSteps::new_buffer(const Descriptor& descriptor) {
  const Index floats = static_cast<Index>((descriptor.get_size() + sizeof(float) - 1) / sizeof(float));
  p_.buffers.push_back({.floats = floats, .first = never, .last = -1});
  return p_.buffers.size() - 1;
}

void GradientSteps::touch(std::size_t buffer, Index step) {
  GradientBuffer& used = p_.buffers[buffer];
  used.first = std::min(used.first, step);
  used.last = std::max(used.last, step);
}

GradientStep& GradientSteps::add_step(std::vector<Argument> arguments) {
  for (const Argument& argument : arguments) touch(argument.buffer, count());
  GradientStep& step = p_.steps.emplace_back();
  step.arguments = std::move(arguments);
  return step;
}

GradientStep& GradientSteps::add_kernel(std::vector<Argument> arguments, BatchKernel kernel) {
  GradientStep& step = add_step(std::move(arguments));
  step.kernel = std::move(kernel);
  return step;
}

void GradientSteps::add_reorder(const Version& from, const Version& to) {
  const dnnl::reorder::primitive_desc descriptor(p_.engine, from.descriptor, p_.engine, to.descriptor, attributes());
  GradientStep& step = add_primitive<dnnl::reorder>(
      descriptor, {{DNNL_ARG_FROM, from.buffer, from.descriptor}, {DNNL_ARG_TO, to.buffer, to.descriptor}});
  if (from.buffer != p_.samples) return;
  step.from_caller.emplace(p_.engine, with_batch(from.descriptor, 1), with_batch(to.descriptor, 1));
  step.sample_floats = sample_size(to.descriptor);
}

Version GradientSteps::in_layout(const Version& version, const Descriptor& wanted) {
  if (version.descriptor == wanted || (is_plain(version.descriptor) && is_plain(wanted)))
    return {wanted, version.buffer};
  const Version copy{wanted, new_buffer(wanted)};
  add_reorder(version, copy);
  return copy;
}

void GradientSteps::add_sum(const Version& a, const Version& b, std::size_t target) {
  QUANTBOUND_ASSERT(sample_size(a.descriptor) == sample_size(b.descriptor), sample_size(a.descriptor));
  add_kernel({{DNNL_ARG_SRC_0, a.buffer, a.descriptor},
              {DNNL_ARG_SRC_1, b.buffer, b.descriptor},
              {DNNL_ARG_DST, target, a.descriptor}},
             [size = p_.batch * sample_size(a.descriptor)](std::span<float* const> data) {
               const float *x = data[0], *y = data[1];
               float* sum = data[2];
#pragma omp simd
               for (Index i = 0; i < size; ++i) sum[i] = x[i] + y[i];
             });
}

void GradientSteps::add_product(const Version& a, const Version& b, std::size_t target) {
  add_kernel({{DNNL_ARG_SRC_0, a.buffer, a.descriptor},
              {DNNL_ARG_SRC_1, b.buffer, b.descriptor},
              {DNNL_ARG_DST, target, a.descriptor}},
             [product = Pairwise(PairOperation::product, a.descriptor, b.descriptor), batch = p_.batch,
              a_size = sample_size(a.descriptor), b_size = sample_size(b.descriptor)](std::span<float* const> data) {
               for (Index n = 0; n < batch; ++n)
                 product(data[0] + n * a_size, data[1] + n * b_size, data[2] + n * a_size);
             });
}

void GradientSteps::add_moves(std::span<const Version> inputs, std::span<const std::vector<AxisMove>> blocks,
                              const Version& out, std::vector<float> background) {
  std::vector<Mover> movers;
  std::vector<Index> sizes;
  std::vector<Argument> arguments;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    movers.emplace_back(blocks[i], inputs[i].descriptor, out.descriptor);
    sizes.push_back(sample_size(inputs[i].descriptor));
    arguments.push_back({DNNL_ARG_SRC, inputs[i].buffer, inputs[i].descriptor});
  }
  arguments.push_back({DNNL_ARG_DST, out.buffer, out.descriptor});
  add_kernel(std::move(arguments),
             [movers = std::move(movers), sizes = std::move(sizes), out_size = sample_size(out.descriptor),
              background = std::move(background), batch = p_.batch](std::span<float* const> data) {
               for (Index n = 0; n < batch; ++n) {
                 float* sample = data.back() + n * out_size;
                 std::copy(background.begin(), background.end(), sample);
                 for (std::size_t i = 0; i < movers.size(); ++i) movers[i](data[i] + n * sizes[i], sample);
               }
             });
}

void GradientSteps::plan_memory() {
  std::vector<Lifetime> lifetimes;
  for (const GradientBuffer& buffer : p_.buffers) {
    QUANTBOUND_ASSERT(buffer.first <= buffer.last, buffer.first, buffer.last);
    lifetimes.push_back({buffer.floats, buffer.first, buffer.last});
  }
  std::size_t scratch = 0;
  for (const GradientStep& step : p_.steps)
    if (step.scratchpad) scratch = std::max(scratch, step.scratchpad->get_size());
  const ArenaPlan plan = plan_arena(lifetimes, floats_per_line);
  for (std::size_t id = 0; id < p_.buffers.size(); ++id) p_.buffers[id].offset = plan.offsets[id];
  p_.arena_floats = plan.size;
  p_.scratch_floats = static_cast<Index>((scratch + sizeof(float) - 1) / sizeof(float));
}

}  // namespace quantbound::tensor::detail
