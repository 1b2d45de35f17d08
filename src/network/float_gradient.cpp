#include "quantbound/network/float_gradient.hpp"

#include "quantbound/core/assert.hpp"

#include "float_lowering.hpp"

namespace quantbound::network {

FloatGradient::FloatGradient(const Graph& graph, Index batch, Derivatives derivatives) {
  tensor::FloatProgram operators(batch);
  detail::lower(graph, {}, operators);
  program_ = std::make_unique<tensor::GradientProgram>(operators, derivatives);
}

FloatGradient::~FloatGradient() = default;
FloatGradient::FloatGradient(FloatGradient&&) noexcept = default;
FloatGradient& FloatGradient::operator=(FloatGradient&&) noexcept = default;

std::shared_ptr<FloatWeights> FloatGradient::make_weights() const {
  return std::shared_ptr<FloatWeights>(new FloatWeights(program_->make_weights()));
}

std::shared_ptr<FloatWeights> FloatGradient::make_weights(std::span<const LayerParameters> layers) const {
  auto weights = make_weights();
  for (std::size_t layer = 0; layer < layers.size(); ++layer) weights->set(static_cast<Index>(layer), layers[layer]);
  return weights;
}

void FloatGradient::use(const std::shared_ptr<const FloatWeights>& weights) {
  QUANTBOUND_ASSERT(weights != nullptr, weights != nullptr);
  program_->use({weights, &weights->weights_});
}

std::span<const float> FloatGradient::run(std::span<const float> samples) { return program_->run(samples); }

std::span<const float> FloatGradient::pull_back(std::span<const float> weights) { return program_->pull_back(weights); }

double FloatGradient::fit(const FitSamples& samples, double factor) { return program_->fit(samples, factor); }

std::span<const float> FloatGradient::weight_gradient(Index layer) const { return program_->weight_gradient(layer); }

std::span<const float> FloatGradient::bias_gradient(Index layer) const { return program_->bias_gradient(layer); }

FloatMemory FloatGradient::memory() const { return program_->memory(); }

}  // namespace quantbound::network
