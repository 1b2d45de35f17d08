#include "quantbound/certify/crown.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/core/random.hpp"

#include "../../support/exact.hpp"
#include "../../support/network_builder.hpp"

namespace quantbound::certify {
namespace {

using quantbound::testing::Draws;
using quantbound::testing::ExactForward;
using quantbound::testing::NetworkBuilder;
using quantbound::testing::RandomNetwork;
using quantbound::testing::Rational;

network::Network dense_chain(Draws& draws, std::vector<Index> widths) {
  NetworkBuilder builder({widths.front()});
  NodeId last = 0;
  for (std::size_t l = 1; l < widths.size(); ++l) {
    std::vector<double> weights, bias;
    const double scale = 1.5 / std::sqrt(static_cast<double>(widths[l - 1]));
    for (Index i = 0; i < widths[l] * widths[l - 1]; ++i) weights.push_back(scale * draws.normal());
    for (Index i = 0; i < widths[l]; ++i) bias.push_back(0.3 * draws.normal());
    last = builder.dense(last, weights, bias);
    if (l + 1 < widths.size()) last = builder.relu(last);
  }
  return builder.finish(last);
}

Box cube(Index size, double radius) {
  return {std::vector<double>(static_cast<std::size_t>(size), -radius),
          std::vector<double>(static_cast<std::size_t>(size), radius)};
}

Pair quantized(const network::Network& network, int bits) {
  quantize::Configuration configuration;
  configuration.bits = bits;
  return make_pair(network, configuration);
}

double deviation(const Pair& pair, const PairBounds& bounds) {
  return largest_magnitude(bounds[pair.graph.output].difference);
}

TEST(Crown, EqualNetworksDifferByExactlyNothing) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    RandomNetwork random(seed, {.extreme_probability = 0.0});
    const network::Network network = random.network();
    Pair pair = quantized(network, 8);
    pair.fq = pair.f;
    for (auto& layer : pair.change) {
      std::fill(layer.weights.begin(), layer.weights.end(), 0.0);
      std::fill(layer.bias.begin(), layer.bias.end(), 0.0);
    }
    const Box box = quantbound::testing::box_around(tensor::elements(network.graph.input_shape()), random.draws());
    EXPECT_EQ(deviation(pair, difference_crown(pair, box)), 0.0) << seed;
    EXPECT_EQ(deviation(pair, alpha_crown(pair, box, 3)), 0.0) << seed;
  }
}

TEST(Crown, PointsAreBoundedToRounding) {
  // Everything is linear at a point, so a bound that drops any rounding misses the exact difference.
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Draws draws(seed, "point");
    const Pair pair = quantized(dense_chain(draws, {7, 11, 9, 3}), 6);
    std::vector<double> x;
    for (int i = 0; i < 7; ++i) x.push_back(draws.normal());
    const auto f = ExactForward(pair.graph, pair.f).run(x), fq = ExactForward(pair.graph, pair.fq).run(x);
    for (const PairBounds& bounds : {merged_crown(pair, Box{x, x}), difference_crown(pair, Box{x, x})}) {
      const Box& difference = bounds[pair.graph.output].difference;
      for (std::size_t i = 0; i < 3; ++i) {
        const Rational exact = fq.back()[i] - f.back()[i];
        EXPECT_LE(Rational(difference.low[i]), exact);
        EXPECT_GE(Rational(difference.high[i]), exact);
        EXPECT_LT(difference.high[i] - difference.low[i], 1e-12);
      }
    }
  }
}

/// Whether the output's box holds f's exact value at x.
void expect_holds_f(const Pair& pair, const Box& output, const std::vector<double>& x) {
  const auto exact = ExactForward(pair.graph, pair.f).run(x).back();
  for (std::size_t i = 0; i < exact.size(); ++i) {
    EXPECT_LE(Rational(output.low[i]), exact[i]);
    EXPECT_GE(Rational(output.high[i]), exact[i]);
  }
}

