#include "float_error.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "quantbound/core/assert.hpp"

namespace quantbound::observe::detail {

namespace {

constexpr double float_roundoff = 0x1p-24;
/// tests/golden/float_error_test.cpp measures how much of the error real networks use up: 0.01 to 0.05 as a rule, but
/// 0.4 at single samples of networks that two bits drive into chaos, where one sample can be off by 100 times another.
constexpr double safety = 64.0;
constexpr double least_kappa = 2.0;
/// Where an output is not finite in float nothing is known: as if twelve of the 24 bits were lost.
constexpr double unknown_kappa = 0x1p12;

}  // namespace

double kappa(std::span<const Probe> probes) {
  double result = least_kappa;
  for (const Probe& probe : probes) {
    QUANTBOUND_ASSERT(probe.in_float.size() == probe.in_double.size(), probe.in_float.size(), probe.in_double.size());
    for (std::size_t i = 0; i < probe.in_float.size(); ++i) {
      const double difference = std::abs(probe.in_float[i] - probe.in_double[i]);
      if (difference == 0.0) continue;
      const double factor = difference / (float_roundoff * probe.largest);
      result = std::max(result, std::isfinite(factor) ? factor : unknown_kappa);
    }
  }
  return result;
}

double deviation_error(double kappa, double roundoff, double largest_f, double largest_f_q) {
  return safety * kappa * roundoff * (largest_f + largest_f_q);
}

std::vector<Index> probed_configurations(Index configurations, Index samples) {
  constexpr Index most = 4, evaluations_per_probe = 1024;
  const Index wanted = 1 + configurations * samples / evaluations_per_probe;
  const Index count = std::min({most, wanted, configurations});
  std::vector<Index> chosen;
  for (Index i = 0; i < count; ++i) chosen.push_back((2 * i + 1) * configurations / (2 * count));
  return chosen;
}

std::vector<Index> probed_samples(std::span<const double> largest, Index multiply_adds) {
  constexpr Index most = 8, affordable_multiply_adds = Index{1} << 25;
  const Index wanted = std::clamp<Index>(affordable_multiply_adds / std::max<Index>(multiply_adds, 1), 1, most);
  const Index samples = std::ssize(largest), count = std::min(wanted, samples);
  std::vector<Index> order(largest.size()), chosen;
  std::iota(order.begin(), order.end(), Index{0});
  std::ranges::stable_sort(order, std::greater{},
                           [&](Index sample) { return largest[static_cast<std::size_t>(sample)]; });
  for (Index i = 0; i < count; ++i) chosen.push_back(order[static_cast<std::size_t>(i * samples / count)]);
  return chosen;
}

}  // namespace quantbound::observe::detail
