#include "quantbound/certify/branch_and_bound.hpp"

#include <cmath>
#include <filesystem>
#include <limits>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/network/readers.hpp"

#include "../../support/network_builder.hpp"

namespace quantbound::certify {
namespace {

using quantbound::testing::NetworkBuilder;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t no_limit = std::numeric_limits<std::int64_t>::max();

network::Network read_model(const std::string& name) {
  return network::read_network(std::filesystem::path(QUANTBOUND_SHARED_DATA) / "models" / name);
}

#define SKIP_WITHOUT_SHARED_DATA() \
  if (!std::filesystem::exists(QUANTBOUND_SHARED_DATA)) GTEST_SKIP() << "no " << QUANTBOUND_SHARED_DATA

/// x -> relu(x) against x -> slope relu(x - shift): all by hand.
Pair ramps(double slope, double shift) {
  const auto ramp = [](double weight, double bias) {
    NetworkBuilder builder({1});
    return builder.finish(builder.dense(builder.relu(builder.dense(0, {1.0}, {bias})), {weight}, {0.0}));
  };
  return make_pair(ramp(1.0, 0.0), ramp(slope, -shift));
}

/// A pair whose search takes a few hundred pieces.
struct Long {
  Pair pair;
  Box region;
};
Long long_search(std::uint64_t seed) {
  quantbound::testing::Draws draws(seed, "long search");
  NetworkBuilder builder({4});
  NodeId node = 0;
  const auto dense = [&](Index outputs) {
    const Index inputs = tensor::elements(builder.shape(node));
    std::vector<double> weights, bias;
    for (Index i = 0; i < inputs * outputs; ++i)
      weights.push_back(draws.normal() / std::sqrt(static_cast<double>(inputs)));
    for (Index i = 0; i < outputs; ++i) bias.push_back(0.3 * draws.normal());
    return builder.dense(node, weights, bias);
  };
  for (int layer = 0; layer < 3; ++layer) node = builder.relu(dense(16));
  node = dense(3);
  quantize::Configuration configuration;
  configuration.bits = 5;
  return {make_pair(builder.finish(node), configuration), {{-1.0, -1.0, -1.0, -1.0}, {1.0, 1.0, 1.0, 1.0}}};
}

void expect_equal(const BranchAndBound& a, const BranchAndBound& b) {
  EXPECT_EQ(a.state().upper, b.state().upper);
  EXPECT_EQ(a.state().lower, b.state().lower);
  EXPECT_EQ(a.state().boxes, b.state().boxes);
  EXPECT_EQ(a.state().open, b.state().open);
  EXPECT_EQ(a.difference().low, b.difference().low);
  EXPECT_EQ(a.difference().high, b.difference().high);
  EXPECT_EQ(std::vector(a.witness().begin(), a.witness().end()), std::vector(b.witness().begin(), b.witness().end()));
}

TEST(BranchAndBound, FindsTheExactDeviationOfTwoRamps) {
  // |0.5 relu(x - 1) - relu(x)| on [-1, 3] is 2 at x = 3, on [-1, 1] it is 1
  const Pair pair = ramps(0.5, 1.0);
  for (const auto& [high, deviation] : {std::pair{3.0, 2.0}, std::pair{1.0, 1.0}}) {
    BranchOptions options;
    options.tolerance = 1e-12;
    BranchAndBound search(pair, {{-1.0}, {high}}, options);
    search.advance(no_limit, infinity);
    EXPECT_TRUE(search.done());
    EXPECT_NEAR(search.state().upper, deviation, 1e-12);
    EXPECT_NEAR(search.state().lower, deviation, 1e-12);
    EXPECT_EQ(search.witness()[0], high);
    EXPECT_NEAR(search.difference().low[0], -deviation, 1e-12);
  }
}

TEST(BranchAndBound, EndsAtRoundingWithToleranceZero) {
  const Pair pair = ramps(0.3, 0.7);
  BranchOptions options;
  options.tolerance = 0.0;
  BranchAndBound search(pair, {{-1.0}, {2.0}}, options);
  search.advance(100'000, infinity);
  EXPECT_TRUE(search.done());
  EXPECT_NEAR(search.state().upper, search.state().lower, 1e-13);
}

TEST(BranchAndBound, IdenticalNetworksDeviateByExactlyZero) {
  const Pair pair = ramps(1.0, 0.0);
  BranchAndBound search(pair, {{-1.0}, {2.0}}, {});
  EXPECT_TRUE(search.done());
  EXPECT_EQ(search.state().upper, 0.0);
  EXPECT_EQ(search.difference().low[0], 0.0);
  EXPECT_EQ(search.difference().high[0], 0.0);
}

TEST(BranchAndBound, AnOutputThatIsTheSameInBothIsExactlyZero) {
  const auto two_outputs = [](double second) {
    NetworkBuilder builder({1});
    const NodeId hidden = builder.relu(builder.dense(0, {1.0, -0.7}, {0.1, 0.2}));
    return builder.finish(builder.dense(hidden, {0.3, 0.4, second, 0.1}, {0.0, 0.0}));
  };
  const Pair pair = make_pair(two_outputs(0.5), two_outputs(0.6));
  BranchAndBound search(pair, {{-1.0}, {2.0}}, {});
  search.advance(no_limit, infinity);
  EXPECT_EQ(search.difference().low[0], 0.0);
  EXPECT_EQ(search.difference().high[0], 0.0);
  EXPECT_GT(search.difference().high[1], 0.19);
}

TEST(BranchAndBound, APointIsItsOwnProof) {
  const Long search_of = long_search(3);
  const std::vector<double> x{0.1, -0.2, 0.3, 0.4};
  BranchAndBound search(search_of.pair, {x, x}, {});
  EXPECT_TRUE(search.done());
  const Box exact = difference_at(search_of.pair, x);
  EXPECT_NEAR(search.state().upper, largest_magnitude(exact), 1e-12);
  EXPECT_NEAR(search.state().lower, largest_magnitude(exact), 1e-12);
}

TEST(BranchAndBound, ReachesItsToleranceAndNeverLessThanAPoint) {
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    const Long search_of = long_search(seed);
    BranchOptions options;
    options.tolerance = 0.02;
    BranchAndBound search(search_of.pair, search_of.region, options);
    search.advance(no_limit, infinity);
    const SearchState state = search.state();
    EXPECT_TRUE(search.done());
    EXPECT_LE(state.lower, state.upper);
    EXPECT_LE(state.upper, 1.02 * state.lower);
    const Box at_witness = difference_at(search_of.pair, search.witness());
    EXPECT_NEAR(largest_magnitude(at_witness), state.lower, 1e-12);
  }
}

TEST(BranchAndBound, OneShotIsNoTighterThanWhatSplittingProves) {
  const Long search_of = long_search(1);
  BranchAndBound search(search_of.pair, search_of.region, {});
  double before = search.state().upper;
  const double root = before;
  while (!search.done()) {
    search.advance(50, infinity);
    EXPECT_LE(search.state().upper, before);
    before = search.state().upper;
  }
  EXPECT_LT(before, 0.8 * root);
}

TEST(BranchAndBound, DoesNotDependOnTheNumberOfThreads) {
  const Long search_of = long_search(2);
  const int threads = omp_get_max_threads();
  std::vector<BranchAndBound> searches;
  for (const int count : {1, 3}) {
    omp_set_num_threads(count);
    searches.emplace_back(search_of.pair, search_of.region, BranchOptions{});
    searches.back().advance(300, infinity);
  }
  omp_set_num_threads(threads);
  expect_equal(searches[0], searches[1]);
  EXPECT_GE(searches[0].state().boxes, 64);
}

TEST(BranchAndBound, ContinuesFromASaveAsIfNothingHadHappened) {
  const Long search_of = long_search(2);
  BranchAndBound search(search_of.pair, search_of.region, {});
  search.advance(100, infinity);
  BranchAndBound restored = BranchAndBound::without_root(search_of.pair, search_of.region, {});
  restored.restore(search.save());
  expect_equal(search, restored);
  search.advance(200, infinity);
  restored.advance(200, infinity);
  expect_equal(search, restored);
  EXPECT_EQ(search.save(), restored.save());
}

TEST(BranchAndBound, RefusesASaveOfAnotherRegion) {
  const Long search_of = long_search(2);
  const BranchAndBound search(search_of.pair, search_of.region, {});
  Box other = search_of.region;
  other.high[0] = 2.0;
  BranchAndBound elsewhere = BranchAndBound::without_root(search_of.pair, other, {});
  EXPECT_THROW(elsewhere.restore(search.save()), core::Error);
  const core::Bytes whole = search.save();
  BranchAndBound same = BranchAndBound::without_root(search_of.pair, search_of.region, {});
  EXPECT_THROW(same.restore(std::span(whole).first(whole.size() / 2)), core::Error);
}

TEST(BranchAndBound, TwoInstancesThatShareThePiecesProveTheSame) {
  const Long search_of = long_search(4);
  BranchOptions options;
  options.tolerance = 0.02;
  BranchAndBound alone(search_of.pair, search_of.region, options);
  alone.advance(no_limit, infinity);

  BranchAndBound first(search_of.pair, search_of.region, options);
  BranchAndBound second = BranchAndBound::without_root(search_of.pair, search_of.region, options);
  first.advance(100, infinity);
  const std::int64_t open = first.state().open;
  ASSERT_GT(open, 4);
  second.take(first.give(open / 2));
  EXPECT_EQ(first.state().open + second.state().open, open);
  EXPECT_EQ(second.state().open, open / 2);
  second.propose(first.witness());
  while (!first.done() || !second.done()) {
    first.advance(100, infinity);
    second.advance(100, infinity);
    if (!first.witness().empty()) second.propose(first.witness());
    if (!second.witness().empty()) first.propose(second.witness());
  }
  const double upper = std::max(first.state().upper, second.state().upper);
  const double lower = std::max(first.state().lower, second.state().lower);
  EXPECT_LE(upper, 1.02 * lower);
  EXPECT_GE(1.0000001 * upper, alone.state().lower);
  EXPECT_GE(1.0000001 * alone.state().upper, lower);
}

TEST(BranchAndBound, WithoutPiecesThereIsNothingToProve) {
  const Long search_of = long_search(4);
  BranchAndBound empty = BranchAndBound::without_root(search_of.pair, search_of.region, {});
  EXPECT_TRUE(empty.done());
  EXPECT_EQ(empty.state().upper, 0.0);
  EXPECT_TRUE(empty.witness().empty());
  EXPECT_EQ(empty.give(10), BranchAndBound::without_root(search_of.pair, search_of.region, {}).give(1));
}

TEST(BranchAndBound, ProvesATargetOrLeavesItAtAWitness) {
  const Long search_of = long_search(1);
  BranchAndBound exact(search_of.pair, search_of.region, {});
  exact.advance(no_limit, infinity);
  const Box difference = exact.difference();
  const std::size_t outputs = difference.low.size();

  BranchOptions options;
  options.target = Box{std::vector<double>(outputs, -1.1 * exact.state().upper),
                       std::vector<double>(outputs, 1.1 * exact.state().upper)};
  BranchAndBound proof(search_of.pair, search_of.region, options);
  proof.advance(no_limit, infinity);
  EXPECT_TRUE(proof.done());
  EXPECT_FALSE(proof.state().refuted);
  EXPECT_EQ(proof.state().open, 0);
  EXPECT_LE(proof.state().upper, 1.1 * exact.state().upper);

  const double too_little = 0.99 * exact.state().lower;
  options.target = Box{std::vector<double>(outputs, -too_little), std::vector<double>(outputs, too_little)};
  BranchAndBound refutation(search_of.pair, search_of.region, options);
  refutation.advance(no_limit, infinity);
  EXPECT_TRUE(refutation.done());
  EXPECT_TRUE(refutation.state().refuted);
  EXPECT_GT(refutation.state().lower, too_little);
  EXPECT_GT(largest_magnitude(difference_at(search_of.pair, refutation.witness())), too_little);
}

TEST(BranchAndBound, SplittingActivationsAgreesWithSplittingInputs) {
  const Long search_of = long_search(1);
  BranchOptions options;
  options.split = Split::activation;
  BranchAndBound by_activations(search_of.pair, search_of.region, options);
  const double root = by_activations.state().upper;
  by_activations.advance(2'000, infinity);
  options.split = Split::input;
  BranchAndBound by_inputs(search_of.pair, search_of.region, options);
  by_inputs.advance(no_limit, infinity);
  EXPECT_LE(by_activations.state().upper, root);
  EXPECT_GT(by_activations.state().open, 0);
  EXPECT_GE(by_activations.state().upper, by_inputs.state().lower);
  EXPECT_GE(by_inputs.state().upper, by_activations.state().lower);
}

TEST(BranchAndBound, GoesDepthFirstWhereMemoryIsShortAndProvesTheSame) {
  const Long search_of = long_search(4);
  BranchOptions options;
  options.tolerance = 0.02;
  BranchAndBound roomy(search_of.pair, search_of.region, options);
  options.max_bytes = 16 << 10;
  BranchAndBound cramped(search_of.pair, search_of.region, options);
  std::int64_t most_roomy = 0, most_cramped = 0;
  for (auto [search, most] : {std::pair{&roomy, &most_roomy}, std::pair{&cramped, &most_cramped}}) {
    while (!search->done()) {
      search->advance(64, infinity);
      *most = std::max(*most, search->state().open);
    }
    EXPECT_LE(search->state().upper, 1.02 * search->state().lower);
  }
  EXPECT_LT(most_cramped, most_roomy);
}

TEST(BranchAndBound, CookesLargeNetworkDeviatesBy0_3541190331) {
  SKIP_WITHOUT_SHARED_DATA();
  const Pair pair = make_pair(read_model("merged/large.onnx"), read_model("merged/large_quantized.onnx"));
  BranchOptions options;
  options.tolerance = 1e-8;
  BranchAndBound search(pair, {{0.0}, {1.0}}, options);
  search.advance(100'000, infinity);
  EXPECT_TRUE(search.done());
  EXPECT_NEAR(search.state().upper, 0.3541190331, 4e-9);
  EXPECT_NEAR(search.state().lower, 0.3541190331, 4e-9);
  EXPECT_NEAR(search.witness()[0], 0.1213080619, 1e-6);
  EXPECT_NEAR(search.difference().low[0], -0.3204868, 0.34);  // only bounded as far as the other side needed
}

TEST(BranchAndBound, CookesPrunedNetworkDeviatesBy84_7304880) {
  SKIP_WITHOUT_SHARED_DATA();
  const Pair pair = make_pair(read_model("merged/large.onnx"), read_model("merged/pruned_quantized.onnx"));
  BranchOptions options;
  options.tolerance = 1e-8;
  BranchAndBound search(pair, {{0.0}, {1.0}}, options);
  search.advance(100'000, infinity);
  EXPECT_TRUE(search.done());
  EXPECT_NEAR(search.state().upper, 84.7304880, 1e-6);
  EXPECT_NEAR(search.state().lower, 84.7304880, 1e-6);
}

}  // namespace
}  // namespace quantbound::certify
