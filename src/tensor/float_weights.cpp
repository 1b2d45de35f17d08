#include "quantbound/tensor/float_weights.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "quantbound/core/assert.hpp"

#include "float_weights_parts.hpp"

namespace quantbound::tensor {

namespace {

void convert(std::span<const double> from, float* to) {
  std::transform(from.begin(), from.end(), to, [](double value) { return static_cast<float>(value); });
}

}  // namespace

FloatWeights::FloatWeights(std::unique_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}
FloatWeights::~FloatWeights() = default;
FloatWeights::FloatWeights(FloatWeights&&) noexcept = default;
FloatWeights& FloatWeights::operator=(FloatWeights&&) noexcept = default;

void FloatWeights::set(Index layer, std::span<const double> weights, std::span<const double> bias) {
  const detail::WeightLayout& layout = *implementation_->layout;
  const auto at = static_cast<std::size_t>(layer);
  QUANTBOUND_ASSERT(layer >= 0, layer);
  if (at >= layout.layers.size() || !layout.layers[at]) return;
  const detail::LayerLayout& place = *layout.layers[at];
  QUANTBOUND_ASSERT(weights.size() * sizeof(float) == place.given.get_size(), layer, weights.size());
  QUANTBOUND_ASSERT(bias.size() * sizeof(float) == place.bias.get_size(), layer, bias.size());

  const detail::SingleThread single;
  const detail::LayerMemory& memory = implementation_->layers[at];
  convert(bias, static_cast<float*>(memory.bias.get_data_handle()));
  if (place.given == place.chosen) {
    convert(weights, static_cast<float*>(memory.weights.get_data_handle()));
    return;
  }
  std::vector<float> floats(weights.size());
  convert(weights, floats.data());
  dnnl::memory given(place.given, layout.engine, floats.data()), chosen = memory.weights;
  dnnl::stream stream(layout.engine);
  dnnl::reorder(given, chosen).execute(stream, given, chosen);
  stream.wait();
}

Index FloatWeights::bytes() const { return implementation_->layout->floats * static_cast<Index>(sizeof(float)); }

}  // namespace quantbound::tensor
