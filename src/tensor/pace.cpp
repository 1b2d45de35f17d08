#include "pace.hpp"

#include <algorithm>
#include <utility>

#include "quantbound/core/assert.hpp"

namespace quantbound::tensor::detail {

namespace {

std::vector<Index> divisors(Index number) {
  std::vector<Index> all;
  for (Index d = 1; d <= number; ++d)
    if (number % d == 0) all.push_back(d);
  return all;
}

/// Of running the operator turn by turn.
double running(const Traffic& traffic, Index samples, Index batch) {
  constexpr double cache = 2.0 * 1024 * 1024;
  constexpr double start = 16.0 * 1024;     // a microsecond
  constexpr double weight_fraction = 0.25;  // they come from a cache
  const Index turns = batch / samples;
  const double beyond_cache = std::max(0.0, static_cast<double>(samples * traffic.activations) - cache);
  return static_cast<double>(turns) * (start + weight_fraction * static_cast<double>(traffic.weights) + beyond_cache);
}

/// Of another pace than that of the operator before.
double changing(const Traffic& traffic, Index batch) { return static_cast<double>(batch * traffic.alive); }

std::size_t position_of_least(const std::vector<double>& costs) {
  return static_cast<std::size_t>(std::min_element(costs.begin(), costs.end()) - costs.begin());
}

}  // namespace

double pace_cost(std::span<const Traffic> operators, std::span<const Index> pace, Index batch) {
  QUANTBOUND_ASSERT(pace.size() == operators.size(), pace.size(), operators.size());
  double cost = 0.0;
  for (std::size_t k = 0; k < operators.size(); ++k) {
    cost += running(operators[k], pace[k], batch);
    if (k > 0 && pace[k] != pace[k - 1]) cost += changing(operators[k], batch);
  }
  return cost;
}

std::vector<Index> choose_pace(std::span<const Traffic> operators, Index batch) {
  const std::vector<Index> paces = divisors(batch);
  std::vector<double> least(paces.size(), 0.0);  // cost of all operators so far if the last one runs at this pace
  std::vector<std::vector<std::size_t>> before;  // the pace before each operator, by its own
  for (std::size_t k = 0; k < operators.size(); ++k) {
    const std::size_t cheapest = position_of_least(least);
    const double after_change = k == 0 ? least[cheapest] : least[cheapest] + changing(operators[k], batch);
    std::vector<std::size_t>& previous = before.emplace_back(paces.size());
    for (std::size_t p = 0; p < paces.size(); ++p) {
      previous[p] = least[p] <= after_change ? p : cheapest;
      least[p] = std::min(least[p], after_change);
    }
    for (std::size_t p = 0; p < paces.size(); ++p) least[p] += running(operators[k], paces[p], batch);
  }

  std::vector<Index> chosen(operators.size());
  std::size_t p = position_of_least(least);
  for (std::size_t k = operators.size(); k-- > 0; p = before[k][p]) chosen[k] = paces[p];
  return chosen;
}

}  // namespace quantbound::tensor::detail
