// Berner, Grohs, Jentzen (SIAM J. Math. Data Sci. 2(3), 2020), Theorem 2.6, in the form proved in docs/theory.md 3:
// with all parameters of f and f_q at most R and N at least every fan-in, the rows of [W, b] sum to at most (N + 1) R,
// so that
//   sup |f - f_q| <= max(D, 1) L (N + 1) ((N + 1) R)^(L-1) eta       where (N + 1) R >= 1.
// On a graph the power becomes kappa = max_l T_l max(H_l, 1) with the gain max(1, (N + 1) R) at every layer: this is
// Claim A of docs/theory.md 1.3 with one gain for all.
// The published constant max(1, D) L^2 (N + 1)^L R^(L-1) is recalled, not re-read (docs/theory.md 3).
#include <algorithm>
#include <cmath>

#include "quantbound/bounds/path_products.hpp"
#include "quantbound/bounds/theory.hpp"

#include "norms_of_pair.hpp"

namespace quantbound::bounds {

using core::Upper;

namespace {

double largest_parameter(const NormInput& input) {
  double largest = 0.0;
  for (const LayerNorms& layer : input.layers) largest = std::max({largest, layer.weight_max, layer.bias_norm});
  for (const QuantizedLayerNorms& layer : input.quantized) {
    largest = std::max({largest, layer.weight_max, layer.bias_norm});
  }
  return largest;
}

core::Estimate formula(const NormInput& input) {
  const auto depth = static_cast<double>(input.layers.size());
  const auto width = static_cast<double>(network::width(input.graph));
  const double power_of_r = depth > 1.0 ? (depth - 1.0) * std::log10(largest_parameter(input)) : 0.0;
  return {detail::log10_radius_or_one(input) + 2.0 * std::log10(depth) + depth * std::log10(width + 1.0) + power_of_r +
          std::log10(detail::parameter_distance(input))};
}

}  // namespace

TheoryResult berner(const NormInput& input) {
  std::string violation = first_violation(input.graph, input.domain, Assumption::fixes_zero);
  if (!violation.empty()) return detail::not_applicable(std::move(violation), formula(input));
  const Upper terms(detail::dominating_width(input) + 1.0);
  const Upper gain = max(Upper(1.0), terms * Upper(largest_parameter(input)));
  const PathProducts products = path_products(input.graph, input.domain, gain, Constants::added);
  Upper kappa;
  for (std::size_t l = 0; l < products.head.size(); ++l) {
    kappa = max(kappa, products.tail[l] * max(products.head[l], Upper(1.0)));
  }
  const Upper bound = Upper(std::max(input.domain.radius, 1.0)) * Upper(static_cast<double>(input.layers.size())) *
                      terms * kappa * Upper(detail::parameter_distance(input));
  return {bound, {}, formula(input), {}};
}

}  // namespace quantbound::bounds
