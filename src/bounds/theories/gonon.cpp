// Gonon, Brisebarre, Gribonval, Riccietti (arXiv 2205.11874), in the form of docs/theory.md 2.1:
//   sup |f - f_q| <= (D + 1) N L^2 r^(L-1) eta,   r = max(1, ||W_l||, ||W'_l||, |b_l|, |b'_l|).
//
// On a graph r^(L-1) becomes kappa = max_l T_l max(H_l, 1) with the gain r at every layer. Proof: a value of f_q is at
// most the sum over its sources (the input, and one bias per layer before it) of what the source contributes along all
// paths; the input contributes at most D H_u, a bias |b_k| <= r at most H_u, because H passes through layer k with at
// least r and then grows like any contribution. Counting shifts and pads as further sources, c of them,
//   |f - f_q| <= sum_l T_l (N (D + l - 1 + c) H_l + 1) eta <= kappa eta (N D L + N L (L-1)/2 + N L c + L)
//             <= (D + 1) N (L + c)^2 kappa eta.
#include <algorithm>
#include <cmath>

#include "quantbound/bounds/path_products.hpp"
#include "quantbound/bounds/theory.hpp"

#include "norms_of_pair.hpp"

namespace quantbound::bounds {

using core::Upper;

namespace {

double common_norm(const NormInput& input) {
  double r = std::max(1.0, detail::largest_of(detail::weight_norms(input)));
  for (const LayerNorms& layer : input.layers) r = std::max(r, layer.bias_norm);
  for (const QuantizedLayerNorms& layer : input.quantized) r = std::max(r, layer.bias_norm);
  return r;
}

/// The formula with N = width of the graph, over the sequence of layers.
core::Estimate formula(const NormInput& input) {
  const auto depth = static_cast<double>(input.layers.size());
  const auto width = static_cast<double>(network::width(input.graph));
  return {std::log10(input.domain.radius + 1.0) + std::log10(width) + 2.0 * std::log10(depth) +
          (depth - 1.0) * std::log10(common_norm(input)) + std::log10(detail::parameter_distance(input))};
}

}  // namespace

TheoryResult gonon(const NormInput& input) {
  std::string violation = first_violation(input.graph, input.domain, Assumption::fixes_zero);
  if (!violation.empty()) return detail::not_applicable(std::move(violation), formula(input));
  const PathProducts products =
      path_products(input.graph, input.domain, Upper(common_norm(input)), Constants::separate);
  Upper kappa;
  for (std::size_t l = 0; l < products.head.size(); ++l) {
    kappa = max(kappa, products.tail[l] * max(products.head[l], Upper(1.0)));
  }
  const auto sources = static_cast<double>(std::ssize(input.layers) + constant_count(input.graph, input.domain));
  const Upper bound = (Upper(input.domain.radius) + Upper(1.0)) * Upper(detail::dominating_width(input)) *
                      Upper(sources * sources) * kappa * Upper(detail::parameter_distance(input));
  return {bound, {}, formula(input), {}};
}

}  // namespace quantbound::bounds
