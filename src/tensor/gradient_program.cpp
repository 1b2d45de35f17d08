#include "quantbound/tensor/gradient_program.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

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

void execute(GradientProgram::Implementation& program, std::size_t first, std::size_t last) {
  for (std::size_t s = first; s < last; ++s) {
    const detail::GradientStep& step = program.steps[s];
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

}  // namespace

GradientProgram::GradientProgram(const FloatProgram& operators) : implementation_(std::make_unique<Implementation>()) {
  const FloatProgram::Implementation& source = *operators.implementation_;
  QUANTBOUND_ASSERT(source.output && source.steps.empty(), source.steps.size());
  implementation_->batch = source.batch;
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
  if (!program.arena) {
    bind_memory(program);
    if (program.weights) bind_weights(program, *program.weights->implementation_);
  }
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
  return program.data(program.gradient);
}

}  // namespace quantbound::tensor
