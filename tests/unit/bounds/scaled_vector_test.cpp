#include "quantbound/bounds/scaled_vector.hpp"

#include <cmath>

#include <gtest/gtest.h>

namespace quantbound::bounds {
namespace {

using core::Upper;

TEST(ScaledVector, NormalizingKeepsNumbersAndNeverLowersThem) {
  for (const double scale : {1e-300, 1e-40, 1.0, 1e40, 1e300}) {
    const ScaledVector vector{{3.0 * scale, 0.0, 1e-7 * scale, 5e-324}, 0};

    const ScaledVector result = normalized(vector);

    for (std::size_t i = 0; i < vector.values.size(); ++i) EXPECT_GE(result.at(i), vector.at(i));
    EXPECT_EQ(result.at(0), vector.at(0));
    EXPECT_EQ(result.at(2), vector.at(2));
    EXPECT_TRUE(result.at(1).is_zero());
    EXPECT_GE(result.values[0], 0x1p-101);
    EXPECT_LE(result.values[0], 0x1p102);
  }
}

TEST(ScaledVector, SumsAcrossAThousandOrdersOfMagnitude) {
  const ScaledVector large{{1.0, 0.0}, 5000}, small{{1.0, 3.0}, -5000};

  const ScaledVector sum = sum_up(large, small);

  EXPECT_GE(sum.at(0), large.at(0) + Upper());
  EXPECT_GT(sum.at(0), large.at(0));
  EXPECT_NEAR(sum.at(0).log10(), 5000 * std::log10(2.0), 1e-9);
  EXPECT_GE(sum.at(1), small.at(1));
  EXPECT_EQ(sum.largest(), sum.at(0));
}

TEST(ScaledVector, ZeroPlusZeroIsExactlyZero) {
  const ScaledVector zero{{0.0, 0.0}, 7}, other{{1.0, 2.0}, 3};
  EXPECT_TRUE(sum_up(zero, zero).is_zero());
  EXPECT_EQ(sum_up(zero, other), other);
  EXPECT_TRUE(zero.largest().is_zero());
}

TEST(ScaledVector, ValuesOverALargerPowerRoundUp) {
  const ScaledVector vector{{3.0, 0.0}, 0};
  EXPECT_EQ(values_at(vector, 1)[0], 1.5);
  EXPECT_GT(values_at(vector, 5000)[0], 0.0);
  EXPECT_EQ(values_at(vector, 5000)[1], 0.0);
}

}  // namespace
}  // namespace quantbound::bounds
