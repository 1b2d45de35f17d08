// From operators to steps: layouts, primitives, buffers.

#include <algorithm>
#include <limits>
#include <utility>

#include "quantbound/core/assert.hpp"

#include "arena.hpp"
#include "float_primitives.hpp"
#include "float_program_parts.hpp"
#include "pace.hpp"
#include "pairwise.hpp"

namespace quantbound::tensor::detail {

namespace {

using dnnl::algorithm;
using dnnl::prop_kind;

constexpr Index never = std::numeric_limits<Index>::max();

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

Index bytes_per_sample(const Descriptor& descriptor) {
  return sample_size(descriptor) * static_cast<Index>(sizeof(float));
}

class Compiler {
 public:
  explicit Compiler(FloatProgram::Implementation& program) : p_(program) {}

  void run() {
    choose_samples();
    find_lifetimes();
    define_input();
    for (current_ = 0; current_ < std::ssize(p_.operations); ++current_)
      std::visit([&](const auto& op) { emit(op, operation()); }, operation().kind);
    define_result();
    plan_memory();
    p_.weight_layout = place_layers(p_.engine, std::move(layers_));
  }

 private:
  const Operation& operation() const { return p_.operations[index(current_)]; }
  ValueInfo& value(Index v) { return p_.values[index(v)]; }
  /// Samples that the current operator takes at once.
  Index batch() const { return current_ == std::ssize(p_.operations) ? p_.batch : operation().samples; }
  Buffer& buffer(std::size_t id) { return p_.buffers[id]; }

  void find_lifetimes() {
    std::vector<Index> written_by(p_.values.size(), p_.batch);  // in samples at once
    for (std::size_t k = 0; k < p_.operations.size(); ++k) {
      const Operation& op = p_.operations[k];
      written_by[index(op.output)] = op.samples;
      for (const Index input : op.inputs) {
        value(input).last_reader = static_cast<Index>(k);
        value(input).whole_batch |= op.samples != written_by[index(input)];
      }
    }
    for (ValueInfo& info : p_.values) {
      info.whole_batch |= info.kept;
      if (info.kept) info.last_reader = never;
    }
  }

  Index value_bytes(Index v) const { return elements(p_.values[index(v)].shape) * static_cast<Index>(sizeof(float)); }

  static Index weight_bytes(const Operation& o, const Shape& in) {
    Index floats = 0;
    if (const auto* convolution = std::get_if<ConvolutionOp>(&o.kind)) floats = convolution->geometry.weight_count();
    if (const auto* dense = std::get_if<DenseOp>(&o.kind)) floats = dense->outputs * elements(in);
    return floats * static_cast<Index>(sizeof(float));
  }

  /// What each operator moves.
  std::vector<Traffic> traffic() const {
    std::vector<Traffic> all(p_.operations.size());
    std::vector<Index> made_by(p_.values.size(), -1), last_reader(p_.values.size(), -1);
    for (std::size_t k = 0; k < all.size(); ++k) {
      const Operation& o = p_.operations[k];
      all[k].activations = value_bytes(o.output);
      for (const Index input : o.inputs) {
        all[k].activations += value_bytes(input);
        last_reader[index(input)] = static_cast<Index>(k);
      }
      all[k].weights = weight_bytes(o, p_.values[index(o.inputs.front())].shape);
      made_by[index(o.output)] = static_cast<Index>(k);
    }
    for (Index v = 1; v < std::ssize(p_.values); ++v)  // the input is there for the whole batch anyway
      for (Index k = made_by[index(v)] + 1; k <= last_reader[index(v)]; ++k) all[index(k)].alive += value_bytes(v);
    return all;
  }

  void choose_samples() {
    const std::vector<Index> pace = p_.samples_at_once > 0
                                        ? std::vector<Index>(p_.operations.size(), p_.samples_at_once)
                                        : choose_pace(traffic(), p_.batch);
    for (std::size_t k = 0; k < pace.size(); ++k) p_.operations[k].samples = pace[k];
  }

  std::size_t new_buffer(const Descriptor& descriptor, bool whole_batch) {
    QUANTBOUND_ASSERT(batch_is_outermost(descriptor), descriptor.data.ndims);
    p_.buffers.push_back({.sample_floats = sample_size(descriptor),
                          .samples = whole_batch ? p_.batch : batch(),
                          .whole_batch = whole_batch});
    return p_.buffers.size() - 1;
  }

