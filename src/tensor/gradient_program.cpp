#include "quantbound/tensor/gradient_program.hpp"

#include <algorithm>
#include <string>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

#include "gradient_program_parts.hpp"

namespace quantbound::tensor {

namespace {

using detail::LayerPart;

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

Index floats_of(const detail::Descriptor& descriptor) {
  return static_cast<Index>(descriptor.get_size() / sizeof(float));
}

const float* part_of(const GradientWeights::Implementation::Layer& layer, LayerPart part) {
  switch (part) {
    case LayerPart::forward_weights:
      return layer.forward.get();
    case LayerPart::backward_weights:
      return layer.backward.get();
    case LayerPart::bias:
      return layer.bias.get();
  }
  return nullptr;
}

void execute(GradientProgram::Implementation& program, std::size_t first, std::size_t last) {
  for (std::size_t s = first; s < last; ++s) {
    const detail::GradientStep& step = program.steps[s];
    if (step.kernel) {
      step.kernel(step.pointers);
      continue;
    }
    const dnnl_status_t status =
        dnnl_primitive_execute(step.primitive.get(), program.stream.get(), static_cast<int>(step.prepared.size()),
                               step.prepared.data());
    if (status != dnnl_success)
      throw core::Error("oneDNN failed with status " + std::to_string(status), "float gradient");
  }
}

}  // namespace

GradientWeights::GradientWeights(std::unique_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}
GradientWeights::~GradientWeights() = default;

void GradientWeights::set(Index layer, std::span<const double> weights, std::span<const double> bias) {
  QUANTBOUND_ASSERT(layer >= 0 && layer < std::ssize(implementation_->layers), layer);
  Implementation::Layer& target = implementation_->layers[index(layer)];
  QUANTBOUND_ASSERT(std::ssize(weights) == floats_of(target.layout.given), layer, weights.size());
  QUANTBOUND_ASSERT(std::ssize(bias) == floats_of(target.layout.bias), layer, bias.size());
  const detail::SingleThread single;
  const auto to_float = [](double value) { return static_cast<float>(value); };
  std::vector<float> plain(weights.size());
  std::transform(weights.begin(), weights.end(), plain.begin(), to_float);
  std::transform(bias.begin(), bias.end(), target.bias.get(), to_float);
  dnnl::stream stream(implementation_->engine);
  dnnl::memory given(target.layout.given, implementation_->engine, plain.data());
  const auto fill = [&](const detail::Descriptor& layout, float* data) {
    dnnl::memory to(layout, implementation_->engine, data);
    dnnl::reorder(given, to).execute(stream, given, to);
  };
  fill(target.layout.forward, target.forward.get());
  fill(target.layout.backward, target.backward.get());
  stream.wait();
}

Index GradientWeights::bytes() const {
  Index floats = 0;
  for (const auto& layer : implementation_->layers)
    floats += floats_of(layer.layout.forward) + floats_of(layer.layout.backward) + floats_of(layer.layout.bias);
  return floats * static_cast<Index>(sizeof(float));
}

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

std::shared_ptr<GradientWeights> GradientProgram::make_weights() const {
  auto weights = std::make_unique<GradientWeights::Implementation>();
  weights->engine = implementation_->engine;
  for (const detail::LayerLayout& layout : implementation_->layers)
    weights->layers.push_back({layout, detail::aligned_floats(floats_of(layout.forward)),
                               detail::aligned_floats(floats_of(layout.backward)),
                               detail::aligned_floats(floats_of(layout.bias))});
  return std::shared_ptr<GradientWeights>(new GradientWeights(std::move(weights)));
}

void GradientProgram::use(std::shared_ptr<const GradientWeights> weights) {
  const auto& layers = weights->implementation_->layers;
  QUANTBOUND_ASSERT(layers.size() == implementation_->layers.size(), layers.size(), implementation_->layers.size());
  for (const auto& [memory, layer, part] : implementation_->layer_memories) {
    // oneDNN takes pointers that are not const; no step writes into weights.
    memory.set_data_handle(const_cast<float*>(part_of(layers[index(layer)], part)));
  }
  implementation_->weights = std::move(weights);
}

std::span<const float> GradientProgram::run(std::span<const float> samples) {
  Implementation& program = *implementation_;
  QUANTBOUND_ASSERT(program.weights || program.layers.empty(), program.layers.size());
  QUANTBOUND_ASSERT(std::ssize(samples) == program.batch * elements(program.shapes.front()), samples.size(),
                    program.batch);
  const detail::SingleThread single;
  std::copy(samples.begin(), samples.end(), program.buffers[program.samples].data);
  execute(program, 0, program.turn);
  program.has_run = true;
  return {program.buffers[program.result].data, index(program.batch * elements(program.shapes[index(program.output)]))};
}

std::span<const float> GradientProgram::pull_back(std::span<const float> weights) {
  Implementation& program = *implementation_;
  QUANTBOUND_ASSERT(program.has_run, program.has_run);
  QUANTBOUND_ASSERT(std::ssize(weights) == program.batch * elements(program.shapes[index(program.output)]),
                    weights.size(), program.batch);
  const detail::SingleThread single;
  std::copy(weights.begin(), weights.end(), program.buffers[program.seed].data);
  execute(program, program.turn, program.steps.size());
  program.has_run = false;
  return {program.buffers[program.gradient].data, index(program.batch * elements(program.shapes.front()))};
}

Index GradientProgram::bytes() const {
  return (implementation_->floats + implementation_->scratch_floats) * static_cast<Index>(sizeof(float));
}

}  // namespace quantbound::tensor
