// The enclosures of difference_interval hold the exact values: f and f_q evaluated in rational arithmetic at points of
// the box, on random networks of every kind with weights of any size.
#include "quantbound/certify/difference_interval.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "quantbound/network/forward.hpp"

#include "../support/random_pair.hpp"

namespace quantbound::certify {
namespace {

using namespace quantbound::testing;  // NOLINT(google-build-using-namespace)

TEST(DifferenceInterval, HoldsExactDifferencesAtEveryNode) {
  int checked = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    RandomNetwork random(seed, {.image_probability = 0.4, .smooth_probability = 0.2});
    network::Network network = random.network();
    Draws& draws = random.draws();
    if (!has_exact_values(network)) continue;
    if (draws.chance(0.3)) make_extreme(network, draws);
    const Pair pair = random_pair(network, draws);
    const Box box = random_box(tensor::elements(network.graph.input_shape()), draws);
    const PairBounds bounds = difference_interval(pair, box);
    const PairBounds separate = separate_intervals(pair, box);
    for (int k = 0; k < 3; ++k) {
      const std::vector<double> x = point_of(box, draws);
      ASSERT_EQ(first_miss(pair, bounds, x), "") << "network " << seed;
      ASSERT_EQ(first_miss(pair, separate, x), "") << "network " << seed << ", apart";
      ++checked;
    }
  }
  EXPECT_GT(checked, 600);
}

TEST(DifferenceInterval, UnchangedWeightsGiveExactlyZero) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    RandomNetwork random(seed);
    network::Network network = random.network();
    if (random.draws().chance(0.3)) make_extreme(network, random.draws());
    const Pair pair = make_pair(network, network);
    const PairBounds bounds =
        difference_interval(pair, random_box(tensor::elements(network.graph.input_shape()), random.draws()));
    for (const PairBox& node : bounds.nodes) EXPECT_EQ(largest_magnitude(node.difference), 0.0) << "network " << seed;
  }
}

/// A layer without change behind one that has changed only in a row of zeros in f: zero rows stay zero, whatever the
/// slack for underflow is elsewhere.
TEST(DifferenceInterval, UnchangedRowsGiveExactlyZero) {
  quantbound::testing::NetworkBuilder builder({2});
  const NodeId hidden = builder.relu(builder.dense(0, {1.0, 2.0, 1e-200, 5e-324}, {0.0, 0.0}));
  network::Network f = builder.finish(builder.dense(hidden, {3.0, 0.0, 0.0, 1e-200}, {1.0, -1.0}));
  network::Network fq = f;
  fq.layers[0].weights[2] = 2e-200;  // the second hidden neuron alone

  const Box d =
      difference_interval(make_pair(f, fq), Box{{1e-150, 1e-180}, {1e-120, 1e-100}})[f.graph.output].difference;

  EXPECT_EQ(d.low[0], 0.0);
  EXPECT_EQ(d.high[0], 0.0);
  EXPECT_GT(d.high[1], 0.0);  // about 1e-520, which no double holds: only the slack knows
}

/// Interval arithmetic at one point as anyone writes it first: no rounding at all.
double unrounded_difference(const Pair& pair, const std::vector<double>& x) {
  const auto layer = [&](const LayerParameters& parameters) {
    double sum = parameters.bias.front();
    for (std::size_t i = 0; i < x.size(); ++i) sum += parameters.weights[i] * x[i];
    return sum;
  };
  return layer(pair.fq.front()) - layer(pair.f.front());
}

TEST(DifferenceInterval, WithoutOutwardRoundingTheEnclosureWouldBeWrong) {
  Draws draws(7, "rounding");
  int misses = 0;
  for (int k = 0; k < 50; ++k) {
    std::vector<double> weights, x;
    for (int i = 0; i < 20; ++i) {
      weights.push_back(draws.normal());
      x.push_back(draws.normal());
    }
    quantbound::testing::NetworkBuilder builder({20});
    const network::Network f = builder.finish(builder.dense(0, weights, {draws.normal()}));
    const Pair pair = make_pair(f, quantize::Configuration{.bits = 12});
    const Rational exact =
        ExactForward(pair.graph, pair.fq).run(x).back()[0] - ExactForward(pair.graph, pair.f).run(x).back()[0];
    const double unrounded = unrounded_difference(pair, x);
    if (!holds(unrounded, unrounded, exact)) ++misses;
    const Box proved = difference_at(pair, x);
    EXPECT_TRUE(holds(proved.low[0], proved.high[0], exact));
    EXPECT_NEAR(proved.high[0], proved.low[0], 1e-13);
  }
  EXPECT_GT(misses, 40);
}

