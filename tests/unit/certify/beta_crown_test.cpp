#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/certify/branch_and_bound.hpp"
#include "quantbound/certify/crown.hpp"
#include "quantbound/certify/difference_interval.hpp"

#include "../../support/network_builder.hpp"

namespace quantbound::certify {
namespace {

using quantbound::testing::Draws;
using quantbound::testing::NetworkBuilder;

constexpr double infinity = std::numeric_limits<double>::infinity();

Pair wide_pair(std::uint64_t seed, const std::vector<Index>& widths, int bits) {
  Draws draws(seed, "wide pair");
  NetworkBuilder builder({widths.front()});
  NodeId last = 0;
  for (std::size_t l = 1; l < widths.size(); ++l) {
    std::vector<double> weights, bias;
    for (Index i = 0; i < widths[l] * widths[l - 1]; ++i)
      weights.push_back(1.5 / std::sqrt(static_cast<double>(widths[l - 1])) * draws.normal());
    for (Index i = 0; i < widths[l]; ++i) bias.push_back(0.3 * draws.normal());
    last = builder.dense(last, weights, bias);
    if (l + 1 < widths.size()) last = builder.relu(last);
  }
  quantize::Configuration configuration;
  configuration.bits = bits;
  return make_pair(builder.finish(last), configuration);
}

Box cube(Index size, double radius) {
  return {std::vector<double>(static_cast<std::size_t>(size), -radius),
          std::vector<double>(static_cast<std::size_t>(size), radius)};
}

/// Hidden neurons relu(x1 + x2 + 10), never open, and relu(x1 + x2), open; f is 0 and f_q is x1 + x2.
Pair sum_of_inputs() {
  const auto network = [](double weight, double bias) {
    NetworkBuilder builder({2});
    const NodeId hidden = builder.relu(builder.dense(0, {1.0, 1.0, 1.0, 1.0}, {10.0, 0.0}));
    return builder.finish(builder.dense(hidden, {weight, 0.0}, {bias}));
  };
  return make_pair(network(0.0, 0.0), network(1.0, -10.0));
}

TEST(BetaCrown, AMultiplierTiesAnAssumptionToTheInput) {
  const Pair pair = sum_of_inputs();
  const PairBounds known = difference_interval(pair, cube(2, 1.0));
  const std::vector<Index> outputs{0};
  const NodeId hidden = 1;
  for (const Network network : {Network::f, Network::fq}) {
    const auto bound = [&](std::span<const Assumption> assumptions) {
      const auto proved = beta_crown(pair, known, assumptions, outputs, 40);
      return proved->bounds[pair.graph.output].difference;
    };
    const Assumption below{hidden, 1, network, 0.0, Side::below}, above{hidden, 1, network, 0.0, Side::above};
    EXPECT_NEAR(bound({}).high[0], 2.0, 1e-9);
    EXPECT_LT(bound(std::vector{below}).high[0], 0.2);
    EXPECT_NEAR(bound(std::vector{below}).low[0], -2.0, 1e-9);
    EXPECT_GE(bound(std::vector{below}).high[0], 0.0);
    EXPECT_GT(bound(std::vector{above}).low[0], -0.2);
    EXPECT_LE(bound(std::vector{above}).low[0], 0.0);
  }
}

TEST(BetaCrown, ContradictingIntervalsLeaveNoPoint) {
  const Pair pair = sum_of_inputs();
  const Assumption impossible{1, 0, Network::f, 0.0, Side::below};  // x1 + x2 + 10 < 0
  EXPECT_FALSE(
      beta_crown(pair, difference_interval(pair, cube(2, 1.0)), std::vector{impossible}, std::vector<Index>{0}, 2));
}

TEST(BetaCrown, InputsAttainTheBoundOfWhatIsLinear) {
  const Pair pair = sum_of_inputs();
  const auto proved = beta_crown(pair, difference_interval(pair, cube(2, 1.0)), {}, std::vector<Index>{0}, 1);
  EXPECT_EQ(proved->inputs, (std::vector<double>{1.0, 1.0, -1.0, -1.0}));
}

TEST(BetaCrown, InputsLieInTheRegionWhereABoundDoesNotDependOnThem) {
  NetworkBuilder builder({2});
  const NodeId hidden = builder.relu(builder.dense(0, {1.0, 1.0}, {-100.0}));
  const auto network = builder.finish(builder.dense(hidden, {1.0}, {0.0}));
  const auto proved =
      beta_crown(make_pair(network, quantize::Configuration{}),
                 difference_interval(make_pair(network, quantize::Configuration{}), {{1.0, 2.0}, {2.0, 4.0}}), {},
                 std::vector<Index>{0}, 2);
  EXPECT_EQ(proved->inputs, (std::vector<double>{1.5, 3.0, 1.5, 3.0}));
}

TEST(BranchAndBound, SplittingActivationsTightensWhereInputsAreMany) {
  const Pair pair = wide_pair(2, {40, 20, 20, 3}, 6);
  const Box region = cube(40, 0.15);
  BranchAndBound by_activations(pair, region, {});
  const double root = by_activations.state().upper;
  by_activations.advance(200, infinity);
  EXPECT_LT(by_activations.state().upper, 0.9 * root);
  BranchOptions options;
  options.split = Split::input;
  BranchAndBound by_inputs(pair, region, options);
  by_inputs.advance(2'000, infinity);
  EXPECT_LT(by_activations.state().upper, by_inputs.state().upper);
  EXPECT_LE(by_activations.state().lower, by_inputs.state().upper);
}

TEST(BranchAndBound, SplittingActivationsClosesTheGapWhereInputsAreMany) {
  const Pair pair = wide_pair(2, {40, 20, 20, 3}, 6);
  BranchOptions options;
  options.tolerance = 0.1;
  BranchAndBound search(pair, cube(40, 0.02), options);
  EXPECT_FALSE(search.done());
  search.advance(400, infinity);
  EXPECT_TRUE(search.done());
  EXPECT_LE(search.state().upper, 1.1 * search.state().lower);
  EXPECT_GE(search.state().upper, search.state().lower);
  options.split = Split::input;
  BranchAndBound by_inputs(pair, cube(40, 0.02), options);
  by_inputs.advance(4'000, infinity);
  EXPECT_FALSE(by_inputs.done());
}

TEST(BranchAndBound, SplittingActivationsDoesNotDependOnTheNumberOfThreads) {
  const Pair pair = wide_pair(5, {40, 20, 20, 3}, 6);
  const int threads = omp_get_max_threads();
  std::vector<core::Bytes> saved;
  for (const int count : {1, 3}) {
    omp_set_num_threads(count);
    BranchAndBound search(pair, cube(40, 0.15), {});
    search.advance(60, infinity);
    saved.push_back(search.save());
  }
  omp_set_num_threads(threads);
  EXPECT_EQ(saved[0], saved[1]);
}

}  // namespace
}  // namespace quantbound::certify
