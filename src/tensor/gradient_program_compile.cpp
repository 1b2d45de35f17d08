// The way back of a gradient program: what the output's gradient makes of every value's, operator after operator.

#include <algorithm>
#include <utility>

#include "quantbound/core/assert.hpp"

#include "gradient_forward.hpp"
#include "gradient_kernels.hpp"

namespace quantbound::tensor::detail {

namespace {

using dnnl::prop_kind;

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

class GradientBackward {
 public:
  GradientBackward(GradientProgram::Implementation& program, GradientSteps& steps, GradientForward& forward)
      : p_(program),
        steps_(steps),
        forward_(forward),
        gradients_(program.shapes.size()),
        wanted_(program.shapes.size()) {}

  void run() {
    find_wanted();
    define_seed();
    for (std::size_t k = p_.operations.size(); k-- > 0;) {
      const Operation& operation = p_.operations[k];
      if (!gradients_[index(operation.output)]) continue;  // the output does not depend on it
      current_ = k;
      const Version g = take(operation.output);
      std::visit([&](const auto& op) { pass(op, operation, g); }, operation.kind);
    }
    define_result();
  }

 private:
  const Shape& shape(Index v) const { return p_.shapes[index(v)]; }
  Index& owners(std::size_t buffer) {
    owners_.resize(std::max(owners_.size(), buffer + 1), 0);
    return owners_[buffer];
  }

  /// Values on whose gradients something depends that was asked for.
  void find_wanted() {
    wanted_.front() = p_.derivatives != Derivatives::weights;
    for (const Operation& operation : p_.operations) {
      const bool has_weights = p_.derivatives != Derivatives::samples && reads_weights(operation);
      wanted_[index(operation.output)] = has_weights || std::any_of(operation.inputs.begin(), operation.inputs.end(),
                                                                    [&](Index v) { return wanted_[index(v)]; });
    }
  }

  /// It comes in while the forward values are there: in row-major order, or in the layout of the output.
  void define_seed() {
    const Descriptor plain = steps_.plain(shape(p_.output)), own = p_.own_result->descriptor;
    const auto enter = [&](const Descriptor& layout) {
      const std::size_t buffer = steps_.new_buffer(layout);
      steps_.touch(buffer, std::max<Index>(0, steps_.count() - 1));
      steps_.touch(buffer, steps_.count());
      return buffer;
    };
    steps_.touch(p_.own_result->buffer, steps_.count());
    p_.own_seed = {own, enter(own)};
    if (is_plain(own)) {
      p_.seed = p_.own_seed->buffer;
    } else {
      p_.seed = enter(plain);
      steps_.add_reorder({plain, p_.seed}, *p_.own_seed);
    }
    p_.own_turn = p_.steps.size();
    give(p_.output, *p_.own_seed);
  }

  void define_result() {
    if (p_.derivatives == Derivatives::weights) return;
    const Descriptor layout = steps_.plain(shape(0));
    if (gradients_.front()) {
      p_.gradient = steps_.in_layout(take(0), layout).buffer;
    } else {  // the output ignores the input
      p_.gradient = steps_.new_buffer(layout);
      steps_.add_kernel(
          {{DNNL_ARG_DST, p_.gradient, layout}},
          [size = p_.batch * elements(shape(0))](std::span<float* const> data) { std::fill_n(data[0], size, 0.0F); });
    }
    steps_.touch(p_.gradient, GradientSteps::never);
  }

  /// The gradient of a value that all its readers have given theirs. Its buffer may be written over if no other
  /// value's gradient lives there, too.
  Version take(Index v) {
    const Version g = *gradients_[index(v)];
    gradients_[index(v)].reset();
    --owners(g.buffer);
    return g;
  }
  std::size_t overwritten_or_new(const Version& g) {
    return owners(g.buffer) == 0 ? g.buffer : steps_.new_buffer(g.descriptor);
  }

