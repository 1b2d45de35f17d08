// The enclosures of merged_crown, difference_crown and alpha_crown hold the exact values: f and f_q evaluated in
// rational arithmetic at points of the box, on random networks of every kind with weights of any size.
#include "quantbound/certify/crown.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include <gtest/gtest.h>

#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/network/forward.hpp"

#include "../support/random_pair.hpp"

namespace quantbound::certify {
namespace {

using namespace quantbound::testing;  // NOLINT(google-build-using-namespace)

constexpr double infinity = std::numeric_limits<double>::infinity();

struct Method {
  const char* name;
  std::function<PairBounds(const Pair&, const Box&)> run;
};
std::vector<Method> methods() {
  return {{"merged_crown", [](const Pair& pair, const Box& box) { return merged_crown(pair, box); }},
          {"difference_crown", [](const Pair& pair, const Box& box) { return difference_crown(pair, box); }},
          {"alpha_crown", [](const Pair& pair, const Box& box) { return alpha_crown(pair, box, 5); }}};
}

TEST(Crown, HoldsExactValuesAtEveryNode) {
  int checked = 0;
  for (std::uint64_t seed = 0; seed < 120; ++seed) {
    RandomNetwork random(seed, {.image_probability = 0.4, .smooth_probability = 0.1});
    network::Network network = random.network();
    if (!has_exact_values(network)) continue;
    Draws& draws = random.draws();
    if (draws.chance(0.2)) make_extreme(network, draws);
    const Pair pair = random_pair(network, draws);
    const Box box = random_box(tensor::elements(network.graph.input_shape()), draws);
    std::vector<std::vector<double>> points;
    for (int i = 0; i < 4; ++i) points.push_back(point_of(box, draws));
    for (const Method& method : methods()) {
      const PairBounds bounds = method.run(pair, box);
      for (const auto& x : points) {
        EXPECT_EQ(first_miss(pair, bounds, x), "") << method.name << ", seed " << seed;
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 900);
}

TEST(Crown, HoldsValuesOfSigmoidsAndTanh) {
  // No exact values here: the forward pass in double, whose own error is far below the tolerance.
  int checked = 0;
  for (std::uint64_t seed = 0; seed < 120; ++seed) {
    RandomNetwork random(seed, {.image_probability = 0.3, .extreme_probability = 0.0, .smooth_probability = 0.9});
    const network::Network network = random.network();
    if (has_exact_values(network)) continue;
    Draws& draws = random.draws();
    const Pair pair = random_pair(network, draws);
    const Box box = random_box(tensor::elements(network.graph.input_shape()), draws);
    for (const Method& method : methods()) {
      const PairBounds bounds = method.run(pair, box);
      const Box& difference = bounds[pair.graph.output].difference;
      for (int point = 0; point < 20; ++point) {
        const auto x = point_of(box, draws);
        const auto f = network::forward(pair.graph, pair.f, x, 1), fq = network::forward(pair.graph, pair.fq, x, 1);
        for (std::size_t i = 0; i < f.size(); ++i) {
          const double tolerance = 1e-9 * (std::abs(f[i]) + std::abs(fq[i]) + 1.0);
          EXPECT_GE(fq[i] - f[i], difference.low[i] - tolerance) << method.name << ", seed " << seed;
          EXPECT_LE(fq[i] - f[i], difference.high[i] + tolerance) << method.name << ", seed " << seed;
          ++checked;
        }
      }
    }
  }
  EXPECT_GT(checked, 3000);
}

}  // namespace
}  // namespace quantbound::certify
