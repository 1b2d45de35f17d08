#include "quantbound/tensor/float_weights.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "quantbound/core/assert.hpp"

#include "float_weights_parts.hpp"

namespace quantbound::tensor {

namespace detail {

std::shared_ptr<const WeightLayout> place_layers(const dnnl::engine& engine,
                                                 std::vector<std::optional<LayerLayout>> layers) {
  WeightLayout layout{engine, std::move(layers), 0};
  const auto place = [&](const Descriptor& descriptor) {
    const Index offset = layout.floats;
    const auto floats = static_cast<Index>(descriptor.get_size() / sizeof(float));
    layout.floats += (floats + floats_per_line - 1) / floats_per_line * floats_per_line;
    return offset;
  };
  for (auto& layer : layout.layers) {
    if (!layer) continue;
    layer->weights_offset = place(layer->chosen);
    layer->bias_offset = place(layer->bias);
    if (layer->backward) layer->backward_offset = place(*layer->backward);
  }
  return std::make_shared<const WeightLayout>(std::move(layout));
}

FloatWeights make_weights(const std::shared_ptr<const WeightLayout>& layout) {
  auto weights = std::make_unique<FloatWeights::Implementation>();
  weights->layout = layout;
  weights->data = aligned_floats(layout->floats);
  float* data = weights->data.get();
  for (const auto& layer : layout->layers) {
    LayerMemory& memory = weights->layers.emplace_back();
    if (!layer) continue;
    memory.weights = {layer->chosen, layout->engine, data + layer->weights_offset};
    memory.bias = {layer->bias, layout->engine, data + layer->bias_offset};
    if (layer->backward) memory.backward = {*layer->backward, layout->engine, data + layer->backward_offset};
  }
  return FloatWeights(std::move(weights));
}

}  // namespace detail

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
    if (!memory.backward) return;
  }
  std::vector<float> floats(weights.size());
  convert(weights, floats.data());
  dnnl::memory given(place.given, layout.engine, floats.data());
  dnnl::stream stream(layout.engine);
  for (dnnl::memory wanted : {memory.weights, memory.backward})
    if (wanted) dnnl::reorder(given, wanted).execute(stream, given, wanted);
  stream.wait();
}

void FloatWeights::set(Index layer, std::span<const float> weights, std::span<const float> bias) {
  const detail::WeightLayout& layout = *implementation_->layout;
  const auto at = static_cast<std::size_t>(layer);
  QUANTBOUND_ASSERT(layer >= 0, layer);
  if (at >= layout.layers.size() || !layout.layers[at]) return;
  const detail::LayerLayout& place = *layout.layers[at];
  QUANTBOUND_ASSERT(weights.size_bytes() == place.given.get_size(), layer, weights.size());
  QUANTBOUND_ASSERT(bias.size_bytes() == place.bias.get_size(), layer, bias.size());

  const detail::SingleThread single;
  detail::LayerMemory& memory = implementation_->layers[at];
  float* data = implementation_->data.get();
  std::vector<detail::ReorderBetween>& reorders = memory.from_floats;
  if (reorders.empty()) {
    reorders.emplace_back(layout.engine, place.given, place.chosen);
    if (place.backward) reorders.emplace_back(layout.engine, place.given, *place.backward);
  }
  std::copy(bias.begin(), bias.end(), data + place.bias_offset);
  reorders.front()(weights.data(), data + place.weights_offset);
  if (place.backward) reorders.back()(weights.data(), data + place.backward_offset);
}

Index FloatWeights::bytes() const { return implementation_->layout->floats * static_cast<Index>(sizeof(float)); }

}  // namespace quantbound::tensor
