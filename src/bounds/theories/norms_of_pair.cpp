#include "norms_of_pair.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quantbound/network/network.hpp"

namespace quantbound::bounds::detail {

double parameter_distance(const NormInput& input) {
  double eta = 0.0;
  for (const QuantizedLayerNorms& layer : input.quantized) {
    eta = std::max({eta, layer.delta_max, layer.delta_bias_max});
  }
  return eta;
}

std::vector<double> augmented_norms(const NormInput& input) {
  std::vector<double> r(input.layers.size());
  for (std::size_t l = 0; l < r.size(); ++l) r[l] = std::max(input.layers[l].augmented, input.quantized[l].augmented);
  return r;
}

std::vector<double> weight_norms(const NormInput& input) {
  std::vector<double> r(input.layers.size());
  for (std::size_t l = 0; l < r.size(); ++l) {
    r[l] = std::max(input.layers[l].weight_norm, input.quantized[l].weight_norm);
  }
  return r;
}

std::vector<core::Upper> to_upper(const std::vector<double>& values) {
  std::vector<core::Upper> result;
  result.reserve(values.size());
  for (const double value : values) result.emplace_back(value);
  return result;
}

double row_terms(const LayerNorms& layer, const QuantizedLayerNorms& quantized) {
  return layer.fan_in + (quantized.delta_bias_max > 0.0 ? 1.0 : 0.0);
}

double all_row_terms(const NormInput& input) {
  double sum = 0.0;  // of integers: exact
  for (std::size_t l = 0; l < input.layers.size(); ++l) sum += row_terms(input.layers[l], input.quantized[l]);
  return sum;
}

double dominating_width(const NormInput& input) {
  auto widest = static_cast<double>(network::width(input.graph));
  for (const LayerNorms& layer : input.layers) widest = std::max(widest, layer.fan_in);
  return widest;
}

double log10_radius_or_one(const NormInput& input) { return std::log10(std::max(input.domain.radius, 1.0)); }

std::vector<double> log10_mean_products(const std::vector<double>& r) {
  std::vector<double> products(r.size());
  double tail = 0.0;
  for (std::size_t l = r.size(); l-- > 0;) {
    products[l] = tail;
    tail += std::log10(r[l]);
  }
  double head = 0.0;  // log10 max_{i <= l-1} prod_{i}^{l-1} r_j, 0 before the first layer
  for (std::size_t l = 0; l < r.size(); ++l) {
    products[l] += head;
    head = std::log10(r[l]) + std::max(head, 0.0);
  }
  return products;
}

std::vector<double> log10_all_but_one(const std::vector<double>& r) {
  std::vector<double> products(r.size());
  double tail = 0.0, head = 0.0;
  for (std::size_t l = r.size(); l-- > 0;) {
    products[l] = tail;
    tail += std::log10(r[l]);
  }
  for (std::size_t l = 0; l < r.size(); ++l) {
    products[l] += head;
    head += std::log10(r[l]);
  }
  return products;
}

double largest_of(const std::vector<double>& values) { return *std::max_element(values.begin(), values.end()); }

double log10_sum(const std::vector<double>& logarithms) {
  const double largest = largest_of(logarithms);
  if (largest == -std::numeric_limits<double>::infinity()) return largest;
  double sum = 0.0;
  for (const double value : logarithms) sum += std::pow(10.0, value - largest);
  return largest + std::log10(sum);
}

TheoryResult not_applicable(std::string reason, std::optional<core::Estimate> formula) {
  return {std::nullopt, std::move(reason), formula, {}};
}

}  // namespace quantbound::bounds::detail
