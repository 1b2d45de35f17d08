#include "quantbound/parallel/scheduler.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>

#include <gtest/gtest.h>
#include <signal.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"
#include "quantbound/parallel/collective.hpp"

#include "mpi_session.hpp"

namespace quantbound::parallel {
namespace {

using std::chrono::duration;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

using Run = Outcome (*)(Session&, std::span<const double>, StopToken&, const Execute&, const OnProgress&);

class Schedules : public testing::TestWithParam<Run> {};

std::vector<double> random_costs(std::size_t count, std::uint64_t seed) {
  const core::RandomStream random(seed, "scheduler_test");
  std::vector<double> costs(count);
  for (std::size_t i = 0; i < count; ++i) costs[i] = i % 7 == 0 ? 0.0 : std::exp(2 * random.normal(i));
  return costs;
}

/// How often every task was executed, on all ranks together; known to all.
std::vector<std::uint64_t> total_counts(Session& session, const std::vector<std::uint64_t>& mine) {
  std::vector<std::uint64_t> sums(mine.size(), 0);
  for (const auto& bytes : gather(session, std::as_bytes(std::span(mine)))) {
    std::vector<std::uint64_t> counts(mine.size());
    if (!bytes.empty()) std::memcpy(counts.data(), bytes.data(), bytes.size());
    for (std::size_t i = 0; i < counts.size(); ++i) sums[i] += counts[i];
  }
  const auto view = std::as_bytes(std::span(sums));
  const std::vector<std::byte> known = broadcast(session, std::vector<std::byte>(view.begin(), view.end()));
  if (!known.empty()) std::memcpy(sums.data(), known.data(), known.size());
  return sums;
}

bool all_equal(const std::vector<std::uint64_t>& counts, std::uint64_t value) {
  return std::all_of(counts.begin(), counts.end(), [&](std::uint64_t count) { return count == value; });
}

TEST_P(Schedules, ExecuteEveryTaskExactlyOnce) {
  Session& session = test_session();
  for (const std::size_t count : {0u, 1u, 2u, 5u, 200u}) {
    const std::vector<double> costs = random_costs(count, count);
    std::vector<std::uint64_t> mine(count, 0);
    std::vector<Progress> seen;
    StopToken stop;

    const Outcome outcome = GetParam()(
        session, costs, stop,
        [&](std::size_t task) {
          std::this_thread::sleep_for(microseconds(static_cast<int>(20 * costs[task])));
          ++mine[task];
        },
        [&](const Progress& progress) { seen.push_back(progress); });

    EXPECT_EQ(outcome, Outcome::finished);
    EXPECT_TRUE(all_equal(total_counts(session, mine), 1));
    EXPECT_EQ(seen.empty(), !session.is_root() || count == 0);
    for (std::size_t i = 1; i < seen.size(); ++i) EXPECT_GT(seen[i].done, seen[i - 1].done);
    if (!seen.empty()) {
      EXPECT_EQ(seen.back().done, count);
      EXPECT_EQ(seen.back().total, count);
      EXPECT_EQ(seen.back().cost_done, seen.back().cost_total);
    }
  }
}

TEST_P(Schedules, TellProgressWhileTheWorkGoesOn) {
  Session& session = test_session();
  const std::vector<double> costs(25 * static_cast<std::size_t>(session.size()), 1.0);
  std::vector<std::size_t> seen;
  StopToken stop;

  GetParam()(
      session, costs, stop, [](std::size_t) { std::this_thread::sleep_for(milliseconds(20)); },
      [&](const Progress& progress) { seen.push_back(progress.done); });

  if (session.is_root()) {
    const auto middle = std::count_if(seen.begin(), seen.end(), [&](std::size_t d) { return d < costs.size(); });
    EXPECT_GE(middle, 3);
  }
}

/// Runs tasks of 20 ms that together take 25 s and more; `interrupt` is called before each task.
double stopped_after(Run run, StopToken& stop, const std::function<void(std::size_t done_here)>& interrupt) {
  Session& session = test_session();
  const std::vector<double> costs = random_costs(5000, 1);
  std::vector<std::uint64_t> mine(costs.size(), 0);
  std::size_t done_here = 0;
  barrier(session);
  const auto start = steady_clock::now();

  const Outcome outcome = run(session, costs, stop,
                              [&](std::size_t task) {
                                interrupt(done_here++);
                                std::this_thread::sleep_for(milliseconds(20));
                                ++mine[task];
                              },
                              {});

  const double seconds = duration<double>(steady_clock::now() - start).count();
  EXPECT_EQ(outcome, Outcome::stopped);
  const auto counts = total_counts(session, mine);
  EXPECT_TRUE(std::all_of(counts.begin(), counts.end(), [](std::uint64_t count) { return count <= 1; }));
  EXPECT_EQ(max_over_ranks(session, stop.stop_requested() ? 1 : 0), 1);
  return seconds;
}

TEST_P(Schedules, ASignalToOneRankStopsAll) {
  const int last = test_session().size() - 1;
  StopToken stop;

  const double seconds = stopped_after(GetParam(), stop, [&](std::size_t done_here) {
    if (test_session().rank() == last && done_here == 3) ::raise(SIGUSR1);
  });

  EXPECT_LT(seconds, 10.0);
  EXPECT_TRUE(stop.stop_requested()) << "every rank has heard of it";
}

TEST_P(Schedules, ADeadlineOfRankZeroStopsAll) {
  const bool is_root = test_session().is_root();
  StopToken stop(is_root ? std::optional<duration<double>>(time_since_process_start() + milliseconds(300))
                         : std::nullopt);

  const double seconds = stopped_after(GetParam(), stop, [](std::size_t) {});

  EXPECT_LT(seconds, 10.0);
  EXPECT_EQ(stop.reason(), is_root ? StopReason::time_is_up : StopReason::another_rank);
}

TEST_P(Schedules, AStopOfAWaitingRankReachesTheBusyOnes) {
  Session& session = test_session();
  const int last = session.size() - 1;
  StopToken stop(session.rank() == last
                     ? std::optional<duration<double>>(time_since_process_start() + milliseconds(300))
                     : std::nullopt);
  const std::vector<double> costs(400 * static_cast<std::size_t>(session.size()), 1.0);
  const bool is_slow = session.rank() == (GetParam() == run_static || session.size() == 1 ? 0 : 1);
  const auto start = steady_clock::now();

  const Outcome outcome = GetParam()(session, costs, stop,
                                     [&](std::size_t) {
                                       if (is_slow) std::this_thread::sleep_for(milliseconds(50));
                                     },
                                     {});

  EXPECT_LT(duration<double>(steady_clock::now() - start).count(), 15.0) << "the slow rank alone would need 20 s";
  if (session.size() != 2) {  // with two, dynamic: the only worker is the slow one and never waits
    EXPECT_EQ(outcome, Outcome::stopped);
  }
}

TEST_P(Schedules, LeaveNothingBehindForTheNextRun) {
  Session& session = test_session();
  const core::RandomStream random(9, "scheduler_test stops");
  for (std::uint64_t round = 0; round < 60; ++round) {
    const std::size_t count = random.bits(round) % 40;
    const int stopping_rank = static_cast<int>(random.bits(1000 + round) % 8);  // often none
    std::vector<std::uint64_t> mine(count, 0);
    std::size_t done_last = 0;
    int asked_here = 0;
    StopToken stop;

    const Outcome outcome = GetParam()(
        session, random_costs(count, round), stop,
        [&](std::size_t task) {
          ++mine[task];
          if (session.rank() != stopping_rank || task % 3 != 0) return;
          stop.request_stop();
          asked_here = 1;
        },
        [&](const Progress& progress) { done_last = progress.done; });

    std::uint64_t done = 0;
    for (const std::uint64_t times : total_counts(session, mine)) {
      EXPECT_LE(times, 1u);
      done += times;
    }
    EXPECT_EQ(outcome, done == count ? Outcome::finished : Outcome::stopped) << "round " << round;
    if (max_over_ranks(session, asked_here) == 0) {
      EXPECT_EQ(outcome, Outcome::finished) << "a stop of an earlier round came late, in round " << round;
    }
    EXPECT_EQ(done_last, session.is_root() ? done : 0) << "round " << round;
  }
}

TEST_P(Schedules, RanksWithDifferentTasksAreToldApart) {
  Session& session = test_session();
  StopToken stop;
  const std::vector<double> costs(3, session.rank() == session.size() - 1 ? 2.0 : 1.0);

  const auto run = [&] { GetParam()(session, costs, stop, [](std::size_t) {}, {}); };
  if (session.size() == 1) {
    EXPECT_NO_THROW(run());
  } else {
    EXPECT_THROW(run(), core::InputError);
  }
}

INSTANTIATE_TEST_SUITE_P(Both, Schedules, testing::Values(run_static, run_dynamic),
                         [](const auto& schedule) { return schedule.param == run_static ? "static" : "dynamic"; });

TEST(DynamicSchedule, RankZeroOnlyHandsOutAndTheExpensiveGoFirst) {
  Session& session = test_session();
  const std::vector<double> costs = random_costs(100, 4);
  std::vector<double> mine;
  StopToken stop;

  run_dynamic(session, costs, stop, [&](std::size_t task) { mine.push_back(costs[task]); }, {});

  EXPECT_TRUE(std::is_sorted(mine.rbegin(), mine.rend()));
  EXPECT_TRUE(mine.empty() || !session.is_root() || session.size() == 1);
}

TEST(DynamicSchedule, BalancesWhatTheCostModelMisjudges) {
  Session& session = test_session();
  if (session.size() < 3) GTEST_SKIP() << "needs two workers";
  const std::vector<double> costs(200, 1.0);
  std::uint64_t done_here = 0;
  StopToken stop;

  run_dynamic(session, costs, stop,
              [&](std::size_t) {
                std::this_thread::sleep_for(milliseconds(session.rank() == 1 ? 20 : 1));
                ++done_here;
              },
              {});

  const std::uint64_t slow = sum_over_ranks(session, session.rank() == 1 ? done_here : 0);
  EXPECT_LT(slow, 200u / static_cast<unsigned>(session.size()));
}

}  // namespace
}  // namespace quantbound::parallel
