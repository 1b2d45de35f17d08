#include "quantbound/observe/deviation.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/quantize/quantize.hpp"

#include "layer_terms.hpp"
#include "measurement.hpp"

namespace quantbound::observe {

namespace {

using namespace detail;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

void require_finite(std::span<const double> inputs, Arithmetic arithmetic) {
  const auto bad =
      std::ranges::find_if_not(inputs, [&](double x) { return std::abs(x) <= largest_number(arithmetic); });
  if (bad == inputs.end()) return;
  throw core::NumericalError(
      fmt::format("the input {} is no finite number in {} arithmetic", *bad, to_string(arithmetic)),
      fmt::format("element {} of the block", bad - inputs.begin()));
}

BlockObservation of_nothing(std::size_t configurations) {
  return {.error = std::vector<double>(configurations, 0.0),
          .in_double = std::vector<Index>(configurations, 0),
          .counts = std::vector<RankingCounts>(configurations)};
}

}  // namespace

std::string_view to_string(Precision precision) {
  switch (precision) {
    case Precision::automatic:
      return "auto";
    case Precision::float32:
      return "float";
    case Precision::float64:
      return "double";
  }
  return "?";
}

bool runs_in_double(const Graph& graph, Precision precision) {
  return arithmetic_of(graph, precision) == Arithmetic::float64;
}

Index micro_batch(const Graph& graph) {
  // The engine takes a few samples at once by itself: a micro-batch need only hide what a call costs, and leave enough
  // of them for the threads.
  constexpr std::uint64_t wanted_multiply_adds = std::uint64_t{1} << 30;
  const auto each = static_cast<std::uint64_t>(std::max<Index>(multiply_adds(graph), 1));
  return static_cast<Index>(std::clamp<std::uint64_t>(std::bit_floor(wanted_multiply_adds / each), 16, 256));
}

std::vector<LayerSource> rounding_sources(std::span<const LayerParameters> layers,
                                          std::span<const Configuration> configurations) {
  std::vector<LayerSource> sources;
  for (const Configuration& configuration : configurations) {
    sources.emplace_back([layers, configuration](Index layer) {
      return quantize::quantize_layer(layers[at(layer)], layer,
                                      quantize::at_layer(configuration, layer, std::ssize(layers)));
    });
  }
  return sources;
}

BlockObservation observe(const Graph& graph, std::span<const LayerParameters> layers,
                         std::span<const LayerSource> quantized, std::span<const double> inputs,
                         std::span<const Index> labels, const ObserveOptions& options) {
  const SamplesView samples{inputs, labels, tensor::elements(graph.input_shape())};
  QUANTBOUND_ASSERT(inputs.size() % at(samples.input_size) == 0, inputs.size(), samples.input_size);
  QUANTBOUND_ASSERT(labels.empty() || std::ssize(labels) == samples.count(), labels.size(), samples.count());
  const Arithmetic arithmetic = arithmetic_of(graph, options.precision);
  require_finite(inputs, arithmetic);
  if (samples.count() == 0) return of_nothing(quantized.size());

  const Variants variants(layers, std::vector<LayerSource>(quantized.begin(), quantized.end()));
  Measurement measurement(graph, variants, samples, arithmetic);
  measurement.run();
  measurement.estimate_error();
  if (arithmetic == Arithmetic::float32 && options.precision == Precision::automatic) measurement.refine();
  BlockObservation result = measurement.result();
  const Index layer_samples = std::min(options.layer_samples, samples.count());
  result.layers = layer_terms(graph, variants, inputs.first(at(layer_samples * samples.input_size)), arithmetic);
  return result;
}

BlockObservation observe(const Graph& graph, std::span<const LayerParameters> layers,
                         std::span<const Configuration> configurations, std::span<const double> inputs,
                         std::span<const Index> labels, const ObserveOptions& options) {
  return observe(graph, layers, rounding_sources(layers, configurations), inputs, labels, options);
}

}  // namespace quantbound::observe
