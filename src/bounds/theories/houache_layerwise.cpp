// The step before Theorem 4.1 of arXiv 2502.01156 takes its maximum over layers (docs/theory.md 1.3, Claim A, second
// line):
//   sup |f - f_q| <= max(D, 1) sum_l n_l max(|dW_l|, |db_l|) P_l.
// Never above houache_mean. The formula is the same sum over the sequence of layers with N_{l-1} elements each.
#include <algorithm>
#include <cmath>

#include "houache_products.hpp"

namespace quantbound::bounds {

using core::Upper;

namespace {

double distance(const QuantizedLayerNorms& layer) { return std::max(layer.delta_max, layer.delta_bias_max); }

core::Estimate formula(const NormInput& input) {
  std::vector<double> terms = detail::log10_mean_products(detail::augmented_norms(input));
  for (std::size_t l = 0; l < terms.size(); ++l) {
    terms[l] += std::log10(input.layers[l].inputs) + std::log10(distance(input.quantized[l]));
  }
  return {detail::log10_radius_or_one(input) + detail::log10_sum(terms)};
}

}  // namespace

TheoryResult houache_layerwise(const NormInput& input) {
  std::string violation = first_violation(input.graph, input.domain, Assumption::fixes_zero);
  if (!violation.empty()) return detail::not_applicable(std::move(violation), formula(input));
  const std::vector<Upper> products = detail::houache_products(input);
  Upper sum;
  for (std::size_t l = 0; l < products.size(); ++l) {
    sum += Upper(detail::row_terms(input.layers[l], input.quantized[l])) * Upper(distance(input.quantized[l])) *
           products[l];
  }
  return {Upper(std::max(input.domain.radius, 1.0)) * sum, {}, formula(input), {}};
}

}  // namespace quantbound::bounds
