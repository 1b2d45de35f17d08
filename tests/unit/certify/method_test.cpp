#include "quantbound/certify/method.hpp"

#include <set>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/core/rounding.hpp"

#include "../../support/network_builder.hpp"

namespace quantbound::certify {
namespace {

using testing::Draws;
using testing::NetworkBuilder;

/// relu chains of dense layers: what every method takes.
network::Network dense_chain(std::uint64_t seed, std::vector<Index> widths) {
  Draws draws(seed, "method test");
  NetworkBuilder builder({widths.front()});
  NodeId node = 0;
  for (std::size_t l = 1; l < widths.size(); ++l) {
    std::vector<double> weights, bias;
    for (Index i = 0; i < widths[l] * widths[l - 1]; ++i)
      weights.push_back(draws.normal() / std::sqrt(static_cast<double>(widths[l - 1])));
    for (Index i = 0; i < widths[l]; ++i) bias.push_back(0.3 * draws.normal());
    node = builder.dense(node, std::move(weights), std::move(bias));
    if (l + 1 < widths.size()) node = builder.relu(node);
  }
  return builder.finish(node);
}

Pair quantized(const network::Network& f, int bits) {
  quantize::Configuration configuration;
  configuration.bits = bits;
  return make_pair(f, configuration);
}

Box cube(std::size_t size, double low, double high) {
  return {std::vector<double>(size, low), std::vector<double>(size, high)};
}

double attained_at(const Pair& pair, const std::vector<double>& x) {
  const Box d = difference_at(pair, x);
  double attained = 0.0;
  for (std::size_t i = 0; i < d.low.size(); ++i) attained = std::max({attained, d.low[i], -d.high[i]});
  return attained;
}

double upper(const Certificate& certificate) { return largest_magnitude(certificate.difference); }

class EveryMethod : public ::testing::TestWithParam<Method> {};

TEST_P(EveryMethod, HoldsAtEveryPointTried) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const Pair pair = quantized(dense_chain(seed, {4, 10, 10, 3}), 3 + static_cast<int>(seed % 4));
    Draws draws(seed, "points");
    const Box region = cube(4, -draws.uniform(0.01, 1.0), draws.uniform(0.01, 1.0));
    MethodOptions options;
    options.max_boxes = 200;
    ASSERT_EQ(not_applicable(GetParam(), pair, options), "");

    const Certificate certificate = certify(GetParam(), pair, region, options);

    EXPECT_FALSE(certificate.timed_out);
    EXPECT_LE(certificate.lower, upper(certificate));
    EXPECT_GE(certificate.boxes, 1);
    for (int trial = 0; trial < 300; ++trial) {
      std::vector<double> x;
      for (std::size_t i = 0; i < 4; ++i) {
        const double u = draws.chance(0.3) ? (draws.chance(0.5) ? 0.0 : 1.0) : draws.uniform();
        x.push_back(std::min(region.low[i] + u * (region.high[i] - region.low[i]), region.high[i]));
      }
      const Box at = difference_at(pair, x);
      for (std::size_t i = 0; i < at.low.size(); ++i) {
        EXPECT_LE(certificate.difference.low[i], at.high[i]);
        EXPECT_GE(certificate.difference.high[i], at.low[i]);
      }
    }
  }
}

TEST_P(EveryMethod, IsTheDeviationItselfAtAPoint) {
  const Pair pair = quantized(dense_chain(5, {4, 10, 10, 3}), 4);
  const std::vector<double> x{0.3, -0.7, 0.1, 0.9};

  const Certificate certificate = certify(GetParam(), pair, Box{x, x}, {});

  const double deviation = attained_at(pair, x);
  ASSERT_GT(deviation, 1e-3);
  EXPECT_GE(upper(certificate), deviation);
  EXPECT_LE(upper(certificate), deviation + 1e-12);
}

TEST_P(EveryMethod, IsTheSameOnAnyNumberOfThreads) {
  const Pair pair = quantized(dense_chain(6, {4, 12, 12, 3}), 4);
  const Box region = cube(4, -0.5, 0.5);
  MethodOptions options;
  options.max_boxes = 300;
  const int before = omp_get_max_threads();

  omp_set_num_threads(1);
  const Certificate one = certify(GetParam(), pair, region, options);
  omp_set_num_threads(3);
  const Certificate three = certify(GetParam(), pair, region, options);
  omp_set_num_threads(before);

  EXPECT_EQ(one.difference.low, three.difference.low);
  EXPECT_EQ(one.difference.high, three.difference.high);
  EXPECT_EQ(one.lower, three.lower);
  EXPECT_EQ(one.boxes, three.boxes);
}

/// The interval methods of the literature read f and f_q apart; all others know that nothing changed.
TEST_P(EveryMethod, IsZeroWhereNothingChangedIfItLooksAtTheChange) {
  const std::set<Method> apart{Method::interval, Method::merged_interval, Method::merged_crown};
  if (apart.contains(GetParam())) GTEST_SKIP() << "reads both networks apart";
  const auto f = dense_chain(7, {4, 10, 3});
  EXPECT_EQ(upper(certify(GetParam(), make_pair(f, f), cube(4, -1.0, 1.0), {})), 0.0);
}

