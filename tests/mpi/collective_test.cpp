#include "quantbound/parallel/collective.hpp"

#include <chrono>
#include <ctime>
#include <thread>

#include <gtest/gtest.h>

#include "quantbound/parallel/affinity.hpp"

#include "mpi_session.hpp"

namespace quantbound::parallel {
namespace {

std::string text_of(int rank) {
  return std::string(static_cast<std::size_t>(rank) * 100000, static_cast<char>('a' + rank));
}

TEST(Collective, BroadcastGivesEveryRankWhatRankZeroHas) {
  Session& session = test_session();
  const std::string large(3'000'000, 'x');

  EXPECT_EQ(broadcast(session, session.is_root() ? large : "ignored"), large);
  EXPECT_EQ(broadcast(session, std::string(session.is_root() ? "" : "ignored")), "");
  EXPECT_EQ(broadcast(session, std::vector<std::byte>(session.is_root() ? 2 : 9, std::byte{7})),
            std::vector<std::byte>(2, std::byte{7}));
}

TEST(Collective, GatherIsOrderedByRank) {
  Session& session = test_session();

  const std::vector<std::string> all = gather(session, text_of(session.rank()));

  EXPECT_EQ(all.size(), session.is_root() ? static_cast<std::size_t>(session.size()) : 0u);
  for (std::size_t rank = 0; rank < all.size(); ++rank) EXPECT_EQ(all[rank], text_of(static_cast<int>(rank)));
}

TEST(Collective, MaximumAndSumReachEveryRank) {
  Session& session = test_session();
  const auto size = static_cast<std::uint64_t>(session.size());

  EXPECT_EQ(max_over_ranks(session, -session.rank()), 0);
  EXPECT_EQ(max_over_ranks(session, session.rank()), session.size() - 1);
  EXPECT_EQ(sum_over_ranks(session, (std::uint64_t{1} << 60) + 1), size * ((std::uint64_t{1} << 60) + 1));
}

TEST(Collective, WaitingRanksSleep) {
  Session& session = test_session();
  barrier(session);
  const std::clock_t before = std::clock();
  const auto start = std::chrono::steady_clock::now();

  if (session.is_root()) std::this_thread::sleep_for(std::chrono::milliseconds(500));
  barrier(session);

  const double cpu = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(450)) << "nobody leaves early";
  EXPECT_LT(cpu, 0.25) << "waiting takes the processor from those who work";
}

TEST(Session, KnowsRanksAndHosts) {
  Session& session = test_session();

  EXPECT_EQ(session.hosts().size(), static_cast<std::size_t>(session.size()));
  EXPECT_EQ(session.hosts()[static_cast<std::size_t>(session.rank())], session.host());
  EXPECT_FALSE(session.host().empty());
  EXPECT_FALSE(mpi_library().empty());
}

TEST(Affinity, BindingsAreTheSameOnEveryRank) {
  Session& session = test_session();

  const std::vector<Binding> bindings = gather_bindings(session, session.rank() + 1);

  EXPECT_EQ(bindings.size(), static_cast<std::size_t>(session.size()));
  for (std::size_t rank = 0; rank < bindings.size(); ++rank) {
    EXPECT_EQ(bindings[rank].threads, static_cast<int>(rank) + 1);
    EXPECT_EQ(bindings[rank].host, session.hosts()[rank]);
    EXPECT_FALSE(bindings[rank].cpus.empty());
  }
  EXPECT_EQ(bindings[static_cast<std::size_t>(session.rank())].cpus, local_binding(1).cpus);
  EXPECT_GE(advised_threads(bindings, session.rank()), 1);
}

}  // namespace
}  // namespace quantbound::parallel
