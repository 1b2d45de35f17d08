#include "quantbound/parallel/stop_token.hpp"

#include <thread>

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "quantbound/parallel/launcher_rank.hpp"

namespace quantbound::parallel {
namespace {

using std::chrono::duration;
using std::chrono::milliseconds;

TEST(StopToken, EverySignalOfTheLaunchersIsAStop) {
  for (const int number : {SIGTERM, SIGUSR1, SIGINT}) {
    const StopToken stop;
    EXPECT_FALSE(stop.stop_requested());

    ::raise(number);

    EXPECT_EQ(stop.reason(), StopReason::signal);
  }
}

TEST(StopToken, TheDeadlineCountsFromTheStartOfTheProcess) {
  const StopToken stop(time_since_process_start() + milliseconds(500));
  EXPECT_FALSE(stop.stop_requested());
  EXPECT_LE(stop.time_left()->count(), 0.5);

  std::this_thread::sleep_for(milliseconds(550));

  EXPECT_EQ(stop.reason(), StopReason::time_is_up);
  EXPECT_LT(stop.time_left()->count(), 0.0);
}

TEST(StopToken, WithoutALimitThereIsNoDeadline) {
  const StopToken stop;

  EXPECT_EQ(stop.time_left(), std::nullopt);
}

TEST(StopToken, AnotherRankMayAskForIt) {
  StopToken stop;
  stop.request_stop();

  EXPECT_EQ(stop.reason(), StopReason::another_rank);
}

TEST(StopToken, TimeSinceTheStartOfTheProcessGoesOn) {
  const auto first = time_since_process_start();
  EXPECT_GE(first.count(), 0.0);
  EXPECT_LT(first.count(), 600.0);

  std::this_thread::sleep_for(milliseconds(50));

  const double passed = (time_since_process_start() - first).count();
  EXPECT_GT(passed, 0.03);  // the system counts in hundredths
  EXPECT_LT(passed, 5.0);
}

TEST(StopTokenDeathTest, ASecondSignalEndsTheProcessUnlessItIsAnEcho) {
  EXPECT_EXIT(
      {
        const StopToken stop;
        ::raise(SIGTERM);
        ::raise(SIGTERM);  // within a second: launcher and batch system saying the same
        ::raise(SIGUSR1);
        ::_exit(stop.stop_requested() ? 7 : 8);
      },
      testing::ExitedWithCode(7), "");
  EXPECT_EXIT(
      {
        const StopToken stop;
        ::raise(SIGTERM);
        std::this_thread::sleep_for(milliseconds(1100));
        ::raise(SIGINT);
        ::_exit(7);
      },
      testing::KilledBySignal(SIGINT), "");
}

TEST(StopTokenDeathTest, FormerHandlersComeBack) {
  EXPECT_EXIT(
      {
        { const StopToken stop; }
        ::raise(SIGUSR1);
        ::_exit(7);
      },
      testing::KilledBySignal(SIGUSR1), "");
}

TEST(LauncherRank, IsWhatTheLauncherSays) {
  for (const char* name :
       {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    ::unsetenv(name);
  }
  EXPECT_EQ(launcher_rank(), 0);
  EXPECT_EQ(launcher_size(), std::nullopt);

  ::setenv("PMI_RANK", "3", 1);
  ::setenv("PMI_SIZE", "4", 1);
  EXPECT_EQ(launcher_rank(), 3);
  EXPECT_EQ(launcher_size(), 4);

  ::setenv("PMI_RANK", "many", 1);
  EXPECT_EQ(launcher_rank(), 0);
  ::unsetenv("PMI_RANK");
  ::unsetenv("PMI_SIZE");
}

}  // namespace
}  // namespace quantbound::parallel