INSTANTIATE_TEST_SUITE_P(Table, EveryMethod, ::testing::ValuesIn([] {
                           std::vector<Method> all;
                           for (const auto& row : methods()) all.push_back(row.method);
                           return all;
                         }()),
                         [](const auto& test) { return std::string(to_string(test.param)); });

TEST(Methods, HaveNamesThatComeBack) {
  std::set<std::string_view> names;
  Method last = methods().front().method;
  for (const auto& info : methods()) {
    EXPECT_EQ(parse_method(info.name), info.method);
    EXPECT_EQ(to_string(info.method), info.name);
    EXPECT_TRUE(names.insert(info.name).second);
    EXPECT_FALSE(info.summary.empty() || info.equation.empty());
    EXPECT_GE(info.method, last) << "the table is in the order of the enumeration";
    last = info.method;
  }
  EXPECT_EQ(parse_method("differnce_crown"), std::nullopt);
}

TEST(Methods, AreRefusedWhereTheirMemoryIsNot) {
  const Pair pair = quantized(dense_chain(1, {20, 50, 5}), 8);
  MethodOptions options;
  options.max_bytes = 1000;
  EXPECT_NE(not_applicable(Method::difference_zonotope, pair, options).find("GiB"), std::string::npos);
  EXPECT_EQ(not_applicable(Method::difference_zonotope, pair, {}), "");
}

TEST(Methods, AreRefusedWhereAnActivationOfTheQuantizedNetworkHasNoPlaceInThem) {
  Pair pair = quantized(dense_chain(1, {4, 6, 3}), 8);
  pair.activation_grids.resize(pair.graph.nodes.size());
  pair.activation_grids[2] = ActivationGrid{.step = 0.25, .low = 0.0, .high = 8.0};
  EXPECT_NE(not_applicable(Method::merged_interval, pair, {}), "");
  EXPECT_NE(not_applicable(Method::branch_and_bound, pair, {}), "");
  EXPECT_EQ(not_applicable(Method::interval, pair, {}), "");
  EXPECT_EQ(not_applicable(Method::difference_interval, pair, {}), "");
}

TEST(MergedInterval, IsTheDifferenceOfTwoIntervals) {
  const Pair pair = quantized(dense_chain(2, {4, 10, 10, 3}), 4);
  const Box region = cube(4, -0.5, 1.0);

  const double merged = upper(certify(Method::merged_interval, pair, region, {}));

  EXPECT_NEAR(merged, upper(certify(Method::interval, pair, region, {})), 1e-9 * merged);
}

TEST(BranchAndBoundMethod, EndsWithinTheTolerance) {
  const Pair pair = quantized(dense_chain(3, {3, 12, 12, 2}), 4);
  MethodOptions options;
  options.tolerance = 0.01;

  const Certificate certificate = certify(Method::branch_and_bound, pair, cube(3, -1.0, 1.0), options);

  EXPECT_LE(upper(certificate), 1.01 * certificate.lower * (1.0 + 1e-12));
  EXPECT_FALSE(certificate.timed_out);
  EXPECT_LE(upper(certificate), upper(certify(Method::difference_interval, pair, cube(3, -1.0, 1.0), {})));
}

TEST(BranchAndBoundMethod, DecidesAThresholdOnBothSides) {
  const Pair pair = quantized(dense_chain(3, {3, 12, 12, 2}), 4);
  const Box region = cube(3, -1.0, 1.0);
  const double sup = certify(Method::branch_and_bound, pair, region, {.tolerance = 0.001}).lower;

  const Certificate proved = certify(Method::branch_and_bound, pair, region, {.threshold = 1.2 * sup});
  EXPECT_LE(upper(proved), 1.2 * sup);
  const Certificate refuted = certify(Method::branch_and_bound, pair, region, {.threshold = 0.8 * sup});
  EXPECT_GT(refuted.lower, 0.8 * sup);
}

TEST(BranchAndBoundMethod, EndsEarlyWithWhatIsProvedWhenToldTo) {
  const Pair pair = quantized(dense_chain(4, {5, 20, 20, 20, 3}), 3);
  const Box region = cube(5, -4.0, 4.0);
  MethodOptions options;
  options.tolerance = 0.0;
  options.max_boxes = 100;
  const Certificate by_boxes = certify(Method::branch_and_bound, pair, region, options);
  EXPECT_GE(by_boxes.boxes, 100);
  EXPECT_LE(by_boxes.boxes, 200);
  EXPECT_FALSE(by_boxes.timed_out);

  options.max_boxes = std::numeric_limits<std::int64_t>::max();
  options.stop = [] { return true; };
  const Certificate stopped = certify(Method::branch_and_bound, pair, region, options);
  EXPECT_TRUE(stopped.timed_out);
  EXPECT_GE(upper(stopped), by_boxes.lower);

  options.stop = nullptr;
  options.max_seconds = 0.2;
  const Certificate timed = certify(Method::branch_and_bound, pair, region, options);
  EXPECT_TRUE(timed.timed_out);
  EXPECT_GE(upper(timed), by_boxes.lower);
  EXPECT_LT(timed.seconds, 5.0);
}

}  // namespace
}  // namespace quantbound::certify