  void give(Index v, Version g) {
    if (!wanted_[index(v)]) return;
    std::optional<Version>& sum = gradients_[index(v)];
    if (sum) {
      g = steps_.in_layout(g, sum->descriptor);
      --owners(sum->buffer);
      const std::size_t target = owners(sum->buffer) == 0 ? sum->buffer : overwritten_or_new(g);
      steps_.add_sum(*sum, g, target);
      g.buffer = target;
    }
    sum = g;
    ++owners(g.buffer);
  }

  /// To one of several: the buffer is not written over as long as others wait.
  void give_copy(Index v, const Version& g) {
    ++owners(g.buffer);
    give(v, g);
    --owners(g.buffer);
  }

  /// From the gradient of function(x) to that of x, in the layout of the value that the slope follows from.
  Version through(const PointFunction& function, const Version& g, const Version& value) {
    const Version here = steps_.in_layout(g, value.descriptor);
    const Version out{here.descriptor, overwritten_or_new(here)};
    steps_.add_kernel({{DNNL_ARG_SRC_0, value.buffer, value.descriptor},
                       {DNNL_ARG_SRC_1, here.buffer, here.descriptor},
                       {DNNL_ARG_DST, out.buffer, out.descriptor}},
                      [function, size = p_.batch * sample_size(here.descriptor)](std::span<float* const> data) {
                        multiply_by_slope(function, data[0], data[1], data[2], size);
                      });
    return out;
  }
  Version through_fused(const std::optional<PointFunction>& function, const Operation& o, const Version& g) {
    return function ? through(*function, g, forward_.value(o.output)) : g;
  }

  template <class Primitive, class PrimitiveDescriptor>
  Version add_layer_step(const PrimitiveDescriptor& descriptor, Index layer, const Version& g) {
    const Version here = steps_.in_layout(g, descriptor.diff_dst_desc());
    const Descriptor layout = descriptor.diff_src_desc();
    const Version out{layout, steps_.new_buffer(layout)};
    GradientStep& step = steps_.add_primitive<Primitive>(
        descriptor, {{DNNL_ARG_DIFF_DST, here.buffer, here.descriptor}, {DNNL_ARG_DIFF_SRC, out.buffer, layout}});
    step.layer = layer;
    step.direction = Direction::backward;
    forward_.layers()[index(layer)]->backward = descriptor.weights_desc();
    return out;
  }

  /// Of weights and bias: `x` is what the layer reads, in the primitive's layout, `given` the layout that is asked for.
  template <class Primitive, class PrimitiveDescriptor>
  void add_weights_step(const PrimitiveDescriptor& descriptor, Index layer, const Version& x, const Version& g,
                        const Descriptor& given) {
    const Version here = steps_.in_layout(g, descriptor.diff_dst_desc());
    const Descriptor chosen = descriptor.diff_weights_desc(), bias = descriptor.diff_bias_desc();
    Version weights{chosen, steps_.new_buffer(chosen)};
    const std::size_t bias_buffer = steps_.new_buffer(bias);
    steps_.add_primitive<Primitive>(descriptor, {{DNNL_ARG_SRC, x.buffer, x.descriptor},
                                                 {DNNL_ARG_DIFF_DST, here.buffer, here.descriptor},
                                                 {DNNL_ARG_DIFF_WEIGHTS, weights.buffer, chosen},
                                                 {DNNL_ARG_DIFF_BIAS, bias_buffer, bias}});
    if (chosen != given) {
      const Version plain{given, steps_.new_buffer(given)};
      steps_.add_reorder(weights, plain);
      weights = plain;
    }
    steps_.touch(weights.buffer, GradientSteps::never);
    steps_.touch(bias_buffer, GradientSteps::never);
    p_.weight_gradients.resize(std::max(p_.weight_gradients.size(), index(layer) + 1));
    p_.weight_gradients[index(layer)] = {weights.buffer, bias_buffer};
  }

