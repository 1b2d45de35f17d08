#include "quantbound/bounds/bound_table.hpp"

#include <cmath>

#include "quantbound/core/assert.hpp"
#include "quantbound/quantize/quantize.hpp"

#include "theories/norms_of_pair.hpp"

namespace quantbound::bounds {

namespace {

/// (10^log10_product)^(1/(L-1)); for one layer the product is empty and the mean is that layer's norm.
double mean_over_layers(double log10_product, const std::vector<double>& r) {
  if (r.size() == 1) return r.front();
  return std::pow(10.0, log10_product / (static_cast<double>(r.size()) - 1.0));
}

}  // namespace

PaperNorms paper_norms(const NormInput& input) {
  QUANTBOUND_ASSERT(input.layers.size() == input.quantized.size(), input.layers.size(), input.quantized.size());
  PaperNorms norms;
  if (input.layers.empty()) return norms;
  norms.r = detail::augmented_norms(input);
  norms.r_max = detail::largest_of(norms.r);
  norms.r_mean = mean_over_layers(detail::largest_of(detail::log10_mean_products(norms.r)), norms.r);
  const std::vector<double> weight_norms = detail::weight_norms(input);
  norms.r_conv = mean_over_layers(detail::largest_of(detail::log10_all_but_one(weight_norms)), weight_norms);
  return norms;
}

BoundTable evaluate_norm_theories(const NormInput& input) {
  BoundTable table{paper_norms(input), {}};
  for (const Theory& theory : theories()) {
    table.results.push_back(theory.reads_weights() ? detail::not_applicable("needs the weights")
                                                   : evaluate(theory, input));
  }
  return table;
}

BoundTable evaluate_theories(const network::Network& network, const network::Box& box,
                             const quantize::Configuration& configuration) {
  const auto shapes = layer_shapes(network.graph);
  std::vector<LayerNorms> original;
  std::vector<QuantizedLayerNorms> quantized;
  for (std::size_t l = 0; l < shapes.size(); ++l) {
    const auto layer = static_cast<Index>(l);
    const auto here = quantize::at_layer(configuration, layer, std::ssize(shapes));
    auto report = measure_layer(network.layers[l], shapes[l], layer, std::span(&here, 1));
    original.push_back(report.norms);
    quantized.push_back(std::move(report.quantized.front()));
  }
  const Domain domain = make_domain(network.graph, box);
  BoundTable table = evaluate_norm_theories({network.graph, domain, original, quantized});
  const auto weights = quantize::quantize_layers(network.layers, configuration);
  for (std::size_t t = 0; t < table.results.size(); ++t) {
    const Theory& theory = theories()[t];
    if (theory.reads_weights())
      table.results[t] = evaluate(theory, WeightInput{network.graph, domain, network.layers, weights});
  }
  return table;
}

}  // namespace quantbound::bounds