  void define_input() {
    const Descriptor descriptor = plain_descriptor(p_.batch, value(0).shape);
    const std::size_t id = new_buffer(descriptor, true);
    buffer(id).external = true;
    value(0).versions.push_back({descriptor, id});
  }

  /// Binds a value to the buffer that its operator has written.
  void define(Index v, const Descriptor& descriptor, std::size_t id) {
    value(v).versions.push_back({descriptor, id});
    buffer(id).last_reader = std::max(buffer(id).last_reader, value(v).last_reader);
    buffer(id).kept |= value(v).kept;
  }

  std::size_t output_buffer(const Descriptor& descriptor) {
    return new_buffer(descriptor, value(operation().output).whole_batch);
  }

  /// Whether the operator may write its output over what it reads from this buffer.
  bool may_overwrite(std::size_t id) const {
    const Buffer& target = p_.buffers[id];
    const ValueInfo& out = p_.values[index(operation().output)];
    return !target.external && !target.kept && !out.kept && target.last_reader <= current_ &&
           target.whole_batch == out.whole_batch && (target.whole_batch || target.samples == batch());
  }

  Descriptor first_layout(Index v) { return with_batch(value(v).versions.front().descriptor, batch()); }

  /// The value in this layout, converted if it does not exist in it.
  Version in_layout(Index v, const Descriptor& wanted) {
    for (const Version& version : value(v).versions) {
      const bool reachable = buffer(version.buffer).whole_batch || buffer(version.buffer).samples == batch();
      const Descriptor here = with_batch(version.descriptor, batch());
      if (reachable && (here == wanted || (is_plain(here) && is_plain(wanted)))) return {wanted, version.buffer};
    }
    const Version source{first_layout(v), value(v).versions.front().buffer};
    const Version converted{wanted, new_buffer(wanted, false)};
    add_reorder(source, converted);
    buffer(converted.buffer).last_reader = value(v).last_reader;
    value(v).versions.push_back(converted);
    return converted;
  }

  Step& add_step(StepKind kind, std::vector<Argument> arguments) {
    const Index at = std::ssize(p_.steps);
    Step& step = p_.steps.emplace_back();
    step.profile.kind = kind;
    step.samples = batch();
    for (const Argument& argument : arguments) {
      Buffer& used = buffer(argument.buffer);
      if (used.first_step < 0) used.first_step = at;
      used.last_step = at;
      const Index bytes = p_.batch * bytes_per_sample(argument.descriptor);
      step.profile.activation_bytes += bytes;
      if (used.external || (used.whole_batch && step.samples < p_.batch)) step.profile.whole_batch_bytes += bytes;
    }
    step.arguments = std::move(arguments);
    return step;
  }

  template <class Primitive, class PrimitiveDescriptor>
  Step& add_primitive(StepKind kind, const PrimitiveDescriptor& descriptor, std::vector<Argument> arguments) {
    Step& step = add_step(kind, std::move(arguments));
    step.primitive = Primitive(descriptor);
    step.scratchpad = descriptor.scratchpad_desc();
    step.profile.implementation = descriptor.impl_info_str();
    return step;
  }

  void add_reorder(const Version& from, const Version& to) {
    const dnnl::reorder::primitive_desc descriptor(p_.engine, from.descriptor, p_.engine, to.descriptor, attributes());
    add_primitive<dnnl::reorder>(
        StepKind::move, descriptor,
        {{DNNL_ARG_FROM, from.buffer, from.descriptor}, {DNNL_ARG_TO, to.buffer, to.descriptor}});
  }

  void add_layer(Step& step, Index layer, const Dims& weights, const Descriptor& chosen, const Descriptor& bias) {
    if (std::ssize(layers_) <= layer) layers_.resize(index(layer) + 1);
    QUANTBOUND_ASSERT(!layers_[index(layer)], layer);
    layers_[index(layer)] = LayerLayout{plain_weights(weights), chosen, bias};
    step.profile.layer = layer;
    step.profile.weight_bytes = p_.batch / step.samples * static_cast<Index>(chosen.get_size() + bias.get_size());
  }

  /// A buffer that holds the summand in this layout and may be written over.
  std::size_t summand_buffer(Index summand, const Descriptor& layout, std::size_t other_input) {
    const Version version = in_layout(summand, layout);
    if (version.buffer != other_input && may_overwrite(version.buffer)) return version.buffer;
    const std::size_t copy = output_buffer(layout);
    add_reorder(version, {layout, copy});
    return copy;
  }