  void pass(const ConvolutionOp& op, const Operation& o, Version g) {
    g = through_fused(op.function, o, g);
    if (op.has_summand) give_copy(o.inputs[1], g);
    if (p_.derivatives != Derivatives::samples) {
      const auto descriptor = convolution_backward_weights(op.geometry, p_.batch, attributes(), p_.engine,
                                                           p_.winograd(op.geometry, WeightsOf::derivatives));
      add_weights_step<dnnl::convolution_backward_weights>(descriptor, op.layer,
                                                           forward_.value(o.inputs[0], descriptor.src_desc()), g,
                                                           plain_weights(weight_dims(op.geometry)));
    }
    if (!wanted_[index(o.inputs[0])]) return;
    const auto descriptor = convolution_backward(op.geometry, p_.batch, attributes(), p_.engine,
                                                 p_.winograd(op.geometry, WeightsOf::values));
    give(o.inputs[0], add_layer_step<dnnl::convolution_backward_data>(descriptor, op.layer, g));
  }

  void pass(const DenseOp& op, const Operation& o, Version g) {
    g = through_fused(op.function, o, g);
    const DenseInput input = dense_input(shape(o.inputs[0]));
    if (p_.derivatives != Derivatives::samples) {
      const auto descriptor = dense_backward_weights(input, op.outputs, p_.batch, p_.engine);
      const Version x =
          forward_.value(o.inputs[0], input.as_image ? descriptor.src_desc() : steps_.plain(shape(o.inputs[0])));
      add_weights_step<dnnl::inner_product_backward_weights>(descriptor, op.layer, {descriptor.src_desc(), x.buffer}, g,
                                                             plain_weights(weight_dims(input, op.outputs)));
    }
    if (!wanted_[index(o.inputs[0])]) return;
    const auto descriptor = dense_backward(input, op.outputs, p_.batch, p_.engine);
    Version in = add_layer_step<dnnl::inner_product_backward_data>(descriptor, op.layer, g);
    if (!input.as_image) in.descriptor = steps_.plain(shape(o.inputs[0]));
    give(o.inputs[0], in);
  }

  void pass(const PointOp& op, const Operation& o, const Version& g) {
    const Index source = slope_follows_from_output(op.function) ? o.output : o.inputs[0];
    give(o.inputs[0], through(op.function, g, forward_.value(source)));
  }

  void pass(const AddOp& op, const Operation& o, Version g) {
    g = through_fused(op.function, o, g);
    give_copy(o.inputs[0], g);
    give(o.inputs[1], g);
  }

  void pass(const MultiplyOp& /*op*/, const Operation& o, const Version& g) {
    const Version a = forward_.value(o.inputs[0]), here = steps_.in_layout(g, a.descriptor);
    const bool same = shape(o.inputs[0]) == shape(o.inputs[1]);
    const Descriptor factor = same ? a.descriptor : same_kind(a.descriptor, p_.batch, shape(o.inputs[1]));
    const Version b = forward_.value(o.inputs[1], factor), to_b{factor, steps_.new_buffer(factor)};
    if (same) {
      steps_.add_product(here, a, to_b.buffer);
    } else {
      add_sum_over_pixels(a, here, to_b);
    }
    const Version to_a{a.descriptor, overwritten_or_new(here)};
    steps_.add_product(here, b, to_a.buffer);
    give(o.inputs[0], to_a);
    give(o.inputs[1], to_b);
  }

  void add_sum_over_pixels(const Version& a, const Version& g, const Version& out) {
    steps_.add_kernel(
        {{DNNL_ARG_SRC_0, a.buffer, a.descriptor},
         {DNNL_ARG_SRC_1, g.buffer, g.descriptor},
         {DNNL_ARG_DST, out.buffer, out.descriptor}},
        [sum = ProductOverPixels(a.descriptor, out.descriptor), batch = p_.batch, size = sample_size(a.descriptor),
         out_size = sample_size(out.descriptor)](std::span<float* const> data) {
          for (Index n = 0; n < batch; ++n) sum(data[0] + n * size, data[1] + n * size, data[2] + n * out_size);
        });
  }

