#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

#include "quantbound/core/random.hpp"
#include "quantbound/parallel/scheduler.hpp"

namespace quantbound::parallel {
namespace {

using Assignment = std::vector<std::vector<std::size_t>>;

TEST(StaticAssignment, IsLongestProcessingTimeFirst) {
  // By hand: 7 -> 0, 5 -> 1, 4 -> 1 (load 5 < 7), 3 -> 0 (7 < 9), 3 -> 1 (9 < 10), 1 -> 0 (10 < 12)
  const std::vector<double> costs = {3, 7, 1, 5, 3, 4};

  EXPECT_EQ(static_assignment(costs, 2), (Assignment{{1, 0, 2}, {3, 5, 4}}));
}

TEST(StaticAssignment, TiesGoByIndexAndToTheLowestRank) {
  EXPECT_EQ(static_assignment(std::vector<double>{1, 1, 1, 1, 1}, 2), (Assignment{{0, 2, 4}, {1, 3}}));
  EXPECT_EQ(static_assignment(std::vector<double>{0, 0, 0, 0}, 3), (Assignment{{0, 3}, {1}, {2}}))
      << "tasks without cost are dealt out, too";
}

TEST(StaticAssignment, HasMoreRanksThanTasksAndNoTasksAtAll) {
  EXPECT_EQ(static_assignment(std::vector<double>{2}, 3), (Assignment{{0}, {}, {}}));
  EXPECT_EQ(static_assignment(std::vector<double>{}, 2), (Assignment{{}, {}}));
}

TEST(StaticAssignment, GivesEveryTaskOnceAndKeepsGrahamsBound) {
  const core::RandomStream random(3, "static_assignment_test");
  for (const int ranks : {1, 2, 3, 7, 64}) {
    std::vector<double> costs(1000);
    for (std::size_t i = 0; i < costs.size(); ++i) costs[i] = std::exp(3 * random.normal(i));
    std::vector<int> count(costs.size(), 0);
    double makespan = 0.0;

    for (const auto& tasks : static_assignment(costs, ranks)) {
      double load = 0.0;
      for (const std::size_t task : tasks) ++count[task], load += costs[task];
      makespan = std::max(makespan, load);
    }

    EXPECT_TRUE(std::all_of(count.begin(), count.end(), [](int times) { return times == 1; }));
    const double total = std::accumulate(costs.begin(), costs.end(), 0.0);
    const double optimum_at_least = std::max(total / ranks, *std::max_element(costs.begin(), costs.end()));
    EXPECT_LE(makespan, 4.0 / 3 * optimum_at_least * (1 + 1e-12)) << "Graham 1969: LPT is within 4/3 of the optimum";
  }
}

TEST(StaticAssignmentDeathTest, CostsMustBeNumbers) {
  EXPECT_DEATH(static_assignment(std::vector<double>{-1}, 1), "cost");
  EXPECT_DEATH(static_assignment(std::vector<double>{std::numeric_limits<double>::quiet_NaN()}, 1), "cost");
}

}  // namespace
}  // namespace quantbound::parallel
