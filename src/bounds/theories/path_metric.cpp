// The path metric (arXiv 2405.15006) in the per-output form of docs/theory.md 2.2, B6 of 9.1: for sign-compatible
// weights and positively homogeneous activations, with F(U) the network of absolute weights, sums for maxima, at sup
// |x|,
//   |f - f_q| <= F(W, b) + F(W', b') - 2 F(m, m_b),   m = min(|W|, |W'|),  m_b = min(|b|, |b'|).
//
// docs/theory.md 9.5.2 rounds the three passes up, up and down and notes that their difference loses everything when
// weights move little. We never subtract: F(W) - F(m) telescopes like AMP for the pair (W, m),
//   e_l = |W_l| e_{l-1} + (|W_l| - m_l) z_{l-1} + (|b_l| - mb_l),   z_l = m_l z_{l-1} + mb_l,
// and likewise F(W') - F(m), with the same z. All terms are nonnegative, so the bound keeps full relative precision, is
// exactly zero for equal weights, and where |W'| <= |W| the second error vanishes: the two-pass form F(W) - F(W').
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "quantbound/bounds/path_products.hpp"
#include "quantbound/bounds/theory.hpp"

#include "../absolute_passes.hpp"
#include "../row_norms.hpp"
#include "norms_of_pair.hpp"

namespace quantbound::bounds {

namespace {

bool is_homogeneous(const network::Activation& activation) {
  switch (activation.kind) {
    case network::ActivationKind::relu:
      return true;
    case network::ActivationKind::leaky_relu:
      return activation.alpha >= 0.0;
    case network::ActivationKind::clip:  // without a finite limit other than 0 below
      return std::isinf(activation.beta) && (activation.alpha == 0.0 || std::isinf(activation.alpha));
    default:
      return false;
  }
}

std::string first_inhomogeneous(const WeightInput& input) {
  for (const network::NodeId v : affected_nodes(input.graph, input.domain)) {
    const network::Node& node = input.graph.nodes[static_cast<std::size_t>(v)];
    const auto* activation = std::get_if<network::Activation>(&node.op);
    if (activation == nullptr || is_homogeneous(*activation)) continue;
    return fmt::format("{} '{}' is not positively homogeneous", network::operator_name(node.op), node.name);
  }
  return {};
}

bool same_signs(const std::vector<double>& a, const std::vector<double>& b) {
  std::size_t changes = 0;  // counted to the end: a loop without exit vectorizes
  for (std::size_t i = 0; i < a.size(); ++i) changes += detail::same_sign(a[i], b[i]) ? std::size_t{0} : std::size_t{1};
  return changes == 0;
}

std::string first_sign_change(const WeightInput& input) {
  for (std::size_t l = 0; l < input.original.size(); ++l) {
    const network::LayerParameters &f = input.original[l], &q = input.quantized[l];
    if (same_signs(f.weights, q.weights) && same_signs(f.bias, q.bias)) continue;
    return fmt::format("quantization changes a sign in layer {}", l);
  }
  return {};
}

/// |a|, min(|a|, |b|), and an upper bound of the first minus the second.
struct Split {
  std::vector<double> magnitude, common, excess;
};

Split split(const std::vector<double>& a, const std::vector<double>& b) {
  Split result{std::vector<double>(a.size()), std::vector<double>(a.size()), std::vector<double>(a.size())};
  for (std::size_t i = 0; i < a.size(); ++i) {
    result.magnitude[i] = std::abs(a[i]);
    result.common[i] = std::min(std::abs(a[i]), std::abs(b[i]));
    result.excess[i] = detail::absolute_difference_up(result.magnitude[i], result.common[i]);
  }
  return result;
}

detail::LayerMagnitudes layer_magnitudes(const network::LayerParameters& f, const network::LayerParameters& q) {
  Split weights = split(f.weights, q.weights), bias = split(f.bias, q.bias);
  Split other_weights = split(q.weights, f.weights), other_bias = split(q.bias, f.bias);
  detail::LayerMagnitudes result;
  result.size = {std::move(weights.common), std::move(bias.common)};
  result.errors.push_back({std::move(weights.magnitude), {std::move(weights.excess), std::move(bias.excess)}});
  result.errors.push_back(
      {std::move(other_weights.magnitude), {std::move(other_weights.excess), std::move(other_bias.excess)}});
  return result;
}

}  // namespace

TheoryResult path_metric(const WeightInput& input) {
  std::string violation = first_violation(input.graph, input.domain, Assumption::fixes_zero);
  if (violation.empty()) violation = first_inhomogeneous(input);
  if (violation.empty()) violation = first_sign_change(input);
  if (!violation.empty()) return detail::not_applicable(std::move(violation));
  const std::vector<ScaledVector> errors = detail::absolute_passes(
      input.graph, input.domain, detail::Pooling::sum,
      [&](std::size_t layer) { return layer_magnitudes(input.original[layer], input.quantized[layer]); });
  ScaledVector sum = errors.front();
  for (std::size_t k = 1; k < errors.size(); ++k) sum = sum_up(sum, errors[k]);
  const core::Upper bound = sum.largest();
  return {bound, {}, std::nullopt, std::move(sum)};
}

}  // namespace quantbound::bounds
