// Houache, Aujol, Traonmilin, arXiv 2502.01156, Theorem 4.4, for networks without biases; proof in docs/theory.md 1.4:
//   sup |f - f_q| <= D (sum_l p_l^2 c_{l-1}) r_conv^(L-1) eta,  r_conv^(L-1) = max_l prod_{k != l} r_k^conv,
//   r_k^conv >= ||W_k||_inf, ||W'_k||_inf, which for a convolution is the largest absolute sum of a filter.
// The bound takes the products along the paths of the graph (residual: sum, concatenation: larger) and p^2 c / g; the
// formula is the theorem over the sequence of layers with the dense count p^2 c of the paper's table, biases or not.
#include <algorithm>
#include <cmath>

#include "quantbound/bounds/path_products.hpp"
#include "quantbound/bounds/theory.hpp"

#include "norms_of_pair.hpp"

namespace quantbound::bounds {

using core::Upper;

namespace {

core::Estimate formula(const NormInput& input) {
  double terms = 0.0;
  for (const LayerNorms& layer : input.layers) terms += layer.fan_in_dense;
  return {std::log10(input.domain.radius) + std::log10(terms) +
          detail::largest_of(detail::log10_all_but_one(detail::weight_norms(input))) +
          std::log10(detail::parameter_distance(input))};
}

bool has_bias(const NormInput& input) {
  const auto original = [](const LayerNorms& layer) { return layer.bias_norm > 0.0; };
  const auto quantized = [](const QuantizedLayerNorms& layer) { return layer.bias_norm > 0.0; };
  return std::any_of(input.layers.begin(), input.layers.end(), original) ||
         std::any_of(input.quantized.begin(), input.quantized.end(), quantized);
}

}  // namespace

TheoryResult houache_conv(const NormInput& input) {
  if (has_bias(input)) return detail::not_applicable("the network has biases", formula(input));
  std::string violation = first_violation(input.graph, input.domain, Assumption::no_constants);
  if (!violation.empty()) return detail::not_applicable(std::move(violation), formula(input));
  const std::vector<Upper> gains = detail::to_upper(detail::weight_norms(input));
  const PathProducts products = path_products(input.graph, input.domain, gains, Constants::none);
  Upper largest;
  for (std::size_t l = 0; l < gains.size(); ++l) largest = max(largest, products.tail[l] * products.head[l]);
  const Upper bound = Upper(input.domain.radius) * Upper(detail::all_row_terms(input)) * largest *
                      Upper(detail::parameter_distance(input));
  return {bound, {}, formula(input), {}};
}

}  // namespace quantbound::bounds
