// The bounds of star sets hold the exact differences: f and f_q evaluated in rational arithmetic at points of the box,
// on random networks of every kind with weights of any size, however badly scaled the linear programs are.
#include "quantbound/certify/star.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/certify/difference_interval.hpp"

#include "../support/random_pair.hpp"

namespace quantbound::certify {
namespace {

using namespace quantbound::testing;  // NOLINT(google-build-using-namespace)

/// Largest and smallest sampled difference lie in the bounds; empty, or what does not, in words.
std::string first_miss(const Pair& pair, const Box& bounds, const std::vector<double>& x) {
  const auto output = static_cast<std::size_t>(pair.graph.output);
  const Rationals f = ExactForward(pair.graph, pair.f).run(x)[output];
  const Rationals fq = ExactForward(pair.graph, pair.fq).run(x)[output];
  for (std::size_t i = 0; i < f.size(); ++i) {
    if (!holds(bounds.low[i], bounds.high[i], fq[i] - f[i])) return "output " + std::to_string(i);
  }
  return "";
}

/// Whether `inner` lies in `outer`.
bool within(const Box& inner, const Box& outer) {
  for (std::size_t i = 0; i < inner.low.size(); ++i) {
    if (inner.low[i] < outer.low[i] || inner.high[i] > outer.high[i]) return false;
  }
  return true;
}

class Star : public ::testing::Test {
 protected:
  void SetUp() override {
    threads_ = omp_get_max_threads();
    omp_set_num_threads(1);
  }
  void TearDown() override { omp_set_num_threads(threads_); }

 private:
  int threads_ = 1;
};

TEST_F(Star, HoldsExactDifferencesAndIsNeverLooserThanIntervals) {
  int checked = 0, tighter = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    RandomNetwork random(seed, {.image_probability = 0.4, .smooth_probability = 0.2});
    network::Network network = random.network();
    Draws& draws = random.draws();
    if (draws.chance(0.3)) make_extreme(network, draws);
    const Pair pair = random_pair(network, draws);
    const Box box = random_box(tensor::elements(network.graph.input_shape()), draws);
    const PairBounds start = difference_interval(pair, box);
    const Box bounds = star(pair, start, MethodOptions{});
    const Box& interval = start[pair.graph.output].difference;
    ASSERT_TRUE(within(bounds, interval)) << "network " << seed;
    tighter += largest_magnitude(bounds) < 0.9 * largest_magnitude(interval) ? 1 : 0;
    if (!has_exact_values(network)) continue;
    for (int k = 0; k < 3; ++k) {
      ASSERT_EQ(first_miss(pair, bounds, point_of(box, draws)), "") << "network " << seed;
      ++checked;
    }
  }
  EXPECT_GT(checked, 600);
  EXPECT_GT(tighter, 20);
}

/// Values at points in double, where there are no exact ones: sigmoid and tanh, in larger networks.
TEST_F(Star, HoldsDifferencesOfSmoothNetworks) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    RandomNetwork random(seed, {.image_probability = 0.3, .extreme_probability = 0.0, .smooth_probability = 1.0});
    const network::Network network = random.network();
    Draws& draws = random.draws();
    const Pair pair = random_pair(network, draws);
    const Box box = quantbound::testing::box_around(tensor::elements(network.graph.input_shape()), draws);
    const Box bounds = star(pair, box, MethodOptions{});
    for (int k = 0; k < 50; ++k) {
      const Box at = difference_at(pair, point_of(box, draws));
      for (std::size_t i = 0; i < at.low.size(); ++i) {
        ASSERT_LE(bounds.low[i], at.high[i]) << "network " << seed;
        ASSERT_GE(bounds.high[i], at.low[i]) << "network " << seed;
      }
    }
  }
}

/// f_q rounds its activations to a grid.
TEST_F(Star, HoldsDifferencesWhereActivationsAreRounded) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Draws draws(seed, "rounded activations");
    quantbound::testing::NetworkBuilder builder({3});
    NodeId node = 0;
    std::vector<NodeId> activations;
    for (int layer = 0; layer < 3; ++layer) {
      std::vector<double> weights(static_cast<std::size_t>(4 * tensor::elements(builder.shape(node)))), bias(4);
      for (double& w : weights) w = draws.normal();
      for (double& b : bias) b = 0.3 * draws.normal();
      node = builder.dense(node, weights, bias);
      if (layer < 2) activations.push_back(node = builder.relu(node));
    }
    const network::Network network = builder.finish(node);
    Pair pair = make_pair(network, random_configuration(draws));
    const ActivationGrid grid{std::exp2(-static_cast<double>(draws.integer(1, 6))), 0.0, draws.uniform(0.5, 4.0)};
    pair.activation_grids.assign(pair.graph.nodes.size(), std::nullopt);
    for (const NodeId activation : activations) pair.activation_grids[static_cast<std::size_t>(activation)] = grid;
    const Box box = quantbound::testing::box_around(3, draws);
    const PairBounds start = difference_interval(pair, box);
    const Box bounds = star(pair, start, MethodOptions{});
    ASSERT_TRUE(within(bounds, start[pair.graph.output].difference));
    for (int k = 0; k < 200; ++k) {
      const Box at = difference_at(pair, point_of(box, draws));
      for (std::size_t i = 0; i < at.low.size(); ++i) {
        ASSERT_LE(bounds.low[i], at.high[i]) << "network " << seed;
        ASSERT_GE(bounds.high[i], at.low[i]) << "network " << seed;
      }
    }
  }
}

