#include "quantbound/reconstruct/correlation.hpp"

#include <cmath>
#include <numbers>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/random.hpp"
#include "quantbound/reconstruct/oscillation.hpp"

namespace quantbound::reconstruct {
namespace {

using ::testing::ElementsAre;

TEST(MidRanks, AreTheMeansOfTiedPlaces) {
  EXPECT_THAT(mid_ranks(std::vector<double>{3.0, 1.0, 3.0, 2.0, 3.0}), ElementsAre(4, 1, 4, 2, 4));
  EXPECT_THAT(mid_ranks(std::vector<double>{7.0, 7.0}), ElementsAre(1.5, 1.5));
  EXPECT_TRUE(mid_ranks({}).empty());
}

TEST(RankCorrelation, OfUntiedValuesIsSpearmansFormula) {
  // Wikipedia's example of IQ and hours of television: 1 - 6 sum d^2 / (n (n^2 - 1)) = -29/165.
  const std::vector<double> iq{106, 100, 86, 101, 99, 103, 97, 113, 112, 110};
  const std::vector<double> hours{7, 27, 2, 50, 28, 29, 20, 12, 6, 17};
  EXPECT_NEAR(rank_correlation(iq, hours)->rho, -29.0 / 165.0, 1e-15);
}

TEST(RankCorrelation, WithTiesIsPearsonsOfTheMidRanks) {
  // scipy.stats.spearmanr([1, 2, 2, 3, 5, 5], [2, 1, 4, 4, 6, 5]).statistic
  const std::vector<double> x{1, 2, 2, 3, 5, 5}, y{2, 1, 4, 4, 6, 5};
  EXPECT_NEAR(rank_correlation(x, y)->rho, 0.8508410434878082, 1e-14);
}

TEST(RankCorrelation, IntervalIsThatOfBonettAndWright) {
  const std::vector<double> iq{106, 100, 86, 101, 99, 103, 97, 113, 112, 110};
  const std::vector<double> hours{7, 27, 2, 50, 28, 29, 20, 12, 6, 17};
  const RankCorrelation c = *rank_correlation(iq, hours, 0.95);
  const double half = 1.959963984540054 * std::sqrt((1.0 + c.rho * c.rho / 2.0) / 7.0);
  EXPECT_NEAR(std::atanh(c.low), std::atanh(c.rho) - half, 1e-13);
  EXPECT_NEAR(std::atanh(c.high), std::atanh(c.rho) + half, 1e-13);
  EXPECT_LT(rank_correlation(iq, hours, 0.99)->low, c.low);
}

TEST(RankCorrelation, OfMonotoneRelationsIsOne) {
  const std::vector<double> x{-3, 0.5, 2, 8, 9}, up{0, 1, 10, 11, 1e9}, down{5, 4, 3, 2, -1e300};
  EXPECT_EQ(rank_correlation(x, up)->rho, 1.0);
  EXPECT_EQ(rank_correlation(x, up)->low, 1.0);
  EXPECT_EQ(rank_correlation(x, down)->rho, -1.0);
}

TEST(RankCorrelation, IsNothingForFewOrConstantValues) {
  const std::vector<double> x{1, 2, 3}, constant{1, 1, 1, 1}, y{1, 2, 3, 4};
  EXPECT_FALSE(rank_correlation(x, x).has_value());
  EXPECT_FALSE(rank_correlation(constant, y).has_value());
  EXPECT_FALSE(rank_correlation(y, constant).has_value());
}

/// Share of samples of a bivariate normal law whose interval holds the law's rank correlation, 6 / pi asin(r / 2).
double coverage(double r, std::size_t count, double confidence, int samples) {
  const double truth = 6.0 / std::numbers::pi * std::asin(r / 2.0);
  int covered = 0;
  for (int sample = 0; sample < samples; ++sample) {
    const core::RandomStream random(3, "coverage", static_cast<std::uint64_t>(sample));
    std::vector<double> x, y;
    for (std::size_t i = 0; i < count; ++i) {
      x.push_back(random.normal(2 * i));
      y.push_back(r * x.back() + std::sqrt(1.0 - r * r) * random.normal(2 * i + 1));
    }
    const RankCorrelation c = *rank_correlation(x, y, confidence);
    covered += c.low <= truth && truth <= c.high ? 1 : 0;
  }
  return static_cast<double>(covered) / samples;
}

TEST(RankCorrelation, IntervalHoldsTheTruthAsOftenAsItSaysOrALittleMore) {
  for (const double r : {0.0, 0.4, -0.7, 0.9}) {  // 40000 samples in numpy: 95.2 to 95.8 %, 80.1 to 81.7 %
    SCOPED_TRACE(r);
    for (const std::size_t count : {std::size_t{25}, std::size_t{100}}) {
      const double at_95 = coverage(r, count, 0.95, 4000), at_80 = coverage(r, count, 0.8, 4000);
      EXPECT_GT(at_95, 0.94);
      EXPECT_LT(at_95, 0.97);
      EXPECT_GT(at_80, 0.78);
      EXPECT_LT(at_80, 0.84);
    }
  }
}

TEST(Oscillation, IsTheDifferencesOfNeighboursTheLargestAndTheTotal) {
  const Oscillation o = oscillation(std::vector<double>{1.0, 1.5, 7.0, 4.0});
  EXPECT_THAT(o.differences, ElementsAre(0.5, 5.5, -3.0));
  EXPECT_EQ(o.largest, 5.5);
  EXPECT_EQ(o.total, 9.0);
  EXPECT_EQ(oscillation(std::vector<double>{4.0, 1.0}).largest, 3.0);
  EXPECT_EQ(oscillation(std::vector<double>{2.0}).largest, 0.0);
  EXPECT_TRUE(oscillation({}).differences.empty());
}

}  // namespace
}  // namespace quantbound::reconstruct
