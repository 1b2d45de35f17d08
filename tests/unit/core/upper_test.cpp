#include "quantbound/core/upper.hpp"

#include <cmath>

#include <gtest/gtest.h>

#include "quantbound/core/random.hpp"
#include "quantbound/core/rounding.hpp"

namespace quantbound::core {
namespace {

TEST(Upper, ProductOfAThousandNormsNeitherOverflowsNorDropsBelowTheExactValue) {
  Upper product(1.0);
  for (int i = 0; i < 1000; ++i) product *= Upper(1e30);

  EXPECT_GE(product.log10(), 30000.0);
  EXPECT_NEAR(product.log10(), 30000.0, 1e-8);
  EXPECT_EQ(product.to_double(), std::numeric_limits<double>::infinity());
}

TEST(Upper, SumAndProductDominateLongDoubleArithmetic) {
  const RandomStream random(1, "upper-test");
  for (std::uint64_t i = 0; i < 100000; ++i) {
    const double a = std::exp(40.0 * random.uniform(2 * i) - 20.0),
                 b = std::exp(40.0 * random.uniform(2 * i + 1) - 20.0);

    const long double sum = static_cast<long double>(a) + b, product = static_cast<long double>(a) * b;

    EXPECT_GE(static_cast<long double>((Upper(a) + Upper(b)).to_double()), sum);
    EXPECT_GE(static_cast<long double>((Upper(a) * Upper(b)).to_double()), product);
    EXPECT_LE((Upper(a) * Upper(b)).to_double(), next_up(a * b));
    EXPECT_LE((Upper(a) + Upper(b)).to_double(), next_up(a + b));
  }
}

TEST(Upper, ExactOperationsStayExact) {
  EXPECT_EQ((Upper(3.0) * Upper(0.5)).to_double(), 1.5);
  EXPECT_EQ((Upper(3.0) + Upper(0.5)).to_double(), 3.5);
  EXPECT_EQ(Upper(2.0).power(10).to_double(), 1024.0);
  EXPECT_EQ(Upper(1.0).log10(), 0.0);
  EXPECT_EQ(Upper(3.0).power(0).to_double(), 1.0);
}

TEST(Upper, ZeroAndDenormalsAreHandled) {
  EXPECT_TRUE((Upper() * Upper(1e300)).is_zero());
  EXPECT_EQ((Upper() + Upper(2.0)).to_double(), 2.0);
  EXPECT_EQ(Upper(5e-324).to_double(), 5e-324);
  EXPECT_EQ((Upper(5e-324) * Upper(0.5)).to_double(), 5e-324);
  EXPECT_EQ(Upper().log10(), -std::numeric_limits<double>::infinity());
}

TEST(Upper, SquareRootSquaredDominates) {
  for (const double value : {2.0, 3.0, 1e-300, 7e300, 0.1}) {
    const Upper root = Upper(value).sqrt();
    EXPECT_GE(root * root, Upper(value));
    EXPECT_NEAR(root.to_double() / std::sqrt(value), 1.0, 1e-15);
  }
}

TEST(SumUp, DominatesAndSumDownStaysBelowALongDoubleSum) {
  const RandomStream random(2, "sum-test");
  for (std::uint64_t trial = 0; trial < 200; ++trial) {
    double sum = 0.0;
    long double exact = 0.0L;
    for (std::uint64_t i = 0; i < 1000; ++i) {
      const double a = random.uniform(trial * 2000 + 2 * i), b = random.uniform(trial * 2000 + 2 * i + 1);
      sum += a * b;
      exact += static_cast<long double>(a) * b;
    }

    EXPECT_GE(static_cast<long double>(sum_up(sum, 1000)), exact);
    EXPECT_LE(static_cast<long double>(sum_down(sum, 1000)), exact);
    EXPECT_LT(sum_up(sum, 1000) / sum, 1.0 + 1e-12);
  }
}

}  // namespace
}  // namespace quantbound::core