TEST(Crown, RoundingOfCoefficientsThatCancelIsCovered) {
  // The coefficient on x is a sum of 40 products that cancel: all that is left of it is its rounding error.
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Draws draws(seed, "cancellation");
    std::vector<double> into, out;
    double sum = 0.0;
    for (int h = 0; h < 40; ++h) {
      into.push_back(draws.uniform(0.5, 1.0));
      out.push_back(h < 39 ? draws.normal() : -sum / into.back());
      sum += into.back() * out.back();
    }
    NetworkBuilder builder({1});
    const NodeId hidden = builder.relu(builder.dense(0, into, std::vector<double>(40, 0.0)));
    const Pair pair = quantized(builder.finish(builder.dense(hidden, out, {0.0})), 8);
    const Box output = difference_crown(pair, Box{{0.5}, {1.0}})[pair.graph.output].f;
    EXPECT_LT(output.high[0] - output.low[0], 1e-12);
    expect_holds_f(pair, output, {0.5});
    expect_holds_f(pair, output, {1.0});
  }
}

TEST(Crown, RoundingAtTheInputIsCovered) {
  // 792 summands that each vanish beside a one.
  std::vector<double> row(800, 0x1p-54);
  std::fill(row.begin(), row.begin() + 8, 1.0);
  NetworkBuilder builder({800});
  const Pair pair = quantized(builder.finish(builder.dense(0, row, {0.0})), 8);
  const std::vector<double> ones(800, 1.0);
  expect_holds_f(pair, difference_crown(pair, Box{ones, ones})[pair.graph.output].f, ones);
  expect_holds_f(pair, merged_crown(pair, Box{ones, ones})[pair.graph.output].f, ones);
}

TEST(Crown, IsNeverLooserThanItsStart) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    RandomNetwork random(seed);
    const network::Network network = random.network();
    const Pair pair = quantized(network, static_cast<int>(random.draws().integer(3, 8)));
    const Box box = quantbound::testing::box_around(tensor::elements(network.graph.input_shape()), random.draws());
    const PairBounds interval = difference_interval(pair, box), crown = difference_crown(pair, box);
    for (std::size_t v = 0; v < interval.nodes.size(); ++v)
      for (std::size_t i = 0; i < interval.nodes[v].f.low.size(); ++i) {
        EXPECT_GE(crown.nodes[v].difference.low[i], interval.nodes[v].difference.low[i]);
        EXPECT_LE(crown.nodes[v].difference.high[i], interval.nodes[v].difference.high[i]);
      }
  }
}

TEST(Crown, IsTighterWhereNeuronsAreOpen) {
  Draws draws(3, "tighter");
  const Pair pair = quantized(dense_chain(draws, {10, 30, 30, 4}), 8);
  const Box box = cube(10, 0.3);
  const double interval = deviation(pair, difference_interval(pair, box));
  const double merged = deviation(pair, merged_crown(pair, box));
  const double joint = deviation(pair, difference_crown(pair, box));
  const double alpha = deviation(pair, alpha_crown(pair, box, 20));
  EXPECT_LT(joint, 0.7 * interval);
  EXPECT_LT(joint, 0.7 * merged);
  EXPECT_LT(alpha, 0.97 * joint);
}

TEST(Crown, DoesNotDependOnTheNumberOfThreads) {
  Draws draws(5, "threads");
  const Pair pair = quantized(dense_chain(draws, {20, 150, 150, 10}), 8);
  const Box box = cube(20, 0.5);
  const int before = omp_get_max_threads();
  std::vector<PairBounds> results;
  for (const int threads : {1, 3}) {
    omp_set_num_threads(threads);
    results.push_back(alpha_crown(pair, box, 2));
  }
  omp_set_num_threads(before);
  for (std::size_t v = 0; v < results[0].nodes.size(); ++v) {
    EXPECT_EQ(results[0].nodes[v].f.low, results[1].nodes[v].f.low);
    EXPECT_EQ(results[0].nodes[v].difference.low, results[1].nodes[v].difference.low);
    EXPECT_EQ(results[0].nodes[v].difference.high, results[1].nodes[v].difference.high);
  }
}

