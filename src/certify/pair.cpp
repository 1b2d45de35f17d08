#include "quantbound/certify/pair.hpp"

#include <algorithm>

#include "quantbound/core/assert.hpp"
#include "quantbound/quantize/quantize.hpp"

namespace quantbound::certify {

namespace {

std::vector<double> subtract(const std::vector<double>& a, const std::vector<double>& b) {
  QUANTBOUND_ASSERT(a.size() == b.size(), a.size(), b.size());
  std::vector<double> difference(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  return difference;
}

bool all_zero(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return value == 0.0; });
}

}  // namespace

bool Pair::changes(Index layer) const {
  const auto& of_layer = change[static_cast<std::size_t>(layer)];
  return !all_zero(of_layer.weights) || !all_zero(of_layer.bias);
}

bool Pair::rounds_activations() const {
  return std::any_of(activation_grids.begin(), activation_grids.end(), [](const auto& grid) { return grid.has_value(); });
}

Pair make_pair(const network::Network& f, const quantize::Configuration& configuration) {
  Pair pair{f.name, f.graph, f.layers, quantize::quantize_layers(f.layers, configuration), {}, {}};
  pair.change.reserve(pair.f.size());
  for (std::size_t l = 0; l < pair.f.size(); ++l) {
    pair.change.push_back({subtract(pair.fq[l].weights, pair.f[l].weights), subtract(pair.fq[l].bias, pair.f[l].bias)});
  }
  return pair;
}

}  // namespace quantbound::certify
