#include "gradient_forward.hpp"

#include <algorithm>
#include <utility>

#include "quantbound/core/assert.hpp"

#include "gradient_kernels.hpp"
#include "pairwise.hpp"

namespace quantbound::tensor::detail {

using dnnl::prop_kind;

namespace {

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

/// The function fused into an operator, if it can have one.
std::optional<PointFunction>* fused_function(Operation& operation) {
  if (auto* convolution = std::get_if<ConvolutionOp>(&operation.kind)) return &convolution->function;
  if (auto* dense = std::get_if<DenseOp>(&operation.kind)) return &dense->function;
  if (auto* add = std::get_if<AddOp>(&operation.kind)) return &add->function;
  return nullptr;
}

}  // namespace

bool reads_weights(const Operation& operation) {
  return std::holds_alternative<ConvolutionOp>(operation.kind) || std::holds_alternative<DenseOp>(operation.kind);
}

dnnl::pooling_v2_forward::primitive_desc pooling_forward(const PoolOp& op, const Descriptor& in, const Shape& out,
                                                         const dnnl::engine& engine) {
  const Window& w = op.window;
  const Dims kernel{w.kernel_height, w.kernel_width};
  return {{prop_kind::forward_training, op.algorithm, in, any_descriptor(in.dims().front(), out), strides_of(w), kernel,
           dilations_of(w), pads_before(w), pads_after(w)},
          attributes(),
          engine};
}

GradientForward::GradientForward(GradientProgram::Implementation& program, GradientSteps& steps)
    : p_(program), steps_(steps) {}

void GradientForward::run() {
  split_functions();
  find_readers();
  const Descriptor in = steps_.plain(shape(0));
  p_.samples = steps_.new_buffer(in);
  steps_.touch(p_.samples, 0);
  define(0, {in, p_.samples});
  for (current_ = 0; current_ < std::ssize(p_.operations); ++current_)
    std::visit([&](const auto& op) { emit(op); }, operation().kind);
  p_.own_result = value(p_.output);
  p_.own_end = p_.steps.size();
  p_.result = value(p_.output, steps_.plain(shape(p_.output))).buffer;
  steps_.touch(p_.result, GradientSteps::never);
}

/// A function whose slope does not follow from its output becomes an operator, so that its input is kept.
void GradientForward::split_functions() {
  std::vector<Operation> split;
  for (Operation& operation : p_.operations) {
    std::optional<PointFunction>* function = fused_function(operation);
    if (function == nullptr || !*function || slope_follows_from_output(**function)) {
      split.push_back(std::move(operation));
      continue;
    }
    const PointOp point{**function};
    const Index output = operation.output, before = std::ssize(p_.shapes);
    p_.shapes.push_back(shape(output));
    function->reset();
    operation.output = before;
    split.push_back(std::move(operation));
    split.push_back({point, {before}, output});
  }
  p_.operations = std::move(split);
  values_.resize(p_.shapes.size());
  workspaces_.resize(p_.operations.size());
}

void GradientForward::find_readers() {
  for (std::size_t k = 0; k < p_.operations.size(); ++k) {
    Operation& operation = p_.operations[k];
    for (const Index input : operation.inputs) values_[index(input)].last_reader = static_cast<Index>(k);
    const auto* point = std::get_if<PointOp>(&operation.kind);
    const auto* function = fused_function(operation);
    if (p_.derivatives != Derivatives::samples && reads_weights(operation))
      values_[index(operation.inputs.front())].goes_back = true;
    if (point != nullptr && !slope_follows_from_output(point->function)) {
      values_[index(operation.inputs.front())].goes_back = true;
    } else if (point != nullptr || (function != nullptr && *function)) {
      values_[index(operation.output)].goes_back = true;
    } else if (std::holds_alternative<MultiplyOp>(operation.kind)) {
      for (const Index input : operation.inputs) values_[index(input)].goes_back = true;
    }
  }
  values_[index(p_.output)].last_reader = GradientSteps::never;
}

void GradientForward::define(Index v, const Version& version) {
  ValueState& state = values_[index(v)];
  state.versions.push_back(version);
  buffers_.resize(std::max(buffers_.size(), version.buffer + 1));
  BufferState& buffer = buffers_[version.buffer];
  buffer.last_reader = std::max(buffer.last_reader, state.last_reader);
  buffer.goes_back |= state.goes_back;
}

Version GradientForward::value(Index v, const Descriptor& wanted) {
  const std::vector<Version>& versions = values_[index(v)].versions;
  for (const Version& version : versions)
    if (version.descriptor == wanted || (is_plain(version.descriptor) && is_plain(wanted)))
      return {wanted, version.buffer};
  const Version copy = steps_.in_layout(versions.front(), wanted);
  define(v, copy);
  return copy;
}

/// Whether the current operator may write its output over what it reads from this buffer.
bool GradientForward::may_overwrite(std::size_t buffer) const {
  return buffers_[buffer].last_reader <= current_ && !buffers_[buffer].goes_back;
}

/// A buffer that holds the summand in this layout and may be written over.
std::size_t GradientForward::summand_buffer(Index summand, const Descriptor& layout, std::size_t other_input) {
  const Version version = value(summand, layout);
  if (version.buffer != other_input && may_overwrite(version.buffer)) return version.buffer;
  const Version copy{layout, steps_.new_buffer(layout)};
  steps_.add_reorder(version, copy);
  return copy.buffer;
}

void GradientForward::add_layer(GradientStep& step, Index layer, LayerLayout layout) {
  if (std::ssize(layers_) <= layer) layers_.resize(index(layer) + 1);
  QUANTBOUND_ASSERT(!layers_[index(layer)], layer);
  layers_[index(layer)] = std::move(layout);
  step.layer = layer;
}

void GradientForward::emit(const ConvolutionOp& op) {
  const Operation& o = operation();
  const auto descriptor =
      convolution_forward(prop_kind::forward_training, op.geometry, p_.batch, attributes(op.function, op.has_summand),
                          p_.engine, p_.winograd(op.geometry, WeightsOf::values));
  const Version in = value(o.inputs[0], descriptor.src_desc());
  const Descriptor out = descriptor.dst_desc();
  const std::size_t target = op.has_summand ? summand_buffer(o.inputs[1], out, in.buffer) : steps_.new_buffer(out);
  GradientStep& step = steps_.add_primitive<dnnl::convolution_forward>(
      descriptor, {{DNNL_ARG_SRC, in.buffer, in.descriptor}, {DNNL_ARG_DST, target, out}});
  add_layer(step, op.layer,
            {plain_weights(weight_dims(op.geometry)), descriptor.weights_desc(), descriptor.bias_desc()});
  define(o.output, {out, target});
}

void GradientForward::emit(const DenseOp& op) {
  const Operation& o = operation();
  const DenseInput input = dense_input(shape(o.inputs[0]));
  const auto descriptor = dense_forward(prop_kind::forward_training, input, op.outputs, p_.batch,
                                        attributes(op.function, false), p_.engine);
  const std::size_t in =
      value(o.inputs[0], input.as_image ? descriptor.src_desc() : steps_.plain(shape(o.inputs[0]))).buffer;
  const Descriptor out = descriptor.dst_desc();
  const std::size_t target = steps_.new_buffer(out);
  GradientStep& step = steps_.add_primitive<dnnl::inner_product_forward>(
      descriptor, {{DNNL_ARG_SRC, in, descriptor.src_desc()}, {DNNL_ARG_DST, target, out}});
  add_layer(step, op.layer,
            {plain_weights(weight_dims(input, op.outputs)), descriptor.weights_desc(), descriptor.bias_desc()});
  define(o.output, {out, target});
}

void GradientForward::add_pointwise(const PointFunction& function, const Descriptor& layout, std::size_t source,
                                    std::size_t target) {
  for (const Eltwise& e : eltwise_chain(function)) {
    const dnnl::eltwise_forward::primitive_desc descriptor(
        {prop_kind::forward_training, e.kind, layout, e.alpha, e.beta}, attributes(), p_.engine);
    steps_.add_primitive<dnnl::eltwise_forward>(descriptor,
                                                {{DNNL_ARG_SRC, source, layout}, {DNNL_ARG_DST, target, layout}});
    source = target;
  }
}

void GradientForward::emit(const PointOp& op) {
  const Version in = value(operation().inputs[0]);
  const std::size_t target = may_overwrite(in.buffer) ? in.buffer : steps_.new_buffer(in.descriptor);
  add_pointwise(op.function, in.descriptor, in.buffer, target);
  define(operation().output, {in.descriptor, target});
}

void GradientForward::emit(const AddOp& op) {
  const Operation& o = operation();
  const Descriptor first = value(o.inputs[0]).descriptor,
                   layout = is_plain(first) ? value(o.inputs[1]).descriptor : first;
  Version a = value(o.inputs[0], layout), b = value(o.inputs[1], layout);
  if (!may_overwrite(a.buffer) && may_overwrite(b.buffer)) std::swap(a, b);
  const std::size_t target = may_overwrite(a.buffer) ? a.buffer : steps_.new_buffer(layout);
  steps_.add_sum(a, b, target);
  if (op.function) add_pointwise(*op.function, layout, target, target);
  define(o.output, {layout, target});
}

void GradientForward::emit(const MultiplyOp& /*op*/) {
  const Operation& o = operation();
  const Version a = value(o.inputs[0]);
  const bool same = shape(o.inputs[0]) == shape(o.inputs[1]);
  const Version b = value(o.inputs[1], same ? a.descriptor : same_kind(a.descriptor, p_.batch, shape(o.inputs[1])));
  const std::size_t target = steps_.new_buffer(a.descriptor);  // the factors go back
  steps_.add_product(a, b, target);
  define(o.output, {a.descriptor, target});
}

void GradientForward::emit(const PoolOp& op) {
  const Operation& o = operation();
  const Version in = value(o.inputs[0]);
  const auto descriptor = pooling_forward(op, in.descriptor, shape(o.output), p_.engine);
  const Descriptor out = descriptor.dst_desc();
  const std::size_t target = steps_.new_buffer(out);
  std::vector<Argument> arguments{{DNNL_ARG_SRC, in.buffer, in.descriptor}, {DNNL_ARG_DST, target, out}};
  if (op.algorithm == dnnl::algorithm::pooling_max) {
    const Descriptor workspace = descriptor.workspace_desc();
    workspaces_[index(current_)] = {workspace, steps_.new_buffer(workspace)};
    arguments.push_back({DNNL_ARG_WORKSPACE, workspaces_[index(current_)]->buffer, workspace});
  }
  steps_.add_primitive<dnnl::pooling_v2_forward>(descriptor, std::move(arguments));
  define(o.output, {out, target});
}

void GradientForward::emit(const MoveOp& op) {
  const Operation& o = operation();
  Descriptor like = value(o.inputs[0]).descriptor;
  for (const Index input : o.inputs)
    if (is_plain(like)) like = value(input).descriptor;
  const Descriptor out = same_kind(like, p_.batch, shape(o.output));
  const std::size_t target = steps_.new_buffer(out);
  std::vector<Version> inputs;
  for (const Index input : o.inputs) inputs.push_back(value(input));
  const bool is_covered = op.covers && !has_padding(out);
  steps_.add_moves(inputs, op.blocks, {out, target},
                   is_covered ? std::vector<float>() : spread({op.fill}, shape(o.output), out));
  define(o.output, {out, target});
}

void GradientForward::emit(const ReshapeOp& /*op*/) {
  const Operation& o = operation();
  define(o.output, {steps_.plain(shape(o.output)), value(o.inputs[0], steps_.plain(shape(o.inputs[0]))).buffer});
}

void GradientForward::emit(const ScaleShiftOp& op) {
  const Operation& o = operation();
  const Version in = value(o.inputs[0]);
  const std::size_t target = may_overwrite(in.buffer) ? in.buffer : steps_.new_buffer(in.descriptor);
  steps_.add_kernel(
      {{DNNL_ARG_SRC, in.buffer, in.descriptor}, {DNNL_ARG_DST, target, in.descriptor}},
      [scale = spread(op.scale, shape(o.output), in.descriptor),
       shift = spread(op.shift, shape(o.output), in.descriptor), batch = p_.batch](std::span<float* const> data) {
        for (Index n = 0; n < batch; ++n) {
          const float* from = data[0] + n * std::ssize(scale);
          float* to = data[1] + n * std::ssize(scale);
          for (std::size_t i = 0; i < scale.size(); ++i) to[i] = from[i] * scale[i] + shift[i];
        }
      });
  define(o.output, {in.descriptor, target});
}

}  // namespace quantbound::tensor::detail