  void emit(const ConvolutionOp& op, const Operation& o) {
    const auto descriptor = convolution_forward(prop_kind::forward_inference, op.geometry, batch(),
                                                attributes(op.function, op.has_summand), p_.engine, p_.winograd);
    const Version in = in_layout(o.inputs[0], descriptor.src_desc());
    const Descriptor out = descriptor.dst_desc();
    const std::size_t target = op.has_summand ? summand_buffer(o.inputs[1], out, in.buffer) : output_buffer(out);
    Step& step = add_primitive<dnnl::convolution_forward>(
        StepKind::convolution, descriptor, {{DNNL_ARG_SRC, in.buffer, in.descriptor}, {DNNL_ARG_DST, target, out}});
    add_layer(step, op.layer, weight_dims(op.geometry), descriptor.weights_desc(), descriptor.bias_desc());
    step.profile.geometry = op.geometry;
    step.profile.multiply_adds = p_.batch * op.geometry.multiply_adds();
    if (op.has_summand) step.profile.activation_bytes += p_.batch * bytes_per_sample(out);  // read and written
    define(o.output, out, target);
  }

  void emit(const DenseOp& op, const Operation& o) {
    const Shape& shape = value(o.inputs[0]).shape;
    const DenseInput input = dense_input(shape);
    const auto descriptor = dense_forward(prop_kind::forward_inference, input, op.outputs, batch(),
                                          attributes(op.function, false), p_.engine);

    const std::size_t in = input.as_image ? in_layout(o.inputs[0], descriptor.src_desc()).buffer
                                          : in_layout(o.inputs[0], plain_descriptor(batch(), shape)).buffer;
    const std::size_t target = output_buffer(descriptor.dst_desc());
    Step& step = add_primitive<dnnl::inner_product_forward>(
        StepKind::dense, descriptor,
        {{DNNL_ARG_SRC, in, descriptor.src_desc()}, {DNNL_ARG_DST, target, descriptor.dst_desc()}});
    add_layer(step, op.layer, weight_dims(input, op.outputs), descriptor.weights_desc(), descriptor.bias_desc());
    step.profile.multiply_adds = p_.batch * op.outputs * elements(shape);
    define(o.output, descriptor.dst_desc(), target);
  }

  void emit(const PointOp& op, const Operation& o) {
    const Descriptor layout = first_layout(o.inputs[0]);
    const std::size_t source = in_layout(o.inputs[0], layout).buffer;
    const std::size_t target = may_overwrite(source) ? source : output_buffer(layout);
    add_pointwise(op.function, layout, source, target);
    define(o.output, layout, target);
  }

  void add_pointwise(const PointFunction& function, const Descriptor& layout, std::size_t source, std::size_t target) {
    for (const Eltwise& e : eltwise_chain(function)) {
      const dnnl::eltwise_forward::primitive_desc descriptor(
          {prop_kind::forward_inference, e.kind, layout, e.alpha, e.beta}, attributes(), p_.engine);
      add_primitive<dnnl::eltwise_forward>(StepKind::elementwise, descriptor,
                                           {{DNNL_ARG_SRC, source, layout}, {DNNL_ARG_DST, target, layout}});
      source = target;
    }
  }

  void emit_pair(PairOperation kind, const Version& a, const Version& b, const std::optional<PointFunction>& function) {
    const std::size_t target = may_overwrite(a.buffer) ? a.buffer : output_buffer(a.descriptor);
    const std::vector<Argument> arguments{{DNNL_ARG_SRC_0, a.buffer, a.descriptor},
                                          {DNNL_ARG_SRC_1, b.buffer, b.descriptor},
                                          {DNNL_ARG_DST, target, a.descriptor}};
    if (has_padding(a.descriptor)) {
      add_step(StepKind::elementwise, arguments).kernel =
          [pair = Pairwise(kind, a.descriptor, b.descriptor), a_size = sample_size(a.descriptor),
           b_size = sample_size(b.descriptor)](std::span<float* const> data, Index samples) {
            for (Index n = 0; n < samples; ++n) pair(data[0] + n * a_size, data[1] + n * b_size, data[2] + n * a_size);
          };
      if (function) add_pointwise(*function, a.descriptor, target, target);
    } else {
      const auto algorithm_of_kind = kind == PairOperation::sum ? algorithm::binary_add : algorithm::binary_mul;
      const dnnl::binary::primitive_desc descriptor({algorithm_of_kind, a.descriptor, b.descriptor, a.descriptor},
                                                    attributes(function, false), p_.engine);
      add_primitive<dnnl::binary>(StepKind::elementwise, descriptor, arguments);
    }
    define(operation().output, a.descriptor, target);
  }

