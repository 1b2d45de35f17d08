#include "quantbound/reconstruct/correlation.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "quantbound/core/assert.hpp"

namespace quantbound::reconstruct {

namespace {

/// z with P(|N(0,1)| <= z) = confidence, by bisection: monotone, and exact to the last bits.
double two_sided_quantile(double confidence) {
  double low = 0.0, high = 40.0;
  for (int step = 0; step < 100; ++step) {
    const double middle = 0.5 * (low + high);
    (std::erfc(middle / std::sqrt(2.0)) > 1.0 - confidence ? low : high) = middle;
  }
  return low;
}

}  // namespace

std::vector<double> mid_ranks(std::span<const double> values) {
  QUANTBOUND_ASSERT(std::none_of(values.begin(), values.end(), [](double x) { return std::isnan(x); }), values.size());
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t first = 0, end = 0; first < order.size(); first = end) {
    while (end < order.size() && values[order[end]] == values[order[first]]) ++end;
    for (std::size_t i = first; i < end; ++i) ranks[order[i]] = 0.5 * static_cast<double>(first + 1 + end);
  }
  return ranks;
}

std::optional<RankCorrelation> rank_correlation(std::span<const double> x, std::span<const double> y,
                                                double confidence) {
  QUANTBOUND_ASSERT(x.size() == y.size() && confidence > 0.0 && confidence < 1.0, x.size(), y.size(), confidence);
  if (x.size() < 4) return std::nullopt;
  const std::vector<double> x_ranks = mid_ranks(x), y_ranks = mid_ranks(y);
  const auto count = static_cast<double>(x.size()), mean = 0.5 * (count + 1.0);
  double xx = 0.0, yy = 0.0, xy = 0.0;  // multiples of a quarter: exact
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += (x_ranks[i] - mean) * (x_ranks[i] - mean);
    yy += (y_ranks[i] - mean) * (y_ranks[i] - mean);
    xy += (x_ranks[i] - mean) * (y_ranks[i] - mean);
  }
  if (xx == 0.0 || yy == 0.0) return std::nullopt;
  const double rho = std::clamp(xy / std::sqrt(xx * yy), -1.0, 1.0);
  const double half = two_sided_quantile(confidence) * std::sqrt((1.0 + 0.5 * rho * rho) / (count - 3.0));
  return RankCorrelation{rho, std::tanh(std::atanh(rho) - half), std::tanh(std::atanh(rho) + half)};
}

}  // namespace quantbound::reconstruct
