#include "quantbound/observe/order_statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <malloc.h>

#include "quantbound/core/random.hpp"

#include "../../support/network_builder.hpp"

namespace quantbound::observe {
namespace {

using testing::Draws;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double denormal = std::numeric_limits<double>::denorm_min();

/// Pieces of 1, 2, 3, ... values.
Replay replay_of(const std::vector<double>& values) {
  return [&values](const TakeValues& take) {
    std::size_t size = 1;
    for (std::size_t at = 0; at < values.size(); at += size++) {
      take(std::span(values).subspan(at, std::min(size, values.size() - at)));
    }
  };
}

/// Which ranks are worth asking for: the ends, the quartiles, two neighbours, and one twice; in no order.
std::vector<Index> ranks_of(Index count) {
  return {count / 2, 0, count - 1, count / 4, std::min(count / 2 + 1, count - 1), count * 3 / 4, count / 4};
}

void expect_sorted_values(const std::vector<double>& values) {
  const auto ranks = ranks_of(std::ssize(values));
  EXPECT_EQ(order_statistics(replay_of(values), std::ssize(values), ranks),
            order_statistics_reference(replay_of(values), ranks));
}

std::vector<double> drawn(Index count, const std::function<double(Draws&)>& draw) {
  Draws draws(7, "order statistics");
  std::vector<double> values;
  for (Index i = 0; i < count; ++i) values.push_back(draw(draws));
  return values;
}

// More values than are collected at once, so that digits are counted.
constexpr Index many = 200'000;

TEST(OrderStatistics, AreTheSortedValuesOfSmallSamples) {
  expect_sorted_values({3.25});
  expect_sorted_values({2.0, 1.0});
  expect_sorted_values({0.0, infinity, denormal, 0.0, 1e308, 1.0, infinity, 5 * denormal});
  expect_sorted_values({-1.0, 1.0, -0.0, 0.0, -infinity, infinity, -denormal});
  for (Index count = 1; count < 60; ++count) {
    expect_sorted_values(drawn(count, [](Draws& d) { return d.normal(); }));
  }
}

TEST(OrderStatistics, AreTheSortedValuesOfAMillion) {
  expect_sorted_values(drawn(1'000'000, [](Draws& d) { return std::abs(d.normal()); }));
}

TEST(OrderStatistics, CopeWithEveryKindOfValues) {
  expect_sorted_values(std::vector<double>(many, 0.0));
  expect_sorted_values(std::vector<double>(many, infinity));
  expect_sorted_values(drawn(many, [](Draws& d) { return std::floor(d.uniform(0.0, 3.0)); }));  // ties
  expect_sorted_values(drawn(many, [](Draws& d) { return d.chance(0.999) ? 0.0 : d.uniform(); }));
  expect_sorted_values(drawn(many, [](Draws& d) { return denormal * std::floor(d.uniform(0.0, 1e6)); }));
  expect_sorted_values(drawn(many, [](Draws& d) { return std::pow(10.0, d.uniform(-320.0, 309.0)); }));
  expect_sorted_values(drawn(many, [](Draws& d) { return d.chance(0.3) ? infinity : d.normal(); }));
  // Values that differ in the last digit of their keys only.
  expect_sorted_values(drawn(many, [](Draws& d) { return 1.0 + 0x1p-52 * std::floor(d.uniform(0.0, 4e4)); }));
}

TEST(OrderStatistics, DoNotDependOnTheOrderOfValues) {
  auto values = drawn(many, [](Draws& d) { return std::exp(d.normal()); });
  const auto ranks = ranks_of(many);
  const auto once = order_statistics(replay_of(values), many, ranks);

  std::reverse(values.begin(), values.end());
  std::rotate(values.begin(), values.begin() + 12345, values.end());

  EXPECT_EQ(order_statistics(replay_of(values), many, ranks), once);
}

// A result file must not depend on which of two equal values was met.
TEST(OrderStatistics, KnowOneZero) {
  const auto found = order_statistics(replay_of({0.0, -0.0, -0.0}), 3, std::vector<Index>{0, 1, 2});
  for (const double value : found) EXPECT_FALSE(std::signbit(value));
}

TEST(OrderStatistics, ReplayAtMostFourTimesAndSmallSamplesOnce) {
  int replays = 0;
  const auto counted = [&](const std::vector<double>& values) {
    const Replay replay = replay_of(values);
    replays = 0;
    order_statistics([&](const TakeValues& take) { ++replays, replay(take); }, std::ssize(values),
                     ranks_of(std::ssize(values)));
    return replays;
  };

  EXPECT_EQ(counted(drawn(1 << 16, [](Draws& d) { return d.normal(); })), 1);
  EXPECT_EQ(counted(drawn(many, [](Draws& d) { return d.normal(); })), 2);
  EXPECT_EQ(counted(std::vector<double>(many, 1.0)), 4);
  EXPECT_EQ(order_statistics(replay_of({}), 0, {}), std::vector<double>{});
}

// The allocator of the address sanitizer does not count.
#ifdef __SANITIZE_ADDRESS__
constexpr bool allocations_are_counted = false;
#else
constexpr bool allocations_are_counted = true;
#endif

Index allocated_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<Index>(info.uordblks + info.hblkhd);
}

TEST(OrderStatistics, NeedHalfAMebibytePerRankWhateverTheCount) {
  if (!allocations_are_counted) GTEST_SKIP() << "built with the address sanitizer";
  const core::RandomStream stream(3, "many values");
  const Index count = 2'000'000, piece_size = 1000;
  const Index before = allocated_bytes();
  Index most = 0;
  const Replay replay = [&](const TakeValues& take) {
    std::vector<double> piece(piece_size);
    for (Index first = 0; first < count; first += piece_size) {
      for (std::size_t i = 0; i < piece.size(); ++i) piece[i] = stream.uniform(static_cast<std::size_t>(first) + i);
      take(piece);
      most = std::max(most, allocated_bytes() - before);
    }
  };

  const auto found = order_statistics(replay, count, std::vector<Index>{count / 2, count - 1, count / 10});

  EXPECT_NEAR(found[0], 0.5, 0.002);
  EXPECT_NEAR(found[2], 0.1, 0.002);
  EXPECT_LT(most, 3 * (512 << 10) + (64 << 10));
  EXPECT_GT(most, 100 << 10) << "the measurement sees the histograms";
}

TEST(QuantileRank, IsTheSmallestRankThatCoversTheFraction) {
  EXPECT_EQ(quantile_rank(1, 0.5), 0);
  EXPECT_EQ(quantile_rank(2, 0.5), 0);
  EXPECT_EQ(quantile_rank(3, 0.5), 1);
  EXPECT_EQ(quantile_rank(10, 0.0), 0);
  EXPECT_EQ(quantile_rank(10, 1.0), 9);
  EXPECT_EQ(quantile_rank(1'000'000'007, 1.0), 1'000'000'006);
}

// 0.07 * 100 is 7.000000000000001 in doubles: the 8th value would be one too many.
TEST(QuantileRank, IsThatOfTheDecimalNumber) {
  for (const Index count : {100, 1000, 10'000, 1'000'000}) {
    for (Index percent = 1; percent <= 100; ++percent) {
      EXPECT_EQ(quantile_rank(count, static_cast<double>(percent) / 100.0), percent * (count / 100) - 1) << percent;
    }
  }
  for (Index permille = 1; permille <= 1000; ++permille) {
    EXPECT_EQ(quantile_rank(3001, static_cast<double>(permille) / 1000.0), (permille * 3001 + 999) / 1000 - 1);
  }
}

}  // namespace
}  // namespace quantbound::observe
