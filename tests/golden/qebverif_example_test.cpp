// The worked example of QEBVerif (technical report, section 2.1; docs/theory.md 5.2): a float network against its
// quantized one with rounded activations and an input of its own. Published: the output difference lies in
// [-0.24459375, 0.117625].
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "quantbound/certify/difference_interval.hpp"

#include "../support/network_builder.hpp"

namespace quantbound::certify {
namespace {

struct Range {
  double low, high;
};

const std::vector<double> first{1.2, -0.2, -0.7, 0.8}, second{0.3, 0.7};
const std::vector<double> first_quantized{1.25, -0.25, -0.75, 0.75}, second_quantized{0.25, 0.75};
constexpr double top = 15.0 / 4.0;

Pair example() {
  const auto network = [](const std::vector<double>& w1, const std::vector<double>& w2) {
    quantbound::testing::NetworkBuilder builder({2});
    return builder.finish(builder.dense(builder.relu(builder.dense(0, w1, {0.0, 0.0})), w2, {0.0}));
  };
  Pair pair = make_pair(network(first, second), network(first_quantized, second_quantized));
  pair.activation_grids.resize(pair.graph.nodes.size());
  pair.activation_grids[2] = ActivationGrid{0.25, 0.0, top};
  return pair;
}

/// x^ in [6, 12] x [3, 9]: f reads x^ / 15, f_q reads x^ / 16.
PairBox inputs() {
  PairBox box;
  for (const auto& [low, high] : {std::array{6.0, 12.0}, std::array{3.0, 9.0}}) {
    box.f.low.push_back(std::nextafter(low / 15.0, 0.0));
    box.f.high.push_back(std::nextafter(high / 15.0, 1.0));
    box.fq.low.push_back(low / 16.0);
    box.fq.high.push_back(high / 16.0);
    box.difference.low.push_back(std::nextafter(-high / 240.0, -1.0));
    box.difference.high.push_back(std::nextafter(-low / 240.0, 1.0));
  }
  return box;
}

/// Row `row` of a matrix times a vector of ranges.
Range image(const std::vector<double>& matrix, std::size_t row, const std::vector<Range>& ranges) {
  Range sum{0.0, 0.0};
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const double w = matrix[row * ranges.size() + i];
    sum.low += std::min(w * ranges[i].low, w * ranges[i].high);
    sum.high += std::max(w * ranges[i].low, w * ranges[i].high);
  }
  return sum;
}

/// Theorem 1 of the paper for the cases that the example meets: 2-3 (float active, quantized inside the clamp), 3-4
/// (float unstable, quantized below the top); then inside the difference of the two ranges.
Range published_rule(Range y, Range yq, Range d) {
  const auto clamp = [](double x) { return std::clamp(x, 0.0, top); };
  Range out{};
  if (y.low >= 0.0 && yq.low >= 0.0 && yq.high <= top) {
    out = d;
  } else if (y.low < 0.0 && y.high > 0.0 && yq.low < 0.0 && yq.high > 0.0 && yq.high <= top) {
    out = {d.low >= 0.0 ? 0.0 : std::max(d.low, -y.high), d.high <= 0.0 ? 0.0 : std::min(d.high, yq.high)};
  } else if (y.low >= 0.0 && yq.low >= 0.0) {  // 2-5: may be above the top
    out = {std::min(top - y.high, d.low), std::min(top - y.low, d.high)};
  } else {
    ADD_FAILURE() << "a case that the example does not have";
  }
  return {std::max(out.low, clamp(yq.low) - std::max(y.high, 0.0)),
          std::min(out.high, clamp(yq.high) - std::max(y.low, 0.0))};
}

TEST(QebverifExample, TheirRulesGiveTheirInterval) {
  const std::vector<Range> x{{6.0 / 15, 12.0 / 15}, {3.0 / 15, 9.0 / 15}},
      xq{{6.0 / 16, 12.0 / 16}, {3.0 / 16, 9.0 / 16}};
  const std::vector<Range> d{{-12.0 / 240, -6.0 / 240}, {-9.0 / 240, -3.0 / 240}};
  std::vector<double> change;
  for (std::size_t i = 0; i < 4; ++i) change.push_back(first_quantized[i] - first[i]);
  std::vector<Range> hidden, hidden_difference;
  for (std::size_t row = 0; row < 2; ++row) {
    const Range y = image(first, row, x), exact = image(first_quantized, row, xq);
    const Range yq{std::floor(exact.low * 4 + 0.5) / 4, std::floor(exact.high * 4 + 0.5) / 4};
    const Range by_d = image(first_quantized, row, d), by_change = image(change, row, x);
    hidden_difference.push_back(
        published_rule(y, yq, {by_d.low + by_change.low - 0.125, by_d.high + by_change.high + 0.125}));
    hidden.push_back({std::max(y.low, 0.0), std::max(y.high, 0.0)});
  }
  EXPECT_NEAR(hidden_difference[0].low, -0.194375, 1e-12);
  EXPECT_NEAR(hidden_difference[0].high, 0.133125, 1e-12);
  EXPECT_NEAR(hidden_difference[1].low, -0.2, 1e-12);
  EXPECT_NEAR(hidden_difference[1].high, 0.123125, 1e-12);

  const Range by_d = image(second_quantized, 0, hidden_difference);
  const Range by_change = image({second_quantized[0] - second[0], second_quantized[1] - second[1]}, 0, hidden);
  EXPECT_NEAR(by_d.low + by_change.low, -0.24459375, 1e-12);
  EXPECT_NEAR(by_d.high + by_change.high, 0.117625, 1e-12);
}

// They evaluate W' d + dW y alone; with W d + dW y' as well, the first hidden neuron is narrower by hand:
// 1.2 [-0.05, -0.025] - 0.2 [-0.0375, -0.0125] + 0.05 [0.375, 0.75] - 0.05 [0.1875, 0.5625] = [-0.066875, 0.005625].
TEST(QebverifExample, OursIsStrictlyInsideBecauseOfTheOtherIdentity) {
  const PairBounds bounds = difference_interval(example(), inputs());

  EXPECT_NEAR(bounds[1].difference.low[0], -0.066875, 1e-14);
  EXPECT_NEAR(bounds[1].difference.high[0], 0.005625, 1e-14);
  const Box& output = bounds.nodes.back().difference;
  EXPECT_GT(output.low[0], -0.24459375);
  EXPECT_LT(output.high[0], 0.117625);
  EXPECT_NEAR(output.low[0], -0.24396875, 1e-12);
  EXPECT_NEAR(output.high[0], 0.1160625, 1e-12);
}

}  // namespace
}  // namespace quantbound::certify
