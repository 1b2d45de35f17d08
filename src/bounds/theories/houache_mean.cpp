// Houache, Aujol, Traonmilin, arXiv 2502.01156, Theorem 4.1; proof in docs/theory.md 1.3 (Claim A):
//   sup |f - f_q| <= max(D, 1) (sum_l N_{l-1}) r_mean^(L-1) eta,
//   r_mean^(L-1) = max_l P_l,  P_l = max_{i <= l-1} prod_{j >= i, j != l} r_j,  r_l >= ||[W_l, b_l]||, ||[W'_l,
//   b'_l]||.
// The bound takes P_l along the paths of the graph (houache_products.hpp) and the fan-in p^2 c / g of a convolution
// instead of N_{l-1}; the formula is the theorem over the sequence of layers, with N_{l-1} the elements of the input.
#include <algorithm>
#include <cmath>

#include "houache_products.hpp"

namespace quantbound::bounds {

using core::Upper;

namespace {

core::Estimate formula(const NormInput& input) {
  double inputs = 0.0;
  for (const LayerNorms& layer : input.layers) inputs += layer.inputs;
  return {detail::log10_radius_or_one(input) + std::log10(inputs) +
          detail::largest_of(detail::log10_mean_products(detail::augmented_norms(input))) +
          std::log10(detail::parameter_distance(input))};
}

}  // namespace

TheoryResult houache_mean(const NormInput& input) {
  std::string violation = first_violation(input.graph, input.domain, Assumption::fixes_zero);
  if (!violation.empty()) return detail::not_applicable(std::move(violation), formula(input));
  Upper largest;
  for (const Upper product : detail::houache_products(input)) largest = max(largest, product);
  const Upper bound = Upper(std::max(input.domain.radius, 1.0)) * Upper(detail::all_row_terms(input)) * largest *
                      Upper(detail::parameter_distance(input));
  return {bound, {}, formula(input), {}};
}

}  // namespace quantbound::bounds