  void pass(const PoolOp& op, const Operation& o, const Version& g) {
    const Window& w = op.window;
    const Descriptor in = forward_.value(o.inputs[0]).descriptor;
    const auto there = pooling_forward(op, in, shape(o.output), p_.engine);
    const dnnl::pooling_v2_backward::primitive_desc descriptor(
        {op.algorithm, in, there.dst_desc(), strides_of(w), Dims{w.kernel_height, w.kernel_width}, dilations_of(w),
         pads_before(w), pads_after(w)},
        attributes(), p_.engine, there);
    const Version here = steps_.in_layout(g, descriptor.diff_dst_desc());
    const Version out{descriptor.diff_src_desc(), steps_.new_buffer(descriptor.diff_src_desc())};
    std::vector<Argument> arguments{{DNNL_ARG_DIFF_DST, here.buffer, here.descriptor},
                                    {DNNL_ARG_DIFF_SRC, out.buffer, out.descriptor}};
    if (const auto& workspace = forward_.workspace(current_))
      arguments.push_back({DNNL_ARG_WORKSPACE, workspace->buffer, workspace->descriptor});
    steps_.add_primitive<dnnl::pooling_v2_backward>(descriptor, std::move(arguments));
    give(o.inputs[0], out);
  }

  void pass(const MoveOp& op, const Operation& o, const Version& g) {
    for (std::size_t i = 0; i < o.inputs.size(); ++i) {
      std::vector<AxisMove> back;
      for (const AxisMove& move : op.blocks[i]) back.push_back(reversed(move));
      const Descriptor layout = forward_.value(o.inputs[i]).descriptor;
      const Version out{layout, steps_.new_buffer(layout)};
      steps_.add_moves(std::span(&g, 1), std::span(&back, 1), out,
                       std::vector<float>(index(sample_size(layout)), 0.0F));
      give(o.inputs[i], out);
    }
  }

  void pass(const ReshapeOp& /*op*/, const Operation& o, const Version& g) {
    const Version here = steps_.in_layout(g, steps_.plain(shape(o.output)));
    give(o.inputs[0], {steps_.plain(shape(o.inputs[0])), here.buffer});
  }

  void pass(const ScaleShiftOp& op, const Operation& o, const Version& g) {
    const Version out{g.descriptor, overwritten_or_new(g)};
    steps_.add_kernel(
        {{DNNL_ARG_SRC, g.buffer, g.descriptor}, {DNNL_ARG_DST, out.buffer, out.descriptor}},
        [scale = spread(op.scale, shape(o.output), g.descriptor), batch = p_.batch](std::span<float* const> data) {
          for (Index n = 0; n < batch; ++n) {
            const float* from = data[0] + n * std::ssize(scale);
            float* to = data[1] + n * std::ssize(scale);
            const float* factor = scale.data();
#pragma omp simd
            for (Index i = 0; i < std::ssize(scale); ++i) to[i] = from[i] * factor[i];
          }
        });
    give(o.inputs[0], out);
  }

  GradientProgram::Implementation& p_;
  GradientSteps& steps_;
  GradientForward& forward_;
  std::vector<std::optional<Version>> gradients_;  ///< of every value, summed up so far
  std::vector<Index> owners_;                      ///< values whose gradient lives in a buffer
  std::vector<bool> wanted_;                       ///< of every value
  std::size_t current_ = 0;
};

}  // namespace

namespace {

/// Whether anything but reorders has to do with the copy of the samples.
bool uses_samples(const GradientProgram::Implementation& program) {
  const auto uses = [&](const GradientStep& step) {
    return !step.from_caller && std::any_of(step.arguments.begin(), step.arguments.end(),
                                            [&](const Argument& a) { return a.buffer == program.samples; });
  };
  return program.own_result->buffer == program.samples || std::any_of(program.steps.begin(), program.steps.end(), uses);
}

}  // namespace

void compile(GradientProgram::Implementation& program) {
  GradientSteps steps(program);
  GradientForward forward(program, steps);
  forward.run();
  program.turn = program.steps.size();
  GradientBackward(program, steps, forward).run();
  program.copies_samples = uses_samples(program);
  if (program.copies_samples)  // and may write over them: then reorders must read what is there
    for (GradientStep& step : program.steps) step.from_caller.reset();
  steps.plan_memory();
  program.weight_layout = place_layers(program.engine, std::move(forward.layers()));
}

}  // namespace quantbound::tensor::detail
