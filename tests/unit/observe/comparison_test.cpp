#include "../../../src/observe/comparison.hpp"

#include <limits>

#include <gtest/gtest.h>

namespace quantbound::observe::detail {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

TEST(Comparison, RanksEqualOutputsInTheirOrder) {
  const std::vector<double> outputs{1.0, 3.0, 3.0, -2.0};
  EXPECT_EQ(rank_of(outputs, 1), 0);
  EXPECT_EQ(rank_of(outputs, 2), 1);
  EXPECT_EQ(rank_of(outputs, 0), 2);
  EXPECT_EQ(rank_of(outputs, 3), 3);
  EXPECT_EQ(rank_of(outputs, no_label), 4) << "behind all";
  EXPECT_EQ(rank_of(outputs, 4), 4);
}

TEST(Comparison, TheMarginIsTheLargestMinusTheSecondLargest) {
  EXPECT_EQ(winner(std::vector{1.0, 4.0, 2.0}).output, 1);
  EXPECT_EQ(winner(std::vector{1.0, 4.0, 2.0}).margin, 2.0);
  EXPECT_EQ(winner(std::vector{1.0, 2.0, 4.0}).margin, 2.0);
  EXPECT_EQ(winner(std::vector{4.0, 2.0, 1.0}).margin, 2.0);
  EXPECT_EQ(winner(std::vector{-1.0, 7.0, 7.0}).output, 1);
  EXPECT_EQ(winner(std::vector{-1.0, 7.0, 7.0}).margin, 0.0);
  EXPECT_EQ(winner(std::vector{3.0}).margin, infinity);
}

TEST(Comparison, MeasuresInThreeNorms) {
  const auto c = compare(std::vector{1.0, -2.0, 2.0}, std::vector{4.0, -2.0, -2.0}, no_label);
  EXPECT_EQ(c.deviation, 4.0);
  EXPECT_EQ(c.deviation_2, 5.0);
  EXPECT_DOUBLE_EQ(c.relative, 5.0 / 3.0);
}

TEST(Comparison, TheNormsOfTinyAndHugeOutputsAreNumbers) {
  const auto tiny = compare(std::vector{3e-300, 0.0}, std::vector{0.0, 4e-300}, no_label);
  EXPECT_DOUBLE_EQ(tiny.deviation_2, 5e-300);
  EXPECT_DOUBLE_EQ(tiny.relative, 5.0 / 3.0);
  EXPECT_DOUBLE_EQ(compare(std::vector{3e300, 0.0}, std::vector{0.0, 4e300}, no_label).deviation_2, 5e300);
}

TEST(Comparison, NothingOverNothingIsNothing) {
  EXPECT_EQ(compare(std::vector{0.0, 0.0}, std::vector{0.0, 0.0}, no_label).relative, 0.0);
  EXPECT_EQ(compare(std::vector{0.0, 0.0}, std::vector{0.0, 1.0}, no_label).relative, infinity);
}

TEST(Comparison, AClassCanOnlyChangeWhereTheMarginIsExceeded) {
  const std::vector<double> f{2.0, 1.0, 0.0};
  EXPECT_FALSE(compare(f, std::vector{1.6, 1.4, 0.0}, no_label).margin_exceeded);
  EXPECT_TRUE(compare(f, std::vector{1.5, 1.5, 0.0}, no_label).margin_exceeded);
  EXPECT_TRUE(compare(f, std::vector{1.5, 1.5, 0.0}, no_label).agree);
  EXPECT_FALSE(compare(f, std::vector{1.4, 1.6, 0.0}, no_label).agree);
}

TEST(Comparison, TopFiveOfFourOutputsStillNeedsALabel) {
  const std::vector<double> outputs{1.0, 2.0, 3.0, 4.0};
  EXPECT_TRUE(compare(outputs, outputs, 0).correct_top5);
  EXPECT_FALSE(compare(outputs, outputs, 0).correct);
  EXPECT_FALSE(compare(outputs, outputs, no_label).correct_top5);
  EXPECT_FALSE(compare(outputs, outputs, 9).correct_top5) << "a label that the network does not have";
}

TEST(Comparisons, CountWhatQuantizationLosesAndWins) {
  const std::vector<double> inputs(4);
  const std::vector<Index> labels{0, 0, 1, 1};
  const SamplesView samples{inputs, labels, 1};
  Comparisons comparisons(samples, 1);
  comparisons.set_reference({2, 1, 2, 1, 2, 1, 1, 2});              // right, right, wrong, right
  comparisons.set(0, std::vector<double>{2, 1, 1, 2, 1, 2, 1, 2});  // right, lost, won, right
  BlockObservation block{.samples = 4};
  comparisons.write(block);
  EXPECT_EQ(block.correct_reference, 3);
  EXPECT_EQ(block.counts[0],
            (RankingCounts{.correct = 3, .correct_top5 = 4, .agree = 2, .lost = 1, .won = 1, .margin_exceeded = 2}));

  comparisons.replace(0, 1, std::vector{2.0, 1.0}, std::vector{2.0, 1.0});
  BlockObservation again{.samples = 4};
  comparisons.write(again);
  EXPECT_EQ(again.deviation, (std::vector{0.0, 0.0, 1.0, 0.0}));
  EXPECT_EQ(again.counts[0].lost, 0);
  EXPECT_EQ(again.counts[0].correct, 4);
}

}  // namespace
}  // namespace quantbound::observe::detail
