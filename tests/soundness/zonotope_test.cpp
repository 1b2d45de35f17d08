// The enclosures of difference_zonotope hold the exact values: f and f_q in rational arithmetic at points of the box,
// on random networks of every kind, with weights of any size and any number of noises kept; and in double at many more
// points, within what a double forward pass can err.
#include "quantbound/certify/zonotope.hpp"

#include <gtest/gtest.h>

#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/network/forward.hpp"

#include "../support/random_pair.hpp"

namespace quantbound::certify {
namespace {

using namespace quantbound::testing;  // NOLINT(google-build-using-namespace)

Index budget(Draws& draws) { return draws.chance(0.4) ? draws.integer(1, 20) : 100000; }

TEST(DifferenceZonotopeSoundness, HoldsExactDifferencesAtEveryNode) {
  int checked = 0;
  for (std::uint64_t seed = 1000; seed < 1500; ++seed) {
    RandomNetwork random(seed, {.image_probability = 0.4, .smooth_probability = 0.1});
    network::Network network = random.network();
    Draws& draws = random.draws();
    if (!has_exact_values(network)) continue;
    if (draws.chance(0.3)) make_extreme(network, draws);
    const Pair pair = random_pair(network, draws);
    const Box box = random_box(tensor::elements(network.graph.input_shape()), draws);
    const PairBounds bounds = difference_zonotope(pair, box, budget(draws));
    for (int k = 0; k < 3; ++k, ++checked) {
      ASSERT_EQ(first_miss(pair, bounds, point_of(box, draws)), "") << "network " << seed;
    }
  }
  EXPECT_GT(checked, 600);
}

TEST(DifferenceZonotopeSoundness, HoldsDifferencesAtManyPoints) {
  constexpr Index points = 100;
  for (std::uint64_t seed = 2000; seed < 2300; ++seed) {
    RandomNetwork random(seed, {.extreme_probability = 0.0, .smooth_probability = 0.3});
    const network::Network network = random.network();
    Draws& draws = random.draws();
    const Pair pair = make_pair(network, random_configuration(draws));
    const Box box = box_around(tensor::elements(network.graph.input_shape()), draws);
    const PairBounds bounds = difference_zonotope(pair, box, budget(draws));
    std::vector<double> samples;
    for (Index k = 0; k < points; ++k) {
      const auto x = point_of(box, draws);
      samples.insert(samples.end(), x.begin(), x.end());
    }
    const auto f = network::forward(pair.graph, pair.f, samples, points);
    const auto fq = network::forward(pair.graph, pair.fq, samples, points);
    const PairBox& out = bounds[pair.graph.output];
    const std::size_t n = out.f.low.size();
    double largest = 0.0;
    for (const PairBox& node : bounds.nodes) {
      largest = std::max({largest, largest_magnitude(node.f), largest_magnitude(node.fq)});
    }
    const double error = 1e-11 * largest;  // of a double forward pass
    for (std::size_t k = 0; k < f.size(); ++k) {
      const std::size_t i = k % n;
      ASSERT_GE(f[k], out.f.low[i] - error) << seed;
      ASSERT_LE(f[k], out.f.high[i] + error) << seed;
      ASSERT_GE(fq[k], out.fq.low[i] - error) << seed;
      ASSERT_LE(fq[k], out.fq.high[i] + error) << seed;
      ASSERT_GE(fq[k] - f[k], out.difference.low[i] - error) << seed;
      ASSERT_LE(fq[k] - f[k], out.difference.high[i] + error) << seed;
    }
  }
}

TEST(DifferenceZonotopeSoundness, EveryNumberOfNoisesIsSoundAndNeverLooserThanIntervals) {
  for (std::uint64_t seed = 3000; seed < 3020; ++seed) {
    RandomNetwork random(seed, {.image_probability = 0.3, .smooth_probability = 0.0});
    const network::Network network = random.network();
    Draws& draws = random.draws();
    const Pair pair = random_pair(network, draws);
    const Box box = random_box(tensor::elements(network.graph.input_shape()), draws);
    const PairBounds intervals = difference_interval(pair, box);
    const std::vector<double> x = point_of(box, draws);
    for (Index most = 1; most <= 40; ++most) {
      const PairBounds bounds = difference_zonotope(pair, box, most);
      ASSERT_EQ(first_miss(pair, bounds, x), "") << "network " << seed << ", " << most << " noises";
      for (std::size_t v = 0; v < bounds.nodes.size(); ++v) {
        const Box &narrow = bounds.nodes[v].difference, &wide = intervals.nodes[v].difference;
        for (std::size_t i = 0; i < narrow.low.size(); ++i) {
          ASSERT_GE(narrow.low[i], wide.low[i]);
          ASSERT_LE(narrow.high[i], wide.high[i]);
        }
      }
    }
  }
}

}  // namespace
}  // namespace quantbound::certify
