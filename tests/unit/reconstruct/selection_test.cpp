#include "quantbound/reconstruct/selection.hpp"

#include <cmath>
#include <map>
#include <numeric>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/random.hpp"

namespace quantbound::reconstruct {
namespace {

using ::testing::ElementsAre;
using Runs = std::vector<Index>;

const std::vector<std::uint8_t> all(std::size_t pairs) { return std::vector<std::uint8_t>(pairs, 1); }

/// Every way to cut `may_join.size() + 1` modules into runs that are allowed; those with earlier joins first.
std::vector<Runs> every_scheme(const std::vector<std::uint8_t>& may_join, Index longest_run) {
  const std::size_t pairs = may_join.size();
  std::vector<Runs> schemes;
  for (std::size_t code = std::size_t{1} << pairs; code-- > 0;) {
    Runs runs{1};
    bool allowed = true;
    for (std::size_t i = 0; i < pairs; ++i) {
      const bool joined = (code >> (pairs - 1 - i) & 1) == 1;
      if (joined && may_join[i] == 0) allowed = false;
      if (joined) {
        ++runs.back();
      } else {
        runs.push_back(1);
      }
    }
    for (const Index run : runs) allowed = allowed && run <= longest_run;
    if (allowed) schemes.push_back(runs);
  }
  return schemes;
}

/// Formula (4) as it is written.
double formula(const std::vector<double>& c, const std::vector<std::uint8_t>& may_join, const Runs& runs,
               const SelectionOptions& options) {
  double largest = 0.0, sum = 0.0;
  for (std::size_t i = 0; i + 1 < c.size(); ++i)
    if (may_join[i] != 0) largest = std::max(largest, std::pow(c[i] - c[i + 1], 2.0));
  std::size_t i = 0;
  double joins = 0.0;
  for (const Index run : runs) {
    for (Index join = 1; join < run; ++join, ++i, ++joins) sum += std::pow(c[i] - c[i + 1], 2.0);
    ++i;
  }
  const double k = static_cast<double>(options.k > 0 ? options.k : std::max<Index>((std::ssize(c) - 1) / 4, 1));
  return sum - options.penalty * largest * (joins - k) * (joins - k);
}

struct Problem {
  std::vector<double> measure;  // small integers: sums are exact and ties are frequent
  std::vector<std::uint8_t> may_join;
  SelectionOptions options;
};

Problem random_problem(std::uint64_t seed) {
  const core::RandomStream random(seed, "selection test");
  std::uint64_t next = 0;
  const auto draw = [&](std::uint64_t below) { return random.bits(next++) % below; };
  Problem problem;
  const std::uint64_t modules = 1 + draw(9), range = 2 + draw(12);
  for (std::uint64_t i = 0; i < modules; ++i) problem.measure.push_back(static_cast<double>(draw(range)));
  for (std::uint64_t i = 1; i < modules; ++i) problem.may_join.push_back(draw(4) == 0 ? 0 : 1);
  problem.options.k = static_cast<Index>(draw(6));
  problem.options.penalty = std::vector{0.0, 0.25, 1.0, 4.0}[draw(4)];
  problem.options.longest_run = static_cast<Index>(1 + draw(4));
  return problem;
}

TEST(Selection, IsTheBestOfAllSchemesAndOfEqualOnesTheOneWithFewestAndEarliestJoins) {
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    const Problem p = random_problem(seed);
    std::optional<Runs> best;
    double best_value = 0.0;
    for (const Runs& runs : every_scheme(p.may_join, p.options.longest_run)) {
      const double value = formula(p.measure, p.may_join, runs, p.options);
      ASSERT_EQ(selection_value(p.measure, p.may_join, runs, p.options), value) << "seed " << seed;
      if (!best || value > best_value || (value == best_value && runs.size() > best->size())) {
        best = runs;
        best_value = value;
      }
    }
    ASSERT_EQ(select_runs(p.measure, p.may_join, p.options), *best) << "seed " << seed;
  }
}

TEST(Selection, WithoutLimitsOnNeighboursTakesTheLargestDifferences) {
  // differences 1 4 1 9 2 1: the two largest are neighbours of no join
  const std::vector<double> measure{0, 1, 5, 6, 15, 13, 12};
  EXPECT_THAT(select_runs(measure, all(6), {.k = 2}), ElementsAre(1, 2, 2, 1, 1));
}

TEST(Selection, OfPairsForgoesTheLargestDifferenceWhereTwoBesideItAreWorthMore) {
  const std::vector<double> measure{0, 10, 21, 31};  // 100, 121, 100
  EXPECT_THAT(select_runs(measure, all(3), {.k = 2}), ElementsAre(2, 2));
  EXPECT_THAT(select_runs(measure, all(3), {.k = 2, .longest_run = 3}), ElementsAre(3, 1));
  EXPECT_THAT(select_runs(measure, all(3), {.k = 1}), ElementsAre(1, 2, 1));
}

TEST(Selection, JoinsNoNeighboursThatMayNotBe) {
  EXPECT_THAT(select_runs(std::vector<double>{0, 9, 10}, std::vector<std::uint8_t>{0, 1}, {.k = 2}), ElementsAre(1, 2));
  EXPECT_THAT(select_runs(std::vector<double>{0, 9, 10}, std::vector<std::uint8_t>{0, 0}, {}), ElementsAre(1, 1, 1));
  EXPECT_THAT(select_runs(std::vector<double>{3}, {}, {}), ElementsAre(1));
}

TEST(Selection, OfEqualModulesJoinsNone) {
  EXPECT_THAT(select_runs(std::vector<double>{5, 5, 5}, all(2), {.k = 2}), ElementsAre(1, 1, 1));
}

TEST(Selection, DependsOnNeitherScaleNorShiftOfTheMeasure) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Problem p = random_problem(seed);
    std::vector<double> scaled;
    for (const double x : p.measure) scaled.push_back(std::ldexp(x + 3.0, 30));
    EXPECT_EQ(select_runs(scaled, p.may_join, p.options), select_runs(p.measure, p.may_join, p.options));
  }
}

