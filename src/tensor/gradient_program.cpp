#include "quantbound/tensor/gradient_program.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

#include "gradient_kernels.hpp"
#include "gradient_program_parts.hpp"

namespace quantbound::tensor {

namespace {

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

/// Takes the planned memory and tells every step where its arguments lie.
void bind_memory(GradientProgram::Implementation& program) {
  program.arena = detail::aligned_floats(program.arena_floats);
  program.scratchpad = detail::aligned_floats(program.scratch_floats);
  for (detail::GradientStep& step : program.steps) {
    const auto prepare = [&](int name, const detail::Descriptor& descriptor, float* data) {
      program.memories.emplace_back(descriptor, program.engine, data);
      step.prepared.push_back({name, program.memories.back().get()});
    };
    for (const detail::Argument& argument : step.arguments) {
      float* data = program.data(argument.buffer).data();
      if (step.kernel) {
        step.pointers.push_back(data);
      } else {
        prepare(argument.name, argument.descriptor, data);
      }
    }
    if (step.scratchpad && step.scratchpad->get_size() > 0)
      prepare(DNNL_ARG_SCRATCHPAD, *step.scratchpad, program.scratchpad.get());
    if (!step.layer) continue;
    step.prepared.push_back({DNNL_ARG_WEIGHTS, nullptr});
    if (step.direction == detail::Direction::forward) step.prepared.push_back({DNNL_ARG_BIAS, nullptr});
  }
}

void bind_weights(GradientProgram::Implementation& program, const FloatWeights::Implementation& weights) {
  for (detail::GradientStep& step : program.steps) {
    if (!step.layer) continue;
    const detail::LayerMemory& memory = weights.layers[index(*step.layer)];
    if (step.direction == detail::Direction::forward) {
      step.prepared.end()[-2].memory = memory.weights.get();
      step.prepared.end()[-1].memory = memory.bias.get();
    } else {
      step.prepared.back().memory = memory.backward.get();
    }
  }
}

/// Before the first run. @pre weights are in use (nullptr: none are read)
void take_memory(GradientProgram::Implementation& program, const FloatWeights::Implementation* weights) {
  if (program.arena) return;
  bind_memory(program);
  if (weights != nullptr) bind_weights(program, *weights);
}

/// The step from the caller's samples instead of the copy of them.
void reorder_samples(GradientProgram::Implementation& program, detail::GradientStep& step,
                     std::span<const float* const> samples) {
  float* sample = program.data(step.arguments.back().buffer).data();
  for (const float* from : samples) {
    (*step.from_caller)(from, sample);
    sample += step.sample_floats;
  }
}

/// Reorders of the samples read them at the caller's, where that tells where they are.
void execute(GradientProgram::Implementation& program, std::size_t first, std::size_t last,
             std::span<const float* const> samples = {}) {
  for (std::size_t s = first; s < last; ++s) {
    detail::GradientStep& step = program.steps[s];
    if (step.from_caller && !samples.empty()) {
      reorder_samples(program, step, samples);
      continue;
    }
    if (step.kernel) {
      step.kernel(step.pointers);
      continue;
    }
    const dnnl_status_t status = dnnl_primitive_execute(step.primitive.get(), program.stream.get(),
                                                        static_cast<int>(step.prepared.size()), step.prepared.data());
    if (status != dnnl_success)
      throw core::Error("oneDNN failed with status " + std::to_string(status), "float gradient");
  }
}

detail::FitRoom make_fit_room(const GradientProgram::Implementation& program) {
  const detail::Descriptor& own = program.own_result->descriptor;
  const detail::Descriptor plain = detail::plain_descriptor(program.batch, program.shapes[index(program.output)]);
  const Index size = detail::sample_size(own);
  detail::FitRoom room{size, {}, detail::aligned_floats(size), detail::aligned_floats(size)};
  if (!detail::is_plain(own))
    room.reorder.emplace(program.engine, detail::with_batch(plain, 1), detail::with_batch(own, 1));
  return room;
}

void copy_samples(GradientProgram::Implementation& program, std::span<const float* const> samples) {
  const Index size = elements(program.shapes.front());
  float* to = program.data(program.samples).data();
  for (const float* from : samples) to = std::copy_n(from, size, to);
}

/// The seed of the way back, and the error. Targets and weights come into the layout of the output sample by sample.
double squared_error(GradientProgram::Implementation& program, const FitSamples& samples, double factor) {
  detail::FitRoom& room = *program.fit_room;
  const auto in_layout = [&](const float* from, float* to) -> const float* {
    if (!room.reorder) return from;
    (*room.reorder)(from, to);
    return to;
  };
  const Index size = room.sample_floats;
  const float* values = program.data(program.own_result->buffer).data();
  float* seed = program.data(program.own_seed->buffer).data();
  double sum = 0.0;
  for (std::size_t s = 0; s < samples.targets.size(); ++s) {
    const float* targets = in_layout(samples.targets[s], room.targets.get());
    const float* weights = samples.weights.empty() ? nullptr : in_layout(samples.weights[s], room.weights.get());
    sum += detail::pull_squared_error(values, targets, weights, static_cast<float>(2.0 * factor), seed, size);
    values += size;
    seed += size;
  }
  return sum;
}

std::optional<detail::WeightGradient> gradient_of(const GradientProgram::Implementation& program, Index layer) {
  QUANTBOUND_ASSERT(program.derivatives != Derivatives::samples, layer);
  QUANTBOUND_ASSERT(program.arena != nullptr, layer);
  if (index(layer) >= program.weight_gradients.size()) return {};
  return program.weight_gradients[index(layer)];
}

}  // namespace

GradientProgram::GradientProgram(const FloatProgram& operators, Derivatives derivatives)
    : implementation_(std::make_unique<Implementation>()) {
  const FloatProgram::Implementation& source = *operators.implementation_;
  QUANTBOUND_ASSERT(source.output && source.steps.empty(), source.steps.size());
  implementation_->batch = source.batch;
  implementation_->derivatives = derivatives;
  implementation_->operations = source.operations;
  for (const detail::ValueInfo& value : source.values) implementation_->shapes.push_back(value.shape);
  implementation_->output = *source.output;
  const detail::SingleThread single;
  try {
    detail::compile(*implementation_);
  } catch (const dnnl::error& error) {
    throw core::Error(std::string("oneDNN cannot prepare the gradient: ") + error.what(), "float gradient");
  }
}

GradientProgram::~GradientProgram() = default;
GradientProgram::GradientProgram(GradientProgram&&) noexcept = default;
GradientProgram& GradientProgram::operator=(GradientProgram&&) noexcept = default;

FloatMemory GradientProgram::memory() const {
  constexpr auto bytes = static_cast<Index>(sizeof(float));
  return {.activations = implementation_->arena_floats * bytes,
          .scratch = implementation_->scratch_floats * bytes,
          .weights = implementation_->weight_layout->floats * bytes};
}

FloatWeights GradientProgram::make_weights() const { return detail::make_weights(implementation_->weight_layout); }

void GradientProgram::use(std::shared_ptr<const FloatWeights> weights) {
  QUANTBOUND_ASSERT(weights != nullptr, weights != nullptr);
  QUANTBOUND_ASSERT(same_layers(*weights->implementation_->layout, *implementation_->weight_layout),
                    implementation_->weight_layout->layers.size());
  implementation_->weights = std::move(weights);
  if (implementation_->arena) bind_weights(*implementation_, *implementation_->weights->implementation_);
}

std::span<const float> GradientProgram::run(std::span<const float> samples) {
  Implementation& program = *implementation_;
  QUANTBOUND_ASSERT(std::ssize(samples) == program.buffers[program.samples].floats, samples.size(), program.batch);
  QUANTBOUND_ASSERT(program.weights || program.weight_layout->floats == 0, program.weight_layout->floats);
  const detail::SingleThread single;
  take_memory(program, program.weights ? program.weights->implementation_.get() : nullptr);
  std::copy(samples.begin(), samples.end(), program.data(program.samples).begin());
  execute(program, 0, program.turn);
  program.has_run = true;
  return program.data(program.result);
}

std::span<const float> GradientProgram::pull_back(std::span<const float> weights) {
  Implementation& program = *implementation_;
  QUANTBOUND_ASSERT(program.has_run, program.has_run);
  QUANTBOUND_ASSERT(std::ssize(weights) == program.buffers[program.seed].floats, weights.size(), program.batch);
  const detail::SingleThread single;
  std::copy(weights.begin(), weights.end(), program.data(program.seed).begin());
  execute(program, program.turn, program.steps.size());
  program.has_run = false;
  if (program.derivatives == Derivatives::weights) return {};
  return program.data(program.gradient);
}

double GradientProgram::fit(const FitSamples& samples, double factor) {
  Implementation& program = *implementation_;
  QUANTBOUND_ASSERT(std::ssize(samples.inputs) == program.batch, samples.inputs.size(), program.batch);
  QUANTBOUND_ASSERT(std::ssize(samples.targets) == program.batch, samples.targets.size(), program.batch);
  QUANTBOUND_ASSERT(samples.weights.empty() || std::ssize(samples.weights) == program.batch, samples.weights.size());
  QUANTBOUND_ASSERT(program.weights || program.weight_layout->floats == 0, program.weight_layout->floats);
  const detail::SingleThread single;
  take_memory(program, program.weights ? program.weights->implementation_.get() : nullptr);
  if (!program.fit_room) program.fit_room = make_fit_room(program);
  if (program.copies_samples) copy_samples(program, samples.inputs);
  execute(program, 0, program.own_end, samples.inputs);
  const double error = squared_error(program, samples, factor);
  execute(program, program.own_turn, program.steps.size(), samples.inputs);
  program.has_run = false;
  return error;
}

std::span<const float> GradientProgram::weight_gradient(Index layer) const {
  const auto place = gradient_of(*implementation_, layer);
  return place ? implementation_->data(place->weights) : std::span<const float>();
}

std::span<const float> GradientProgram::bias_gradient(Index layer) const {
  const auto place = gradient_of(*implementation_, layer);
  return place ? implementation_->data(place->bias) : std::span<const float>();
}

}  // namespace quantbound::tensor
