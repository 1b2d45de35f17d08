#include "quantbound/tensor/float_program.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

#include "float_program_parts.hpp"

namespace quantbound::tensor {

namespace {

using detail::AxisMove;
using detail::Operation;
using Value = FloatProgram::Value;

std::size_t index(Index i) { return static_cast<std::size_t>(i); }
Index number(Value value) { return static_cast<Index>(value); }

Shape pooled_shape(const Shape& in, const Window& window) {
  return {in.at(0), window.out_height(in.at(1)), window.out_width(in.at(2))};
}

/// The block that leaves every axis as it is.
std::vector<AxisMove> identity(const Shape& shape) {
  std::vector<AxisMove> axes;
  for (Index axis = 0; axis < std::ssize(shape); ++axis)
    axes.push_back({.in_axis = axis, .out_axis = axis, .count = shape[index(axis)]});
  return axes;
}

Value append(FloatProgram::Implementation& program, decltype(Operation::kind) kind, std::vector<Index> inputs,
             Shape shape) {
  const Index output = std::ssize(program.values);
  for (const Index input : inputs) QUANTBOUND_ASSERT(input >= 0 && input < output, input, output);
  program.values.push_back({.shape = std::move(shape), .versions = {}});
  program.operations.push_back({std::move(kind), std::move(inputs), output});
  return Value{output};
}

}  // namespace

FloatProgram::FloatProgram(Index batch, Index samples_at_once, Winograd winograd)
    : implementation_(std::make_unique<Implementation>()) {
  QUANTBOUND_ASSERT(batch > 0 && samples_at_once >= 0 && (samples_at_once == 0 || batch % samples_at_once == 0), batch,
                    samples_at_once);
  implementation_->batch = batch;
  implementation_->samples_at_once = samples_at_once;
  implementation_->winograd = winograd;
}

FloatProgram::~FloatProgram() = default;
FloatProgram::FloatProgram(FloatProgram&&) noexcept = default;
FloatProgram& FloatProgram::operator=(FloatProgram&&) noexcept = default;

const Shape& FloatProgram::shape(Value value) const { return implementation_->values.at(index(number(value))).shape; }

Value FloatProgram::input(const Shape& shape) {
  QUANTBOUND_ASSERT(implementation_->values.empty(), implementation_->values.size());
  implementation_->values.push_back({.shape = shape, .versions = {}});
  return Value{0};
}

Value FloatProgram::convolution(Value in, Index layer, const Convolution& geometry,
                                std::optional<PointFunction> function, std::optional<Value> summand) {
  std::vector<Index> inputs{number(in)};
  if (summand) inputs.push_back(number(*summand));
  return append(*implementation_, detail::ConvolutionOp{layer, geometry, function, summand.has_value()},
                std::move(inputs), {geometry.channels_out, geometry.out_height(), geometry.out_width()});
}

Value FloatProgram::dense(Value in, Index layer, Index outputs, std::optional<PointFunction> function) {
  return append(*implementation_, detail::DenseOp{layer, outputs, function}, {number(in)}, {outputs});
}

Value FloatProgram::pointwise(Value in, const PointFunction& function) {
  return append(*implementation_, detail::PointOp{function}, {number(in)}, shape(in));
}

Value FloatProgram::add(Value a, Value b, std::optional<PointFunction> function) {
  QUANTBOUND_ASSERT(shape(a) == shape(b), to_string(shape(a)), to_string(shape(b)));
  return append(*implementation_, detail::AddOp{function}, {number(a), number(b)}, shape(a));
}

Value FloatProgram::multiply(Value a, Value b) {
  if (elements(shape(a)) < elements(shape(b))) std::swap(a, b);
  return append(*implementation_, detail::MultiplyOp{}, {number(a), number(b)}, shape(a));
}

Value FloatProgram::max_pool(Value in, const Window& window) {
  return append(*implementation_, detail::PoolOp{dnnl::algorithm::pooling_max, window}, {number(in)},
                pooled_shape(shape(in), window));
}

Value FloatProgram::average_pool(Value in, const Window& window, Divisor divisor) {
  const auto algorithm = divisor == Divisor::window ? dnnl::algorithm::pooling_avg_include_padding
                                                    : dnnl::algorithm::pooling_avg_exclude_padding;
  return append(*implementation_, detail::PoolOp{algorithm, window}, {number(in)}, pooled_shape(shape(in), window));
}

Value FloatProgram::global_average_pool(Value in) {
  return average_pool(in, {.kernel_height = shape(in).at(1), .kernel_width = shape(in).at(2)}, Divisor::inside);
}

Value FloatProgram::concat(std::span<const Value> inputs, Index axis) {
  QUANTBOUND_ASSERT(!inputs.empty(), inputs.size());
  Shape out = shape(inputs.front());
  out.at(index(axis)) = 0;
  detail::MoveOp op{.blocks = {}, .fill = 0.0, .covers = true};
  std::vector<Index> numbers;
  for (const Value input : inputs) {
    op.blocks.push_back(identity(shape(input)));
    op.blocks.back()[index(axis)].out_start = out[index(axis)];
    out[index(axis)] += shape(input)[index(axis)];
    numbers.push_back(number(input));
  }
  return append(*implementation_, std::move(op), std::move(numbers), std::move(out));
}

Value FloatProgram::pad(Value in, std::span<const Index> before, std::span<const Index> after, double value) {
  Shape out = shape(in);
  std::vector<AxisMove> block = identity(out);
  for (std::size_t axis = 0; axis < out.size(); ++axis) {
    block[axis].out_start = before[axis];
    out[axis] += before[axis] + after[axis];
  }
  return append(*implementation_, detail::MoveOp{{std::move(block)}, value, false}, {number(in)}, std::move(out));
}

Value FloatProgram::slice(Value in, std::span<const Index> start, std::span<const Index> step,
                          std::span<const Index> count) {
  std::vector<AxisMove> block = identity(shape(in));
  for (std::size_t axis = 0; axis < block.size(); ++axis) {
    block[axis].in_start = start[axis];
    block[axis].in_step = step[axis];
    block[axis].count = count[axis];
  }
  return append(*implementation_, detail::MoveOp{{std::move(block)}, 0.0, true}, {number(in)},
                Shape(count.begin(), count.end()));
}

Value FloatProgram::permute(Value in, std::span<const Index> axes) {
  Shape out;
  std::vector<AxisMove> block;
  for (const Index axis : axes) {
    const Index extent = shape(in).at(index(axis));
    block.push_back({.in_axis = axis, .out_axis = std::ssize(out), .count = extent});
    out.push_back(extent);
  }
  return append(*implementation_, detail::MoveOp{{std::move(block)}, 0.0, true}, {number(in)}, std::move(out));
}

Value FloatProgram::reshape(Value in, const Shape& shape_out) {
  QUANTBOUND_ASSERT(elements(shape(in)) == elements(shape_out), to_string(shape(in)), to_string(shape_out));
  return append(*implementation_, detail::ReshapeOp{}, {number(in)}, shape_out);
}

Value FloatProgram::scale_shift(Value in, std::span<const double> scale, std::span<const double> shift) {
  return append(*implementation_, detail::ScaleShiftOp{{scale.begin(), scale.end()}, {shift.begin(), shift.end()}},
                {number(in)}, shape(in));
}

void FloatProgram::keep(Value value) { implementation_->values.at(index(number(value))).kept = true; }

void FloatProgram::output(Value value) {
  keep(value);
  implementation_->output = number(value);
}

void FloatProgram::compile() {
  QUANTBOUND_ASSERT(implementation_->output && implementation_->steps.empty(), implementation_->steps.size());
  const detail::SingleThread single;
  try {
    detail::compile(*implementation_);
  } catch (const dnnl::error& error) {
    throw core::Error(std::string("oneDNN cannot prepare the network: ") + error.what(), "float forward");
  }
}

FloatMemory FloatProgram::memory() const {
  const Implementation& program = *implementation_;
  QUANTBOUND_ASSERT(program.weight_layout, program.steps.size());
  constexpr auto bytes = static_cast<Index>(sizeof(float));
  return {.activations = program.arena_floats * bytes,
          .scratch = program.scratch_floats * bytes,
          .weights = program.weight_layout->floats * bytes};
}

FloatWeights FloatProgram::make_weights() const {
  QUANTBOUND_ASSERT(implementation_->weight_layout, implementation_->steps.size());
  return detail::make_weights(implementation_->weight_layout);
}

void FloatProgram::use(std::shared_ptr<const FloatWeights> weights) {
  QUANTBOUND_ASSERT(weights && implementation_->weight_layout, weights != nullptr);
  QUANTBOUND_ASSERT(same_layers(*weights->implementation_->layout, *implementation_->weight_layout),
                    implementation_->weight_layout->layers.size());
  implementation_->weights = std::move(weights);
  if (implementation_->arena) detail::bind_weights(*implementation_, *implementation_->weights->implementation_);
}

namespace {

void execute(FloatProgram::Implementation& program, const detail::Step& step, Index turn) {
  if (step.kernel) {
    const std::size_t which = std::min(index(turn), step.pointers.size() - 1);
    step.kernel(step.pointers[which], step.samples);
    return;
  }
  const auto& arguments = step.prepared[std::min(index(turn), step.prepared.size() - 1)];
  const dnnl_status_t status = dnnl_primitive_execute(step.primitive.get(), program.stream.get(),
                                                      static_cast<int>(arguments.size()), arguments.data());
  if (status != dnnl_success) throw core::Error("oneDNN failed with status " + std::to_string(status), "float forward");
}

/// Tells all that read the caller's samples where they are.
void set_input(FloatProgram::Implementation& program, std::span<const float> samples) {
  QUANTBOUND_ASSERT(std::ssize(samples) == program.batch * elements(program.values.front().shape), samples.size(),
                    program.batch);
  // oneDNN takes pointers that are not const; no step writes into the caller's samples.
  auto* data = const_cast<float*>(samples.data());
  for (const auto& external : program.external_memories) external.memory.set_data_handle(data + external.offset);
  for (const auto& external : program.external_pointers)
    program.steps[external.step].pointers[external.turn][external.argument] = data + external.offset;
}

/// Calls `visit(step, turn)` in the order of execution: steps of one pace turn by turn.
template <class Visit>
void for_each_execution(const FloatProgram::Implementation& program, const Visit& visit) {
  for (auto first = program.steps.begin(); first != program.steps.end();) {
    const Index at_once = first->samples;
    const auto last =
        std::find_if(first, program.steps.end(), [&](const auto& step) { return step.samples != at_once; });
    for (Index turn = 0; turn < program.batch / at_once; ++turn)
      for (auto step = first; step != last; ++step) visit(*step, turn);
    first = last;
  }
}

}  // namespace

void FloatProgram::prepare() {
  Implementation& program = *implementation_;
  QUANTBOUND_ASSERT(program.weight_layout, program.steps.size());
  QUANTBOUND_ASSERT(program.weights || program.weight_layout->floats == 0, program.weight_layout->floats);
  if (program.arena) return;
  detail::bind_memory(program);
  if (program.weights) detail::bind_weights(program, *program.weights->implementation_);
}

std::span<const float> FloatProgram::run(std::span<const float> samples) {
  const detail::SingleThread single;
  prepare();
  Implementation& program = *implementation_;
  set_input(program, samples);
  for_each_execution(program, [&](const detail::Step& step, Index turn) { execute(program, step, turn); });
  const detail::Buffer& buffer = program.buffers[program.result.buffer];
  return {program.arena.get() + buffer.offset, index(program.batch * buffer.sample_floats)};
}

std::vector<StepProfile> FloatProgram::profile(std::span<const float> samples, Index runs) {
  QUANTBOUND_ASSERT(runs > 0, runs);
  const detail::SingleThread single;
  prepare();
  Implementation& program = *implementation_;
  set_input(program, samples);
  std::vector<StepProfile> profiles;
  for (const detail::Step& step : program.steps) profiles.push_back(step.profile);

  std::vector<double> shortest;  // of every execution
  for (Index run = 0; run < runs; ++run) {
    std::size_t at = 0;
    for_each_execution(program, [&](const detail::Step& step, Index turn) {
      const auto begin = std::chrono::steady_clock::now();
      execute(program, step, turn);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      if (run == 0) shortest.push_back(seconds.count());
      shortest[at] = std::min(shortest[at], seconds.count());
      ++at;
    });
  }
  std::size_t at = 0;
  for_each_execution(program, [&](const detail::Step& step, Index) {
    profiles[static_cast<std::size_t>(&step - program.steps.data())].seconds += shortest[at++];
  });
  return profiles;
}

std::span<const float> FloatProgram::kept(Value value) const {
  const detail::ValueInfo& info = implementation_->values.at(index(number(value)));
  QUANTBOUND_ASSERT(info.kept && !info.versions.empty() && implementation_->arena, number(value), info.kept);
  const detail::Buffer& buffer = implementation_->buffers[info.versions.front().buffer];
  return {implementation_->arena.get() + buffer.offset, index(implementation_->batch * buffer.sample_floats)};
}

}  // namespace quantbound::tensor
