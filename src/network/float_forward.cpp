#include "quantbound/network/float_forward.hpp"

#include <vector>

#include "quantbound/core/assert.hpp"

#include "float_lowering.hpp"

namespace quantbound::network {

void FloatWeights::set(Index layer, const LayerParameters& parameters) {
  weights_.set(layer, parameters.weights, parameters.bias);
}

namespace {

/// Captures are read sample by sample: their engines run few samples between two changes of the weights.
tensor::Winograd winograd_for(std::span<const NodeId> captured) {
  return captured.empty() ? tensor::Winograd::where_it_pays : tensor::Winograd::never;
}

}  // namespace

struct FloatForward::Program {
  tensor::FloatProgram program;
  std::vector<tensor::FloatProgram::Value> captured;
};

FloatForward::FloatForward(const Graph& graph, Index batch, std::span<const NodeId> captured)
    : program_(std::make_unique<Program>(Program{tensor::FloatProgram(batch, 0, winograd_for(captured)), {}})) {
  program_->captured = detail::lower(graph, captured, program_->program);
  for (const auto value : program_->captured) program_->program.keep(value);
  program_->program.compile();
}

FloatForward::~FloatForward() = default;
FloatForward::FloatForward(FloatForward&&) noexcept = default;
FloatForward& FloatForward::operator=(FloatForward&&) noexcept = default;

std::shared_ptr<FloatWeights> FloatForward::make_weights() const {
  return std::shared_ptr<FloatWeights>(new FloatWeights(program_->program.make_weights()));
}

std::shared_ptr<FloatWeights> FloatForward::make_weights(std::span<const LayerParameters> layers) const {
  auto weights = make_weights();
  for (std::size_t layer = 0; layer < layers.size(); ++layer) weights->set(static_cast<Index>(layer), layers[layer]);
  return weights;
}

void FloatForward::use(const std::shared_ptr<const FloatWeights>& weights) {
  QUANTBOUND_ASSERT(weights != nullptr, program_->captured.size());
  program_->program.use({weights, &weights->weights_});
}

std::span<const float> FloatForward::run(std::span<const float> samples) { return program_->program.run(samples); }

std::span<const float> FloatForward::captured(Index which) const {
  QUANTBOUND_ASSERT(which >= 0 && which < std::ssize(program_->captured), which, program_->captured.size());
  return program_->program.kept(program_->captured[static_cast<std::size_t>(which)]);
}

FloatMemory FloatForward::memory() const { return program_->program.memory(); }

std::vector<tensor::StepProfile> FloatForward::profile(std::span<const float> samples, Index runs) {
  return program_->program.profile(samples, runs);
}

}  // namespace quantbound::network
