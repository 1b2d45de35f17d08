#include "quantbound/parallel/balance.hpp"

#include <set>

#include <gtest/gtest.h>

#include "quantbound/core/random.hpp"

namespace quantbound::parallel {
namespace {

TEST(Balance, TheIdleGetsHalfOfTheRichest) {
  const std::vector<Load> loads{{.open = 100, .worth = 1.0}, {.open = 0, .worth = 0.0}, {.open = 40, .worth = 1.0}};

  const auto transfers = balance(loads);

  ASSERT_EQ(transfers.size(), 1u);
  EXPECT_EQ(transfers[0].from, 0);
  EXPECT_EQ(transfers[0].to, 1);
  EXPECT_EQ(transfers[0].count, 50);
}

TEST(Balance, TheBestPiecesAreSpreadBetweenRanksWithEqualWork) {
  const std::vector<Load> loads{{.open = 100, .worth = 0.5}, {.open = 100, .worth = 2.0}};

  const auto transfers = balance(loads);

  ASSERT_EQ(transfers.size(), 1u);
  EXPECT_EQ(transfers[0].from, 1);
  EXPECT_EQ(transfers[0].to, 0);
  EXPECT_GT(transfers[0].count, 0);
}

TEST(Balance, EqualWorkStaysWhereItIs) {
  const std::vector<Load> loads(5, {.open = 1000, .worth = 1.0});
  EXPECT_TRUE(balance(loads).empty());
  EXPECT_TRUE(balance(std::vector<Load>(3)).empty()) << "nothing to do anywhere";
  EXPECT_TRUE(balance(std::vector<Load>{{.open = 1, .worth = 1.0}, {}}).empty()) << "one piece cannot be halved";
}

TEST(Balance, NobodyIsInTwoTransfersAndNobodyGivesAllItHas) {
  const core::RandomStream random(7, "balance");
  for (std::uint64_t trial = 0; trial < 200; ++trial) {
    std::vector<Load> loads(1 + trial % 17);
    for (std::size_t r = 0; r < loads.size(); ++r) {
      const double u = random.uniform(100 * trial + 2 * r), v = random.uniform(100 * trial + 2 * r + 1);
      loads[r] = {.open = u < 0.3 ? 0 : static_cast<std::int64_t>(1000.0 * u), .worth = v};
    }
    std::set<int> seen;
    for (const auto& transfer : balance(loads)) {
      EXPECT_TRUE(seen.insert(transfer.from).second && seen.insert(transfer.to).second);
      EXPECT_GT(transfer.count, 0);
      EXPECT_LT(transfer.count, loads[static_cast<std::size_t>(transfer.from)].open);
    }
  }
}

/// Repeated, it feeds all ranks from one within a few rounds: the start of a search.
TEST(Balance, WorkOfOneRankReachesAllInLogarithmicallyManyRounds) {
  std::vector<Load> loads(64);
  loads[0] = {.open = 64000, .worth = 1.0};
  for (int round = 0; round < 7; ++round) {
    for (const auto& transfer : balance(loads)) {
      loads[static_cast<std::size_t>(transfer.from)].open -= transfer.count;
      loads[static_cast<std::size_t>(transfer.to)].open += transfer.count;
      loads[static_cast<std::size_t>(transfer.to)].worth = 1.0;
    }
  }
  for (const Load& load : loads) EXPECT_GT(load.open, 0);
}

}  // namespace
}  // namespace quantbound::parallel
