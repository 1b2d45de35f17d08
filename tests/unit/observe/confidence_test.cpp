#include "quantbound/observe/confidence.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <string>
#include <vector>

#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/multiprecision/cpp_int.hpp>
#include <gtest/gtest.h>

#include "quantbound/core/random.hpp"

namespace quantbound::observe {
namespace {

using Rational = boost::multiprecision::cpp_rational;

/// P(Bin(n, p) <= k) for every k, in rational arithmetic.
std::vector<Rational> exact_cdf(Index n, double p) {
  const Rational success(p), fail = Rational(1) - success;
  std::vector<Rational> powers{1};
  for (Index i = 0; i < n; ++i) powers.push_back(powers.back() * fail);
  std::vector<Rational> cdf;
  Rational sum = 0, ways_and_successes = 1;
  for (Index k = 0; k <= n; ++k) {
    sum += ways_and_successes * powers[static_cast<std::size_t>(n - k)];
    cdf.push_back(sum);
    ways_and_successes = ways_and_successes * success * (n - k) / (k + 1);
  }
  return cdf;
}

/// Relative; 0 for what underflows.
double width(const Probability& value) { return value.high > 1e-300 ? (value.high - value.low) / value.high : 0.0; }

TEST(Binomial, EnclosesTheExactSums) {
  for (const double p : {1e-200, 1e-100, 1e-9, 0.1, 0.3, 0.5, 0.75, 0.99, 1.0 - 0x1p-53}) {
    for (const Index n : {1, 2, 3, 17, 40}) {
      const auto cdf = exact_cdf(n, p);
      for (Index k = 0; k < n; ++k) {
        const Rational at_most = cdf[static_cast<std::size_t>(k)], above = Rational(1) - at_most;
        const Probability low = binomial_at_most(k, n, p), high = binomial_above(k, n, p);
        ASSERT_TRUE(Rational(low.low) <= at_most && at_most <= Rational(low.high)) << k << ' ' << n << ' ' << p;
        ASSERT_TRUE(Rational(high.low) <= above && above <= Rational(high.high)) << k << ' ' << n << ' ' << p;
        if (p > 1e-120) {
          EXPECT_LT(width(low), 2e-15 * static_cast<double>(n + 4));
          EXPECT_LT(width(high), 2e-15 * static_cast<double>(n + 4));
        }
        EXPECT_NEAR(binomial_cdf(k, n, p), at_most.convert_to<double>(), 1e-14);
      }
    }
  }
}

TEST(Binomial, IsCertainAtTheEnds) {
  for (const double p : {0.0, 1e-310, 0.4, 1.0}) {
    EXPECT_EQ(binomial_cdf(-1, 5, p), 0.0);
    EXPECT_EQ(binomial_cdf(5, 5, p), 1.0);
    EXPECT_EQ(binomial_above(5, 5, p).high, 0.0);
    EXPECT_EQ(binomial_above(-1, 5, p).low, 1.0);
  }
  EXPECT_EQ(binomial_cdf(0, 0, 0.5), 1.0);
  EXPECT_EQ(binomial_cdf(4, 5, 1.0), 0.0);
  EXPECT_EQ(binomial_cdf(0, 5, 0.0), 1.0);
  EXPECT_EQ(binomial_at_most(0, 5, 1e-310).high, 1.0);
  EXPECT_GT(binomial_above(0, 5, 1e-310).high, 0.0);
}

// Boost evaluates the incomplete beta function: series, continued fractions and asymptotic expansions, no sums.
TEST(Binomial, AgreesWithTheIncompleteBetaFunctionForLargeSamplesAndInTheTails) {
  for (const Index n : {100, 10'000, 1'000'000, 10'000'000}) {
    for (const double p : {1e-6, 0.01, 0.5, 0.95, 0.9999}) {
      const boost::math::binomial_distribution<long double> reference(static_cast<long double>(n), p);
      const double mean = static_cast<double>(n) * p, deviation = std::sqrt(mean * (1.0 - p));
      for (const double sigmas : {-30.0, -10.0, -3.0, -0.5, 0.0, 1.0, 5.0, 20.0}) {
        const auto k = static_cast<Index>(mean + sigmas * deviation);
        if (k < 0 || k >= n) continue;
        const auto at_most = static_cast<double>(cdf(reference, k));
        const auto above = static_cast<double>(cdf(complement(reference, k)));
        const Probability low = binomial_at_most(k, n, p), high = binomial_above(k, n, p);
        SCOPED_TRACE(testing::Message() << "n " << n << " p " << p << " k " << k << ": " << at_most << ", " << above);
        EXPECT_NEAR(binomial_cdf(k, n, p), at_most, 1e-11 * at_most);
        EXPECT_NEAR(high.low, above, 1e-9 * above);
        EXPECT_NEAR(high.high, above, 1e-9 * above);
        EXPECT_LT(width(low), 2e-10);
        EXPECT_LT(width(high), 2e-10);
        EXPECT_LE(low.low + high.low, 1.0);
        EXPECT_GE(low.high + high.high, 1.0);
      }
    }
  }
}

TEST(Binomial, ReachesTheFarthestTails) {
  EXPECT_NEAR(std::log10(binomial_cdf(0, 1000, 0.5)), 1000 * std::log10(0.5), 1e-9);  // 1e-301
  EXPECT_NEAR(std::log10(binomial_above(998, 1000, 0.5).high), 1000 * std::log10(0.5) + std::log10(1001.0), 1e-9);
  EXPECT_EQ(binomial_at_most(0, 10'000'000, 0.5).low, 0.0);
  EXPECT_LT(binomial_at_most(0, 10'000'000, 0.5).high, 1e-300);
}

TEST(QuantileUpperRank, IsTheSmallestThatRationalArithmeticAllows) {
  for (const double q : {0.1, 0.5, 0.7, 0.9, 0.95}) {
    for (Index n = 1; n <= 33; ++n) {
      const auto cdf = exact_cdf(n, q);
      for (const double confidence : {0.01, 0.3, 0.5, 0.9, 0.95, 0.999}) {
        std::optional<Index> smallest;
        bool tie = false;
        for (Index k = n - 1; k >= 0 && cdf[static_cast<std::size_t>(k)] >= Rational(confidence); --k) {
          smallest = k;
          tie = cdf[static_cast<std::size_t>(k)] == Rational(confidence);
        }
        const auto rank = quantile_upper_rank(n, q, confidence);
        ASSERT_EQ(rank.has_value(), smallest.has_value()) << n << ' ' << q << ' ' << confidence;
        if (!rank) continue;
        // Where the probability is exactly the confidence, one rank more is allowed; one less never is.
        EXPECT_GE(*rank, *smallest);
        EXPECT_LE(*rank, *smallest + (tie ? 1 : 0)) << n << ' ' << q << ' ' << confidence;
      }
    }
  }
}

// Hahn and Meeker, Statistical Intervals (1991): 59 samples for the 95 % quantile at 95 %, and so on.
TEST(QuantileUpperRank, GivesTheTextbookNumbers) {
  EXPECT_EQ(samples_needed(0.90, 0.95), 29);
  EXPECT_EQ(samples_needed(0.95, 0.95), 59);
  EXPECT_EQ(samples_needed(0.99, 0.95), 299);
  EXPECT_EQ(samples_needed(0.999, 0.99), 4603);
  EXPECT_EQ(samples_needed(0.5, 0.75), 2) << "an exact tie";
  EXPECT_EQ(quantile_upper_rank(58, 0.95, 0.95), std::nullopt);
  EXPECT_EQ(quantile_upper_rank(59, 0.95, 0.95), 58);
  EXPECT_EQ(quantile_upper_rank(93, 0.95, 0.95), 91);
  EXPECT_EQ(quantile_upper_rank(0, 0.95, 0.95), std::nullopt);
  EXPECT_EQ(quantile_upper_rank(1, 0.5, 0.5), 0);
}

TEST(QuantileUpperRank, BoundsNoSupremum) {
  EXPECT_EQ(quantile_upper_rank(1'000'000, 1.0, 0.01), std::nullopt);
  EXPECT_EQ(quantile_upper_rank(1'000'000, 0.0, 0.99), 0);
}

TEST(QuantileUpperRank, StandsAtTheEdgeForLargeSamples) {
  for (const Index n : {500, 100'000, 10'000'000}) {
    for (const double q : {0.001, 0.5, 0.99, 0.9999}) {
      for (const double confidence : {0.2, 0.95, 0.999999}) {
        const auto rank = quantile_upper_rank(n, q, confidence);
        if (!rank) {
          EXPECT_GT(std::pow(q, static_cast<double>(n)), 1.0 - confidence);
          continue;
        }
        const boost::math::binomial_distribution<long double> reference(static_cast<long double>(n), q);
        EXPECT_GE(static_cast<double>(cdf(reference, *rank)), confidence * (1.0 - 1e-15));
        if (*rank > 0) {
          EXPECT_LT(static_cast<double>(cdf(reference, *rank - 1)), confidence);
        }
      }
    }
  }
}

TEST(SamplesNeeded, IsTheSmallestSampleThatHasARank) {
  for (const double q : {1e-5, 0.2, 0.5, 0.9, 0.99, 0.9999, 0.9999999}) {
    for (const double confidence : {1e-3, 0.5, 0.9, 0.99, 1.0 - 1e-12}) {
      const Index n = samples_needed(q, confidence);
      EXPECT_TRUE(quantile_upper_rank(n, q, confidence).has_value()) << q << ' ' << confidence;
      EXPECT_FALSE(quantile_upper_rank(n - 1, q, confidence).has_value()) << q << ' ' << confidence;
    }
  }
  const double extreme = static_cast<double>(samples_needed(1.0 - 0x1p-53, 0.95));
  EXPECT_NEAR(extreme * 0x1p-53, -std::log(0.05), 1e-8);
}

TEST(ExceedanceUpper, IsProvedAndNotWasteful) {
  for (const Index n : {1, 2, 10, 59, 150}) {
    for (const double confidence : {0.01, 0.5, 0.95, 0.999999}) {
      const double fraction = exceedance_upper(n, confidence);
      Rational power = 1;
      for (Index i = 0; i < n; ++i) power *= Rational(1) - Rational(fraction);
      EXPECT_TRUE(power <= Rational(1) - Rational(confidence)) << n << ' ' << confidence;
    }
  }
  for (const Index n : {1, 7, 1000, 1'000'000, 10'000'000}) {
    const double formula = -std::expm1(std::log1p(-0.95) / static_cast<double>(n));
    EXPECT_NEAR(exceedance_upper(n, 0.95), formula, 1e-8 * formula);
  }
  EXPECT_EQ(exceedance_upper(0, 0.95), 1.0);
  // The fraction that 59 samples leave is 5 %, as samples_needed says.
  EXPECT_LE(exceedance_upper(59, 0.95), 0.05);
  EXPECT_GT(exceedance_upper(58, 0.95), 0.05);
}

TEST(FractionUpper, IsTheCloppersPearsonBound) {
  for (const Index n : {1, 5, 25}) {
    for (Index successes = 0; successes < n; ++successes) {
      for (const double confidence : {0.05, 0.5, 0.9, 0.99}) {
        const double p = fraction_upper(successes, n, confidence);
        const Rational tail = exact_cdf(n, p)[static_cast<std::size_t>(successes)];
        EXPECT_TRUE(tail <= Rational(1) - Rational(confidence)) << successes << ' ' << n << ' ' << confidence;
        EXPECT_NEAR(tail.convert_to<double>(), 1.0 - confidence, 1e-8 * (1.0 - confidence));
      }
    }
  }
  EXPECT_EQ(fraction_upper(5, 5, 0.95), 1.0);
  EXPECT_EQ(fraction_upper(0, 0, 0.95), 1.0);
  EXPECT_EQ(fraction_upper(0, 100, 0.95), exceedance_upper(100, 0.95));
}

TEST(FractionUpper, HoldsForLargeSamples) {
  using boost::math::binomial_distribution;
  for (const Index n : {1000, 100'000, 10'000'000}) {
    for (const Index successes : {Index{1}, Index{30}, n / 2, n - 1}) {
      const double p = fraction_upper(successes, n, 0.95);
      const double expected = binomial_distribution<double>::find_upper_bound_on_p(
          static_cast<double>(n), static_cast<double>(successes), 0.05);
      EXPECT_NEAR(p, expected, 1e-9 * expected) << successes << ' ' << n;
    }
  }
}

// ---- Coverage: how often a bound at a stated confidence is wrong, by the exact sum and by 10,000 repetitions.

constexpr Index repetitions = 10'000;

/// The exact failure probability is at most the stated one, and the measured rate differs from it only as much as a
/// binomial count does (4 sigma). Where the exact one is that far below, the measured rate is below the stated one too;
/// where the bound is tight (`exact` near `stated`) it may be above by chance.
void expect_compatible(Index failures, double exact, double stated) {
  const double rate = static_cast<double>(failures) / static_cast<double>(repetitions);
  const double deviation = 4.0 * std::sqrt(exact * (1.0 - exact) / static_cast<double>(repetitions));
  EXPECT_LE(exact, stated);
  EXPECT_NEAR(rate, exact, deviation + 1e-12);
  if (exact + deviation <= stated) {
    EXPECT_LE(rate, stated);
  }
}

struct Distribution {
  std::string name;
  std::function<double(const core::RandomStream&, std::uint64_t)> draw;
  std::function<double(double)> quantile;        ///< the smallest x with P(X <= x) >= q
  std::function<double(double)> below_quantile;  ///< P(X < that x)
};

double normal_quantile(double q) { return boost::math::quantile(boost::math::normal_distribution<double>(), q); }

std::vector<Distribution> distributions() {
  const auto itself = [](double q) { return q; };
  using Stream = core::RandomStream;
  return {
      {"uniform", [](const Stream& s, std::uint64_t i) { return s.uniform(i); }, itself, itself},
      {"exponential", [](const Stream& s, std::uint64_t i) { return -std::log1p(-s.uniform(i)); },
       [](double q) { return -std::log1p(-q); }, itself},
      {"lognormal, sigma 3", [](const Stream& s, std::uint64_t i) { return std::exp(3.0 * s.normal(i)); },
       [](double q) { return std::exp(3.0 * normal_quantile(q)); }, itself},
      {"absolute Cauchy",
       [](const Stream& s, std::uint64_t i) { return std::tan(0.5 * std::numbers::pi * s.uniform(i)); },
       [](double q) { return std::tan(0.5 * std::numbers::pi * q); }, itself},
      {"seven values", [](const Stream& s, std::uint64_t i) { return std::floor(7.0 * s.uniform(i)); },
       [](double q) { return std::ceil(7.0 * q) - 1.0; }, [](double q) { return (std::ceil(7.0 * q) - 1.0) / 7.0; }},
  };
}

struct Claim {
  Index n;
  double q, confidence;
};

TEST(Coverage, QuantileBoundsFailNoMoreOftenThanStated) {
  const std::vector<Claim> tight{{59, 0.95, 0.95}},
      others{{100, 0.95, 0.95}, {100, 0.9, 0.9}, {50, 0.5, 0.95}, {400, 0.99, 0.95}, {150, 0.9, 0.99}};
  std::vector<Claim> claims = tight;
  claims.insert(claims.end(), others.begin(), others.end());
  for (const Distribution& distribution : distributions()) {
    for (std::size_t c = 0; c < claims.size(); ++c) {
      const auto [n, q, confidence] = claims[c];
      const auto rank = quantile_upper_rank(n, q, confidence);
      ASSERT_TRUE(rank);
      const double quantile = distribution.quantile(q);
      const core::RandomStream stream(11, distribution.name, c);
      std::vector<double> sample(static_cast<std::size_t>(n));
      std::uint64_t next = 0;
      Index failures = 0;
      for (Index repetition = 0; repetition < repetitions; ++repetition) {
        for (double& value : sample) value = distribution.draw(stream, next++);
        std::ranges::nth_element(sample, sample.begin() + *rank);
        failures += sample[static_cast<std::size_t>(*rank)] < quantile ? 1 : 0;
      }
      SCOPED_TRACE(testing::Message() << distribution.name << " n " << n << " q " << q << " confidence " << confidence);
      const double exact = binomial_above(*rank, n, distribution.below_quantile(q)).high;
      expect_compatible(failures, exact, 1.0 - confidence);
      if (c >= tight.size()) {
        EXPECT_LE(static_cast<double>(failures), (1.0 - confidence) * static_cast<double>(repetitions));
      }
    }
  }
}

TEST(Coverage, FractionsFailNoMoreOftenThanStated) {
  for (const auto& [n, p, confidence] :
       std::vector<Claim>{{50, 0.1, 0.95}, {100, 0.03, 0.9}, {100, 0.5, 0.95}, {200, 0.9, 0.99}, {30, 0.001, 0.95}}) {
    std::vector<double> upper;
    for (Index successes = 0; successes <= n; ++successes) upper.push_back(fraction_upper(successes, n, confidence));
    EXPECT_TRUE(std::ranges::is_sorted(upper));
    const auto wrong = std::ranges::lower_bound(upper, p) - upper.begin();  // so many counts give too small a bound
    const core::RandomStream stream(12, "coverage of fractions", static_cast<std::uint64_t>(n));
    std::uint64_t next = 0;
    Index failures = 0;
    for (Index repetition = 0; repetition < repetitions; ++repetition) {
      Index successes = 0;
      for (Index i = 0; i < n; ++i) successes += stream.uniform(next++) < p ? 1 : 0;
      failures += upper[static_cast<std::size_t>(successes)] < p ? 1 : 0;
    }
    SCOPED_TRACE(testing::Message() << "n " << n << " p " << p << " confidence " << confidence);
    expect_compatible(failures, binomial_at_most(wrong - 1, n, p).high, 1.0 - confidence);
  }
}

// The worst fractions are those just above a bound: there one more count is too small.
TEST(Coverage, FractionsHoldForTheWorstPopulations) {
  for (const Index n : {1, 10, 30}) {
    for (const double confidence : {0.5, 0.9, 0.99}) {
      for (Index successes = 0; successes < n; ++successes) {
        const double p = std::nextafter(fraction_upper(successes, n, confidence), 2.0);
        if (p >= 1.0) continue;
        const Rational tail = exact_cdf(n, p)[static_cast<std::size_t>(successes)];
        EXPECT_TRUE(tail <= Rational(1) - Rational(confidence));
      }
    }
  }
}

TEST(Coverage, ExceedanceFailsAsOftenAsStated) {
  for (const auto& [n, unused, confidence] : std::vector<Claim>{{20, 0.0, 0.95}, {100, 0.0, 0.9}, {250, 0.0, 0.99}}) {
    const double fraction = exceedance_upper(n, confidence);
    const core::RandomStream stream(13, "coverage of exceedance", static_cast<std::uint64_t>(n));
    std::uint64_t next = 0;
    Index failures = 0;
    for (Index repetition = 0; repetition < repetitions; ++repetition) {
      double largest = 0.0;
      for (Index i = 0; i < n; ++i) largest = std::max(largest, stream.uniform(next++));
      failures += 1.0 - largest > fraction ? 1 : 0;
    }
    SCOPED_TRACE(testing::Message() << "n " << n << " confidence " << confidence);
    expect_compatible(failures, binomial_at_most(0, n, fraction).low, 1.0 - confidence);
  }
}

}  // namespace
}  // namespace quantbound::observe
