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
  for (std::uint64_t seed = 1000; seed < 1280; ++seed) {
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
  EXPECT_GT(checked, 400);
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

std::vector<double> normals(Index count, double scale, Draws& draws) {
  std::vector<double> values;
  for (Index i = 0; i < count; ++i) values.push_back(scale * draws.normal());
  return values;
}

/// Every operator that moves, joins or multiplies values, with weights between them.
network::Network gymnastics(Draws& draws) {
  NetworkBuilder builder({2, 4, 4});
  tensor::Convolution same{.channels_in = 2, .height = 4, .width = 4, .channels_out = 2};
  same.window = {.kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  const auto convolved = [&](NodeId node) {
    return builder.convolution(node, same, normals(36, 0.4, draws), normals(2, 0.2, draws));
  };
  const NodeId a = builder.relu(convolved(0)), b = convolved(a);
  const NodeId turned = builder.add(network::Permute{{0, 2, 1}}, {b});
  const NodeId reversed = builder.add(network::Slice{{0, 3, 0}, {1, -1, 1}, {2, 4, 4}}, {turned});
  const NodeId sum = builder.add(network::Add{}, {reversed, a});
  const NodeId joined = builder.add(network::Concat{1}, {sum, b});
  const NodeId padded = builder.add(network::Pad{{0, 1, 0}, {1, 0, 1}, draws.normal()}, {joined});
  const NodeId pooled =
      draws.chance(0.5) ? builder.add(network::MaxPool{{.kernel_height = 2, .kernel_width = 2}}, {padded})
                        : builder.add(network::AveragePool{{.kernel_height = 2, .kernel_width = 2}, true}, {padded});
  const NodeId means = builder.add(network::GlobalAveragePool{}, {pooled});
  const NodeId gate = builder.activation(means, network::ActivationKind::hard_sigmoid, 0.2, 0.5);
  const NodeId gated = builder.add(network::Product{}, {pooled, gate});
  const NodeId swish = builder.activation(gated, network::ActivationKind::hard_swish);
  const NodeId scaled = builder.add(network::ScaleShift{normals(3, 1.0, draws), normals(3, 1.0, draws)}, {swish});
  return builder.finish(
      builder.dense(scaled, normals(2 * tensor::elements(builder.shape(scaled)), 0.3, draws), normals(2, 1.0, draws)));
}

TEST(DifferenceZonotopeSoundness, HoldsExactDifferencesThroughEveryOperator) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Draws draws(seed, "gymnastics");
    const network::Network network = gymnastics(draws);
    const Pair pair = random_pair(network, draws);
    const Box box = draws.chance(0.5) ? random_box(32, draws) : box_around(32, draws);
    const PairBounds bounds = difference_zonotope(pair, box, budget(draws));
    for (int k = 0; k < 2; ++k) ASSERT_EQ(first_miss(pair, bounds, point_of(box, draws)), "") << seed;
  }
}

TEST(DifferenceZonotopeSoundness, HoldsExactDifferencesWhereActivationsAreRounded) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Draws draws(seed, "rounded activations");
    NetworkBuilder builder({3});
    NodeId node = 0;
    std::vector<NodeId> rounded;
    for (int layer = 0; layer < 2; ++layer) {
      node = builder.relu(
          builder.dense(node, normals(5 * tensor::elements(builder.shape(node)), 0.6, draws), normals(5, 0.2, draws)));
      rounded.push_back(node);
    }
    const network::Network network =
        builder.finish(builder.dense(node, normals(10, 0.6, draws), normals(2, 0.2, draws)));
    Pair pair = make_pair(network, random_configuration(draws));
    pair.activation_grids.resize(network.graph.nodes.size());
    for (const NodeId v : rounded) {
      pair.activation_grids[static_cast<std::size_t>(v)] = ActivationGrid{0.0625, 0.0, draws.uniform(0.5, 3.0)};
    }
    const Box box = box_around(3, draws);
    const Box d = difference_zonotope(pair, box, budget(draws))[pair.graph.output].difference;
    for (int k = 0; k < 20; ++k) {
      const Box point = difference_at(pair, point_of(box, draws));
      for (std::size_t i = 0; i < 2; ++i) {
        ASSERT_LE(d.low[i], point.high[i]) << seed;
        ASSERT_GE(d.high[i], point.low[i]) << seed;
      }
    }
  }
}

}  // namespace
}  // namespace quantbound::certify