network::Network small_network(std::uint64_t seed, double scale) {
  Draws draws(seed, "small network");
  quantbound::testing::NetworkBuilder builder({2});
  NodeId node = 0;
  for (int layer = 0; layer < 4; ++layer) {
    std::vector<double> weights(static_cast<std::size_t>(6 * tensor::elements(builder.shape(node)))), bias(6);
    for (double& w : weights) w = scale * draws.normal();
    for (double& b : bias) b = 0.3 * scale * draws.normal();
    node = builder.dense(node, weights, bias);
    if (layer < 3) node = builder.relu(node);
  }
  return builder.finish(node);
}

TEST_F(Star, WithoutChangeIsExactlyZero) {
  const network::Network network = small_network(1, 0.7);
  Pair pair = make_pair(network, quantize::Configuration{});
  pair.fq = pair.f;
  for (auto& layer : pair.change) {
    std::fill(layer.weights.begin(), layer.weights.end(), 0.0);
    std::fill(layer.bias.begin(), layer.bias.end(), 0.0);
  }
  EXPECT_EQ(largest_magnitude(star(pair, Box{{-1.0, -1.0}, {1.0, 1.0}}, MethodOptions{})), 0.0);
}

TEST_F(Star, OfAPointIsTheDifferenceThere) {
  const Pair pair = make_pair(small_network(2, 0.7), quantize::Configuration{.bits = 4});
  const std::vector<double> x = {0.3, -0.7};
  const Box bounds = star(pair, Box{x, x}, MethodOptions{}), at = difference_at(pair, x);
  for (std::size_t i = 0; i < at.low.size(); ++i) {
    EXPECT_LE(bounds.low[i], at.high[i]);
    EXPECT_GE(bounds.high[i], at.low[i]);
    EXPECT_LT(bounds.high[i] - bounds.low[i], 1e-13);
  }
}

TEST_F(Star, IsSeveralTimesTighterThanIntervalsOnUnstableNetworks) {
  const Pair pair = make_pair(small_network(3, 0.7), quantize::Configuration{.bits = 8});
  const Box box{{-1.0, -1.0}, {1.0, 1.0}};
  const double interval = largest_magnitude(difference_interval(pair, box)[pair.graph.output].difference);
  EXPECT_LT(largest_magnitude(star(pair, box, MethodOptions{})), 0.5 * interval);
}

TEST_F(Star, DoesNotDependOnTheNumberOfThreads) {
  const Pair pair = make_pair(small_network(4, 0.7), quantize::Configuration{.bits = 6});
  const Box box{{-1.0, -1.0}, {1.0, 1.0}};
  const Box one = star(pair, box, MethodOptions{});
  omp_set_num_threads(3);
  const Box three = star(pair, box, MethodOptions{});
  EXPECT_EQ(one.low, three.low);
  EXPECT_EQ(one.high, three.high);
}

TEST_F(Star, StoppedReturnsWhatIsProved) {
  const Pair pair = make_pair(small_network(5, 0.7), quantize::Configuration{.bits = 6});
  const Box box{{-1.0, -1.0}, {1.0, 1.0}};
  const PairBounds start = difference_interval(pair, box);
  const Box& interval = start[pair.graph.output].difference;
  const Box finished = star(pair, start, MethodOptions{});
  for (int asked_until : {0, 1, 10, 100}) {
    int asked = 0;
    MethodOptions options;
    options.stop = [&] { return asked++ >= asked_until; };
    const Box stopped = star(pair, start, options);
    EXPECT_TRUE(within(stopped, interval));
    EXPECT_GE(largest_magnitude(stopped), largest_magnitude(finished));
  }
  EXPECT_FALSE(star_bounds(pair, box, MethodOptions{}).timed_out);
  MethodOptions no_time;
  no_time.max_seconds = 0.0;
  EXPECT_TRUE(star_bounds(pair, box, no_time).timed_out);
  const Box at_once = star(pair, start, no_time);
  EXPECT_EQ(at_once.low, interval.low);
  EXPECT_EQ(at_once.high, interval.high);
}

TEST_F(Star, WithLittleMemoryModelsTheLastLayersAlone) {
  const Pair pair = make_pair(small_network(6, 0.7), quantize::Configuration{.bits = 6});
  const Box box{{-1.0, -1.0}, {1.0, 1.0}};
  const PairBounds start = difference_interval(pair, box);
  const double whole = largest_magnitude(star(pair, start, MethodOptions{}));
  const double interval = largest_magnitude(start[pair.graph.output].difference);
  MethodOptions options;
  options.max_bytes = 80000;
  const double part = largest_magnitude(star(pair, start, options));
  EXPECT_LT(part, interval);
  EXPECT_GT(part, whole);
  options.max_bytes = 0;
  EXPECT_EQ(largest_magnitude(star(pair, start, options)), interval);
}

}  // namespace
}  // namespace quantbound::certify