TEST(RandomRuns, AreEachSchemeEquallyOften) {
  const std::vector<std::uint8_t> may_join{1, 1, 0, 1, 1, 1};
  const std::vector<Runs> schemes = every_scheme(may_join, 3);
  std::map<Runs, double> count;
  const Index draws = 8000;
  for (Index draw = 0; draw < draws; ++draw) ++count[random_runs(may_join, 3, 7, draw)];

  ASSERT_EQ(count.size(), schemes.size());
  const double expected = static_cast<double>(draws) / static_cast<double>(schemes.size());
  double chi_square = 0.0;
  for (const Runs& runs : schemes) {
    ASSERT_TRUE(count.contains(runs));
    chi_square += std::pow(count[runs] - expected, 2.0) / expected;
  }
  ASSERT_EQ(schemes.size(), 28U);
  EXPECT_LT(chi_square, 55.5);  // 27 degrees of freedom: exceeded once in a thousand
  EXPECT_GT(chi_square, 9.8);   // and 999 times in a thousand
}

TEST(RandomRuns, AreAFunctionOfSeedAndDraw) {
  EXPECT_EQ(random_runs(all(40), 3, 1, 5), random_runs(all(40), 3, 1, 5));
  EXPECT_NE(random_runs(all(40), 3, 1, 5), random_runs(all(40), 3, 1, 6));
  EXPECT_NE(random_runs(all(40), 3, 1, 5), random_runs(all(40), 3, 2, 5));
}

TEST(RandomRuns, CoverVeryDeepNetworks) {
  const Runs runs = random_runs(all(4999), 3, 1, 0);
  EXPECT_EQ(std::accumulate(runs.begin(), runs.end(), Index{0}), 5000);
  EXPECT_EQ(*std::max_element(runs.begin(), runs.end()), 3);
}

}  // namespace
}  // namespace quantbound::reconstruct