TEST(DifferenceInterval, AtAPointIsTheDifferenceUpToRounding) {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    RandomNetwork random(seed, {.extreme_probability = 0.0});
    const network::Network network = random.network();
    const Pair pair = make_pair(network, random_configuration(random.draws()));
    std::vector<double> x;
    for (Index i = 0; i < tensor::elements(network.graph.input_shape()); ++i) x.push_back(random.draws().normal());
    const PairBounds at_point = difference_interval(pair, Box{x, x});
    const Box d = difference_at(pair, x);
    const auto f = network::forward(pair.graph, pair.f, x, 1), fq = network::forward(pair.graph, pair.fq, x, 1);
    double magnitude = 0.0;  // of everything on the way
    for (const PairBox& node : at_point.nodes)
      magnitude = std::max({magnitude, largest_magnitude(node.f), largest_magnitude(node.fq)});
    for (std::size_t i = 0; i < f.size(); ++i) {
      EXPECT_NEAR(d.low[i], fq[i] - f[i], 1e-12 * magnitude) << "network " << seed;
      EXPECT_NEAR(d.high[i], fq[i] - f[i], 1e-12 * magnitude) << "network " << seed;
    }
  }
}

/// Rounded activations of f_q and an input of its own, by exact arithmetic: dense, ReLU, dense.
TEST(DifferenceInterval, HoldsRoundedActivationsAndAPerturbedInput) {
  using boost::multiprecision::cpp_int;
  Draws draws(11, "grids");
  for (int k = 0; k < 300; ++k) {
    quantbound::testing::NetworkBuilder builder({2});
    const auto numbers = [&](int count) {
      std::vector<double> result;
      for (int i = 0; i < count; ++i) result.push_back(draws.normal());
      return result;
    };
    const NodeId hidden = draws.chance(0.7) ? builder.relu(builder.dense(0, numbers(6), numbers(3)))
                                            : builder.activation(builder.dense(0, numbers(6), numbers(3)),
                                                                 network::ActivationKind::leaky_relu, 0.2);
    const network::Network f = builder.finish(builder.dense(hidden, numbers(6), numbers(2)));
    Pair pair = make_pair(f, quantize::Configuration{.bits = 4});
    pair.activation_grids.resize(pair.graph.nodes.size());
    const ActivationGrid grid{draws.chance(0.5) ? 0.25 : 0.1, 0.0, 0.25 * static_cast<double>(draws.integer(1, 15))};
    pair.activation_grids[static_cast<std::size_t>(hidden)] = grid;
    const double shift = draws.chance(0.3) ? 0.0 : 0.1 * draws.uniform();
    const Box box = random_box(2, draws);
    PairBox input{box, box, {{-shift, -shift}, {shift, shift}}};
    for (std::size_t i = 0; i < 2; ++i) {
      input.fq.low[i] -= shift;
      input.fq.high[i] += shift;
    }
    const PairBounds bounds = difference_interval(pair, input);
    for (int points = 0; points < 5; ++points) {
      const std::vector<double> x = point_of(box, draws);
      std::vector<double> xq = x;
      for (double& value : xq) value += shift == 0.0 ? 0.0 : draws.uniform(-0.999 * shift, 0.999 * shift);
      const Rationals y = ExactForward(pair.graph, pair.f).run(x).back();
      const Rationals a = ExactForward(pair.graph, pair.fq).run(xq)[1];
      Rationals out(pair.fq[1].bias.begin(), pair.fq[1].bias.end());
      for (std::size_t j = 0; j < 3; ++j) {
        const Rational scaled = a[j] / Rational(grid.step) + Rational(1, 2);
        cpp_int rounded = numerator(scaled) / denominator(scaled);  // towards zero
        if (scaled < 0 && Rational(rounded) != scaled) --rounded;
        Rational h = Rational(rounded) * Rational(grid.step);
        h = std::min(std::max(h, Rational(grid.low)), Rational(grid.high));
        for (std::size_t i = 0; i < 2; ++i) out[i] += Rational(pair.fq[1].weights[i * 3 + j]) * h;
      }
      const PairBox& proved = bounds[pair.graph.output];
      for (std::size_t i = 0; i < 2; ++i) {
        ASSERT_TRUE(holds(proved.fq.low[i], proved.fq.high[i], out[i])) << "pair " << k;
        ASSERT_TRUE(holds(proved.difference.low[i], proved.difference.high[i], out[i] - y[i])) << "pair " << k;
      }
    }
  }
}

}  // namespace
}  // namespace quantbound::certify
