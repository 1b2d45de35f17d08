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

std::vector<std::byte> bytes_of(int rank, std::size_t count) {
  return std::vector<std::byte>(count, static_cast<std::byte>(rank + 1));
}

TEST(Collective, ShareGivesEveryRankTheRecordsOfAll) {
  Session& session = test_session();
  const auto size_of = [](int rank) { return static_cast<std::size_t>(rank) * 1000; };  // rank 0 has nothing

  const auto all = share(session, bytes_of(session.rank(), size_of(session.rank())));

  EXPECT_EQ(all.size(), static_cast<std::size_t>(session.size()));
  for (int rank = 0; rank < session.size(); ++rank)
    EXPECT_EQ(all[static_cast<std::size_t>(rank)], bytes_of(rank, size_of(rank)));
}

TEST(Collective, MessagesArriveWholeAndInOrder) {
  Session& session = test_session();
  const int last = session.size() - 1;
  if (last == 0) GTEST_SKIP() << "one rank has nobody to send to";

  if (session.is_root()) {
    send(session, last, bytes_of(3, 5'000'000));
    send(session, last, {});
    EXPECT_EQ(receive(session, last), bytes_of(8, 7));
  } else if (session.rank() == last) {
    EXPECT_EQ(receive(session, 0), bytes_of(3, 5'000'000));
    EXPECT_TRUE(receive(session, 0).empty());
    send(session, 0, bytes_of(8, 7));
  }
  barrier(session);
}

TEST(Collective, WhoWaitsForAMessageSleeps) {
  Session& session = test_session();
  const int last = session.size() - 1;
  if (last == 0) GTEST_SKIP() << "one rank has nobody to wait for";
  barrier(session);
  const std::clock_t before = std::clock();

  if (session.is_root()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    send(session, last, bytes_of(1, 100));
  } else if (session.rank() == last) {
    EXPECT_EQ(receive(session, 0), bytes_of(1, 100));
  }

  EXPECT_LT(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC, 0.25);
  barrier(session);
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
