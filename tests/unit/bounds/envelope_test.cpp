#include "quantbound/bounds/envelope.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/random.hpp"

namespace quantbound::bounds {
namespace {

using ::testing::ElementsAre;

TEST(Envelope, KeepsTheThreeLinesThatAreSomewhereLargest) {
  // 1 s + 10, 3 s + 7, 5 s + 1 matter; 2 s + 8 lies below the first two everywhere, 1 s + 1 below all.
  const std::vector<double> slopes{1, 2, 3, 5, 1}, offsets{10, 8, 7, 1, 1};

  const Envelope envelope(slopes, offsets);

  EXPECT_THAT(envelope.lines(), ElementsAre(Line{1, 10}, Line{3, 7}, Line{5, 1}));
  EXPECT_EQ(envelope(core::Upper(0.0)).to_double(), 10.0);
  EXPECT_EQ(envelope(core::Upper(2.0)).to_double(), 13.0);
  EXPECT_EQ(envelope(core::Upper(10.0)).to_double(), 51.0);
}

TEST(Envelope, OneLineIsEnoughWithoutOffsets) {
  const std::vector<double> slopes{1, 4, 2}, offsets{0, 0, 0};
  EXPECT_THAT(Envelope(slopes, offsets).lines(), ElementsAre(Line{4, 0}));
}

TEST(Envelope, EqualLinesAreKeptOnce) {
  const std::vector<double> slopes{2, 2, 2, 2}, offsets{3, 3, 3, 3};
  EXPECT_THAT(Envelope(slopes, offsets).lines(), ElementsAre(Line{2, 3}));
}

TEST(Envelope, NoLineIsZero) { EXPECT_TRUE(Envelope()(core::Upper(7.0)).is_zero()); }

TEST(Envelope, IsTheMaximumOfAllLinesAndKeepsFew) {
  for (const double scale : {1e-200, 1e-30, 1.0, 1e30, 1e200}) {
    const core::RandomStream random(7, "envelope-test");
    std::vector<double> slopes(500), offsets(500);
    for (std::size_t i = 0; i < slopes.size(); ++i) {
      slopes[i] = scale * random.uniform(2 * i);
      offsets[i] = random.uniform(2 * i + 1);
    }

    const Envelope envelope(slopes, offsets);

    EXPECT_LT(envelope.lines().size(), 40u);
    for (const double s : {0.0, 0.1, 0.7, 1.0, 2.0, 30.0, 1e6}) {
      core::Upper largest;
      const core::Upper at = core::Upper(s / scale);
      for (std::size_t i = 0; i < slopes.size(); ++i) {
        largest = max(largest, core::Upper(slopes[i]) * at + core::Upper(offsets[i]));
      }
      EXPECT_EQ(envelope(at), largest) << s;
    }
  }
}

TEST(Envelope, NearlyCollinearLinesAreNotLost) {
  std::vector<double> slopes, offsets;
  for (int i = 0; i <= 100; ++i) {
    slopes.push_back(0.1 * i);
    offsets.push_back(10.0 - 0.1 * i);  // on a line but for rounding
  }
  const Envelope envelope(slopes, offsets);
  core::Upper largest;
  for (std::size_t i = 0; i < slopes.size(); ++i) {
    largest = max(largest, core::Upper(slopes[i]) + core::Upper(offsets[i]));
  }
  EXPECT_EQ(envelope(core::Upper(1.0)), largest);
}

}  // namespace
}  // namespace quantbound::bounds