/// Upper bounds of f_q - f of a network with one hidden layer, by CROWN as the paper writes it, in plain loops.
std::vector<double> plain_merged_upper(const Pair& pair, const Box& box) {
  const std::size_t inputs = box.low.size(), hidden = pair.f[0].bias.size(), outputs = pair.f[1].bias.size();
  std::vector<double> upper(outputs);
  for (std::size_t o = 0; o < outputs; ++o) {
    std::vector<double> on_x(inputs, 0.0);
    double constant = 0.0;
    for (const double sign : {-1.0, 1.0}) {
      const auto& layers = sign < 0.0 ? pair.f : pair.fq;
      constant += sign * layers[1].bias[o];
      for (std::size_t h = 0; h < hidden; ++h) {
        double low = layers[0].bias[h], high = low;
        for (std::size_t i = 0; i < inputs; ++i) {
          const double w = layers[0].weights[h * inputs + i];
          low += w * (w > 0.0 ? box.low[i] : box.high[i]);
          high += w * (w > 0.0 ? box.high[i] : box.low[i]);
        }
        const double p = sign * layers[1].weights[o * hidden + h];
        double slope = high > -low ? 1.0 : 0.0, offset = 0.0;
        if (low >= 0.0) slope = 1.0;
        if (high <= 0.0) slope = 0.0;
        if (p > 0.0 && low < 0.0 && high > 0.0) {
          slope = high / (high - low);
          offset = -slope * low;
        }
        constant += p * (slope * layers[0].bias[h] + offset);
        for (std::size_t i = 0; i < inputs; ++i) on_x[i] += p * slope * layers[0].weights[h * inputs + i];
      }
    }
    for (std::size_t i = 0; i < inputs; ++i) constant += std::max(on_x[i] * box.low[i], on_x[i] * box.high[i]);
    upper[o] = constant;
  }
  return upper;
}

TEST(Crown, MergedIsCrownOfThePaper) {
  Draws draws(8, "reference");
  const Pair pair = quantized(dense_chain(draws, {6, 40, 5}), 5);
  const Box box = cube(6, 0.8);
  const auto expected = plain_merged_upper(pair, box);
  const Box actual = merged_crown(pair, box)[pair.graph.output].difference;
  const Box interval = separate_intervals(pair, box)[pair.graph.output].difference;
  for (std::size_t o = 0; o < expected.size(); ++o) {
    EXPECT_LT(expected[o], interval.high[o]);  // else the walk would show nothing
    EXPECT_NEAR(actual.high[o], expected[o], 1e-10 * std::abs(expected[o]));
  }
}

TEST(Crown, EmptyPartsAreRecognized) {
  Draws draws(9, "empty");
  const Pair pair = quantized(dense_chain(draws, {3, 6, 6, 2}), 8);
  const Box box = cube(3, 0.2);
  PairBounds known = difference_interval(pair, box);
  const NodeId first_layer = pair.graph.weight_layers().front();
  known[first_layer].f.low[0] = known[first_layer].f.high[0] + 1.0;
  EXPECT_FALSE(difference_crown(pair, known).has_value());
}

TEST(Crown, SplittingTheMostInfluentialNeuronHelps) {
  Draws draws(4, "influence");
  const Pair pair = quantized(dense_chain(draws, {8, 20, 20, 2}), 8);
  const Box box = cube(8, 0.3);
  const PairBounds root = difference_crown(pair, box);
  const auto open = beta_crown(pair, root, {}, std::vector<Index>{0, 1}, 0)->influences;
  ASSERT_GT(open.size(), 4U);
  for (std::size_t i = 1; i < open.size(); ++i) EXPECT_GE(open[i - 1].gap, open[i].gap);
  double worst = 0.0;
  for (const bool positive : {false, true}) {
    PairBounds part = difference_interval(pair, box);
    Box& f = part[open[0].node].f;
    const auto element = static_cast<std::size_t>(open[0].element);
    (positive ? f.low : f.high)[element] = 0.0;
    const auto bounds = difference_crown(pair, part);
    if (bounds) worst = std::max(worst, deviation(pair, *bounds));
  }
  EXPECT_LT(worst, deviation(pair, root));
}

}  // namespace
}  // namespace quantbound::certify
