#include "quantbound/certify/pair_bounds.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quantbound/core/assert.hpp"

namespace quantbound::certify {

namespace {

double magnitude(double low, double high) {
  const double largest = std::max(std::abs(low), std::abs(high));
  return std::isnan(low) || std::isnan(high) ? std::numeric_limits<double>::infinity() : largest;
}

}  // namespace

std::vector<double> magnitudes(const Box& box) {
  QUANTBOUND_ASSERT(box.low.size() == box.high.size(), box.low.size(), box.high.size());
  std::vector<double> result(box.low.size());
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = magnitude(box.low[i], box.high[i]);
  return result;
}

double largest_magnitude(const Box& box) {
  const auto all = magnitudes(box);
  return all.empty() ? 0.0 : *std::max_element(all.begin(), all.end());
}

Box intersection(const Box& a, const Box& b) {
  QUANTBOUND_ASSERT(a.low.size() == b.low.size(), a.low.size(), b.low.size());
  Box result = a;
  for (std::size_t i = 0; i < result.low.size(); ++i) {
    result.low[i] = std::max(a.low[i], b.low[i]);
    result.high[i] = std::min(a.high[i], b.high[i]);
    QUANTBOUND_ASSERT(result.low[i] <= result.high[i], i, a.low[i], a.high[i], b.low[i], b.high[i]);
  }
  return result;
}

PairBox intersection(const PairBox& a, const PairBox& b) {
  return {intersection(a.f, b.f), intersection(a.fq, b.fq), intersection(a.difference, b.difference)};
}

PairBox shared_input(const Box& x) {
  const std::vector<double> zeros(x.low.size(), 0.0);
  return {x, x, {zeros, zeros}};
}

}  // namespace quantbound::certify