  void emit(const AddOp& op, const Operation& o) {
    const Descriptor first = first_layout(o.inputs[0]), second = first_layout(o.inputs[1]);
    const Descriptor layout = is_plain(first) ? second : first;
    Version a = in_layout(o.inputs[0], layout), b = in_layout(o.inputs[1], layout);
    if (!may_overwrite(a.buffer) && may_overwrite(b.buffer)) std::swap(a, b);
    emit_pair(PairOperation::sum, a, b, op.function);
  }

  void emit(const MultiplyOp&, const Operation& o) {
    const Descriptor layout = first_layout(o.inputs[0]);
    const Version a = in_layout(o.inputs[0], layout);
    const bool same = value(o.inputs[0]).shape == value(o.inputs[1]).shape;
    const Version b = in_layout(o.inputs[1], same ? layout : same_kind(layout, batch(), value(o.inputs[1]).shape));
    emit_pair(PairOperation::product, a, b, {});
  }

  void emit(const PoolOp& op, const Operation& o) {
    const Window& w = op.window;
    const Descriptor in = first_layout(o.inputs[0]), any = any_descriptor(batch(), value(o.output).shape);
    const Dims kernel{w.kernel_height, w.kernel_width};
    const auto add = [&](const auto& descriptor, auto primitive) {
      const std::size_t source = in_layout(o.inputs[0], in).buffer, target = output_buffer(descriptor.dst_desc());
      add_primitive<decltype(primitive)>(StepKind::pooling, descriptor,
                                         {{DNNL_ARG_SRC, source, in}, {DNNL_ARG_DST, target, descriptor.dst_desc()}});
      define(o.output, descriptor.dst_desc(), target);
    };
    if (w.dilation_height == 1 && w.dilation_width == 1) {
      add(dnnl::pooling_forward::primitive_desc({prop_kind::forward_inference, op.algorithm, in, any, strides_of(w),
                                                 kernel, pads_before(w), pads_after(w)},
                                                attributes(), p_.engine),
          dnnl::pooling_forward());
    } else {
      add(dnnl::pooling_v2_forward::primitive_desc({prop_kind::forward_inference, op.algorithm, in, any, strides_of(w),
                                                    kernel, dilations_of(w), pads_before(w), pads_after(w)},
                                                   attributes(), p_.engine),
          dnnl::pooling_v2_forward());
    }
  }

  void emit(const MoveOp& op, const Operation& o) {
    Descriptor like = first_layout(o.inputs[0]);
    for (const Index input : o.inputs)
      if (is_plain(like)) like = first_layout(input);
    const Descriptor out = same_kind(like, batch(), value(o.output).shape);

    std::vector<Mover> movers;
    std::vector<Index> sizes;
    std::vector<Argument> arguments;
    for (std::size_t i = 0; i < o.inputs.size(); ++i) {
      const Version in = in_layout(o.inputs[i], first_layout(o.inputs[i]));
      movers.emplace_back(op.blocks[i], in.descriptor, out);
      sizes.push_back(sample_size(in.descriptor));
      arguments.push_back({DNNL_ARG_SRC, in.buffer, in.descriptor});
    }
    const std::size_t target = output_buffer(out);
    arguments.push_back({DNNL_ARG_DST, target, out});

    add_step(StepKind::move, std::move(arguments)).kernel =
        [movers = std::move(movers), sizes = std::move(sizes), out_size = sample_size(out),
         background = background_of(op, out)](std::span<float* const> data, Index samples) {
          for (Index n = 0; n < samples; ++n) {
            float* sample = data.back() + n * out_size;
            if (!background.empty()) std::copy(background.begin(), background.end(), sample);
            for (std::size_t i = 0; i < movers.size(); ++i) movers[i](data[i] + n * sizes[i], sample);
          }
        };
    define(o.output, out, target);
  }

