// Absolute matrix products (AMP), B5 of docs/theory.md 9.1: with |y'| <= z and |y' - y| <= e elementwise,
//   z_l = |W'_l| z_{l-1} + |b'_l|,   e_l = |W_l| e_{l-1} + |dW_l| z_{l-1} + |db_l|,   z_0 = sup |x|,
// and |f - f_q| <= e_L for every output. Never above operator_norm, gonon and houache. Any activation: z through
// |sigma(t)| <= |sigma(0)| + k |t| and the largest value of sigma, e through its Lipschitz constant.
#include <cmath>

#include "quantbound/bounds/path_products.hpp"
#include "quantbound/bounds/theory.hpp"

#include "../absolute_passes.hpp"
#include "../row_norms.hpp"
#include "norms_of_pair.hpp"

namespace quantbound::bounds {

namespace {

std::vector<double> magnitudes(const std::vector<double>& values) {
  std::vector<double> result(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) result[i] = std::abs(values[i]);
  return result;
}

std::vector<double> differences(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> result(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) result[i] = detail::absolute_difference_up(a[i], b[i]);
  return result;
}

}  // namespace

TheoryResult absolute_product(const WeightInput& input) {
  std::string violation = first_violation(input.graph, input.domain, Assumption::no_product);
  if (!violation.empty()) return detail::not_applicable(std::move(violation));
  std::vector<ScaledVector> errors =
      detail::absolute_passes(input.graph, input.domain, detail::Pooling::largest, [&](std::size_t layer) {
        const network::LayerParameters &f = input.original[layer], &q = input.quantized[layer];
        detail::LayerMagnitudes result;
        result.size = {magnitudes(q.weights), magnitudes(q.bias)};
        result.errors.push_back(
            {magnitudes(f.weights), {differences(f.weights, q.weights), differences(f.bias, q.bias)}});
        return result;
      });
  const core::Upper bound = errors.front().largest();
  return {bound, {}, std::nullopt, std::move(errors.front())};
}

}  // namespace quantbound::bounds
