#include "quantbound/bounds/layer_shares.hpp"

#include <algorithm>
#include <cmath>

#include "theories/houache_products.hpp"

namespace quantbound::bounds {

std::optional<std::vector<double>> layer_shares(const NormInput& input) {
  if (!first_violation(input.graph, input.domain, Assumption::fixes_zero).empty()) return std::nullopt;
  std::vector<core::Upper> terms = detail::houache_products(input);
  for (std::size_t l = 0; l < terms.size(); ++l) {
    const auto& layer = input.quantized[l];
    terms[l] *= core::Upper(detail::row_terms(input.layers[l], layer)) *
                core::Upper(std::max(layer.delta_max, layer.delta_bias_max));
  }
  const core::Upper largest = *std::ranges::max_element(terms);
  if (largest.is_zero()) return std::nullopt;
  std::vector<double> shares;
  double sum = 0.0;
  for (const core::Upper term : terms) {
    shares.push_back(std::pow(10.0, term.log10() - largest.log10()));
    sum += shares.back();
  }
  for (double& share : shares) share /= sum;
  return shares;
}

}  // namespace quantbound::bounds
