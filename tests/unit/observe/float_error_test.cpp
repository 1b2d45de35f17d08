#include "../../../src/observe/float_error.hpp"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantbound::observe::detail {
namespace {

using ::testing::ElementsAre;

TEST(FloatError, KappaIsTheLargestDifferenceInUnitsOfTheRounding) {
  const std::vector<Probe> probes{
      {.in_float = {1.0, 2.0 + 0x1p-20}, .in_double = {1.0, 2.0}, .largest = 2.0},  // 2^-20 / (2^-24 * 2)
      {.in_float = {8.0 - 0x1p-18}, .in_double = {8.0}, .largest = 8.0}};           // 2^-18 / (2^-24 * 8)
  EXPECT_EQ(kappa(probes), 8.0);
}

TEST(FloatError, ASampleWithoutErrorDoesNotMeanThereIsNone) {
  const std::vector<Probe> probes{{.in_float = {1.0}, .in_double = {1.0}, .largest = 1.0}};
  EXPECT_GT(kappa(probes), 1.0);
  EXPECT_GT(kappa({}), 1.0);
}

TEST(FloatError, AnOverflowedProbeTellsLittle) {
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  for (const double bad : {infinity, nan}) {
    const std::vector<Probe> probes{{.in_float = {bad}, .in_double = {1e50}, .largest = 1e50}};
    EXPECT_GE(kappa(probes), 1000.0);
    EXPECT_LT(kappa(probes), 1e6);
  }
}

TEST(FloatError, GrowsWithTheOutputsOfBothNetworks) {
  EXPECT_EQ(deviation_error(3.0, 0x1p-24, 2.0, 6.0), 2.0 * deviation_error(3.0, 0x1p-24, 3.0, 1.0));
  EXPECT_EQ(deviation_error(3.0, 0x1p-53, 2.0, 6.0), 0x1p-29 * deviation_error(3.0, 0x1p-24, 2.0, 6.0));
}

TEST(FloatError, ProbesSpreadOverTheConfigurationsAndCostLittle) {
  EXPECT_THAT(probed_configurations(32, 64), ElementsAre(5, 16, 26));
  EXPECT_THAT(probed_configurations(32, 512), ElementsAre(4, 12, 20, 28));
  EXPECT_THAT(probed_configurations(1, 4), ElementsAre(0));
  EXPECT_THAT(probed_configurations(2, 100000), ElementsAre(0, 1));
  EXPECT_TRUE(probed_configurations(0, 100).empty());
}

TEST(FloatError, LargeNetworksAreProbedWhereTheOutputIsLargestSmallOnesElsewhereToo) {
  const std::vector<double> sizes{1.0, 5.0, 3.0, 5.0, 2.0, 4.0};
  EXPECT_THAT(probed_samples(sizes, 300'000'000), ElementsAre(1));
  EXPECT_THAT(probed_samples(sizes, 1 << 24), ElementsAre(1, 2));
  EXPECT_THAT(probed_samples(sizes, 10), ElementsAre(1, 3, 5, 2, 4, 0));
  EXPECT_EQ(probed_samples(std::vector<double>(100, 1.0), 10).size(), 8U);
}

}  // namespace
}  // namespace quantbound::observe::detail
