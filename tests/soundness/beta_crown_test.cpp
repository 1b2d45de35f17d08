// Bounds under assumptions hold at every point that satisfies them: assumptions are read off the exact values of f and
// f_q at a point, on random graphs and random chains with weights of any size, so that point is one of those.
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "quantbound/certify/crown.hpp"
#include "quantbound/certify/difference_interval.hpp"

#include "../../src/certify/relaxation.hpp"
#include "../support/dense_pairs.hpp"
#include "../support/exact.hpp"
#include "../support/network_builder.hpp"

namespace quantbound::certify {
namespace {

using quantbound::testing::Draws;
using quantbound::testing::ExactForward;
using quantbound::testing::RandomChain;
using quantbound::testing::RandomNetwork;
using quantbound::testing::Rational;
using quantbound::testing::Rationals;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

struct ExactPoint {
  std::vector<Rationals> f, fq;
};

/// Up to `count` of what is true at a point.
std::vector<Assumption> truths(const Pair& pair, const ExactPoint& point, Draws& draws, int count) {
  std::vector<Assumption> candidates, chosen;
  for (const network::Node& node : pair.graph.nodes) {
    const auto* activation = std::get_if<network::Activation>(&node.op);
    if (activation == nullptr) continue;
    const NodeId input = node.inputs.front();
    for (const double kink : detail::kinks_of(*activation))
      for (const Network network : {Network::f, Network::fq}) {
        const Rationals& values = (network == Network::f ? point.f : point.fq)[at(input)];
        for (std::size_t i = 0; i < values.size(); ++i)
          candidates.push_back(
              {input, static_cast<Index>(i), network, kink, values[i] >= Rational(kink) ? Side::above : Side::below});
      }
  }
  for (int k = 0; k < count && !candidates.empty(); ++k)
    chosen.push_back(candidates[at(draws.integer(0, std::ssize(candidates) - 1))]);
  return chosen;
}

bool holds(const Box& box, std::size_t i, const Rational& value) {
  return (std::isinf(box.low[i]) || Rational(box.low[i]) <= value) &&
         (std::isinf(box.high[i]) || value <= Rational(box.high[i]));
}

std::vector<Index> all_outputs(const Pair& pair) {
  std::vector<Index> outputs(at(tensor::elements(pair.graph.output_shape())));
  for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i] = static_cast<Index>(i);
  return outputs;
}

/// Bounds under truths of points of the box; returns how many assumptions there were.
int check(const Pair& pair, const Box& box, const std::vector<std::vector<double>>& points, Draws& draws) {
  const PairBounds known = difference_interval(pair, box);
  const auto outputs = all_outputs(pair);
  int assumed = 0;
  for (const auto& x : points) {
    const ExactPoint exact{ExactForward(pair.graph, pair.f).run(x), ExactForward(pair.graph, pair.fq).run(x)};
    const auto assumptions = truths(pair, exact, draws, static_cast<int>(draws.integer(0, 8)));
    const auto proved = beta_crown(pair, known, assumptions, outputs, 6);
    EXPECT_TRUE(proved.has_value());
    if (!proved) continue;
    assumed += static_cast<int>(assumptions.size());
    for (NodeId node = 0; node <= pair.graph.output; ++node) {
      const PairBox& boxes = proved->bounds[node];
      for (std::size_t i = 0; i < boxes.f.low.size(); ++i) {
        const Rational &y = exact.f[at(node)][i], &fq_y = exact.fq[at(node)][i];
        EXPECT_TRUE(holds(boxes.f, i, y) && holds(boxes.fq, i, fq_y) && holds(boxes.difference, i, fq_y - y))
            << "node " << node << " element " << i;
      }
    }
  }
  return assumed;
}

TEST(BetaCrown, HoldsExactPointsThatSatisfyItsAssumptionsOnDenseChains) {
  int assumed = 0;
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    RandomChain random(5000 + seed);
    const Pair pair = random.pair();
    const Box box = random.box(tensor::elements(pair.graph.input_shape()));
    std::vector<std::vector<double>> points;
    for (int k = 0; k < 6; ++k) points.push_back(random.point(box.low, box.high));
    assumed += check(pair, box, points, random.draws());
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
  EXPECT_GT(assumed, 1'000);
}

TEST(BetaCrown, HoldsExactPointsThatSatisfyItsAssumptionsOnGraphs) {
  int assumed = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    RandomNetwork random(seed, {.smooth_probability = 0.0});
    const network::Network network = random.network();
    quantize::Configuration configuration;
    configuration.bits = static_cast<int>(random.draws().integer(2, 8));
    const Pair pair = make_pair(network, configuration);
    const Box box = quantbound::testing::box_around(tensor::elements(network.graph.input_shape()), random.draws());
    std::vector<std::vector<double>> points(3, std::vector<double>(box.low.size()));
    for (auto& x : points)
      for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = random.draws().chance(0.5)
                   ? box.low[i]
                   : std::clamp(random.draws().uniform(box.low[i], box.high[i]), box.low[i], box.high[i]);
    assumed += check(pair, box, points, random.draws());
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
  EXPECT_GT(assumed, 100);
}

}  // namespace
}  // namespace quantbound::certify