  /// What a sample holds before the blocks come in: the padding value inside the shape, zeros in the layout's own
  /// padding. Empty where the blocks cover all.
  std::vector<float> background_of(const MoveOp& op, const Descriptor& out) {
    if (op.covers && !has_padding(out)) return {};
    return spread({op.fill}, value(operation().output).shape, out);
  }

  void emit(const ReshapeOp&, const Operation& o) {
    const Version in = in_layout(o.inputs[0], plain_descriptor(batch(), value(o.inputs[0]).shape));
    const ValueInfo& out = value(o.output);
    const Descriptor layout = plain_descriptor(batch(), out.shape);
    const Buffer& source = buffer(in.buffer);
    if ((!out.whole_batch || source.whole_batch) && !(out.kept && source.external)) {
      define(o.output, layout, in.buffer);
    } else {
      const std::size_t copy = output_buffer(layout);
      add_reorder(in, {in.descriptor, copy});
      define(o.output, layout, copy);
    }
  }

  void emit(const ScaleShiftOp& op, const Operation& o) {
    const Descriptor layout = first_layout(o.inputs[0]);
    const std::size_t source = in_layout(o.inputs[0], layout).buffer;
    const std::size_t target = may_overwrite(source) ? source : output_buffer(layout);
    const Shape& shape = value(o.output).shape;
    add_step(StepKind::elementwise, {{DNNL_ARG_SRC, source, layout}, {DNNL_ARG_DST, target, layout}}).kernel =
        [scale = spread(op.scale, shape, layout), shift = spread(op.shift, shape, layout)](std::span<float* const> data,
                                                                                           Index samples) {
          for (Index n = 0; n < samples; ++n) {
            const float* in = data[0] + n * std::ssize(scale);
            float* out = data[1] + n * std::ssize(scale);
            for (std::size_t i = 0; i < scale.size(); ++i) out[i] = in[i] * scale[i] + shift[i];
          }
        };
    define(o.output, layout, target);
  }

  void define_result() {  // current_ is behind the last operator: the whole batch
    const Index v = *p_.output;
    const Descriptor plain = plain_descriptor(p_.batch, value(v).shape);
    Version version = in_layout(v, plain);
    if (buffer(version.buffer).external) {
      const Version copy{plain, new_buffer(plain, false)};
      add_reorder(version, copy);
      version = copy;
    }
    buffer(version.buffer).kept = true;
    p_.result = version;
  }

  /// The first and the last step of the part of the program that runs at the pace of this step.
  std::pair<Index, Index> part_of(Index step) const {
    const auto same_pace = [&](Index other) { return p_.steps[index(other)].samples == p_.steps[index(step)].samples; };
    Index first = step, last = step;
    while (first > 0 && same_pace(first - 1)) --first;
    while (last + 1 < std::ssize(p_.steps) && same_pace(last + 1)) ++last;
    return {first, last};
  }

  Lifetime lifetime(const Buffer& b) const {
    const Index size = b.sample_floats * b.samples;
    if (b.kept) return {size, 0, never};
    // Turns come back to what belongs to the whole batch.
    if (b.whole_batch) return {size, part_of(b.first_step).first, part_of(b.last_step).second};
    return {size, b.first_step, b.last_step};
  }

  void plan_memory() {
    std::vector<Lifetime> lifetimes;
    std::vector<std::size_t> ids;
    for (std::size_t id = 0; id < p_.buffers.size(); ++id) {
      if (p_.buffers[id].external || p_.buffers[id].first_step < 0) continue;
      lifetimes.push_back(lifetime(p_.buffers[id]));
      ids.push_back(id);
    }
    std::size_t scratch = 0;
    for (const Step& step : p_.steps)
      if (step.scratchpad) scratch = std::max(scratch, step.scratchpad->get_size());
    const ArenaPlan plan = plan_arena(lifetimes, floats_per_line);
    p_.arena_floats = plan.size;
    p_.scratch_floats = static_cast<Index>((scratch + sizeof(float) - 1) / sizeof(float));
    for (std::size_t i = 0; i < ids.size(); ++i) buffer(ids[i]).offset = plan.offsets[i];
  }

  FloatProgram::Implementation& p_;
  Index current_ = 0;  ///< the operation being compiled
  std::vector<std::optional<LayerLayout>> layers_;
};

}  // namespace

void compile(FloatProgram::Implementation& program) { Compiler(program).run(); }

}  // namespace quantbound::tensor::detail
