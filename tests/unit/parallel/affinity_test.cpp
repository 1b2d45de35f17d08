#include "quantbound/parallel/affinity.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

namespace quantbound::parallel {
namespace {

using testing::HasSubstr;

TEST(Affinity, TheMaskOfThisProcessIsRead) {
  cpu_set_t former, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof former, &former), 0);
  const Binding before = local_binding(3);
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(before.cpus.front()), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);

  const Binding bound = local_binding(3);
  sched_setaffinity(0, sizeof former, &former);

  EXPECT_EQ(before.cpus.size(), static_cast<std::size_t>(CPU_COUNT(&former)));
  EXPECT_EQ(bound.cpus, std::vector{before.cpus.front()});
  EXPECT_EQ(bound.threads, 3);
  EXPECT_FALSE(bound.host.empty());
}

TEST(Affinity, RanksDivideTheProcessorsTheyShare) {
  const std::vector<Binding> shared = {{"a", {0, 1, 2, 3}, 1}, {"a", {0, 1, 2, 3}, 1}, {"b", {0, 1, 2, 3}, 1}};
  const std::vector<Binding> bound = {{"a", {0, 1}, 1}, {"a", {2, 3}, 1}};
  const std::vector<Binding> crowded = {{"a", {0}, 1}, {"a", {0}, 1}};

  EXPECT_EQ(advised_threads(shared, 0), 2);
  EXPECT_EQ(advised_threads(shared, 2), 4);
  EXPECT_EQ(advised_threads(bound, 1), 2);
  EXPECT_EQ(advised_threads(crowded, 0), 1);
}

TEST(Affinity, WarnsOfWhatMakesARunSlow) {
  const std::vector<Binding> well = {{"a", {0, 1}, 2}, {"a", {2, 3}, 2}};
  const std::vector<Binding> narrow = {{"a", {0}, 8}};
  const std::vector<Binding> crowded = {{"a", {0, 1}, 1}, {"a", {0, 1}, 1}, {"a", {0, 1}, 1}};

  EXPECT_TRUE(binding_warnings(well).empty());
  ASSERT_EQ(binding_warnings(narrow).size(), 1u);
  EXPECT_THAT(binding_warnings(narrow)[0],
              HasSubstr("1 of 1 rank with more threads than processors (rank 0 on a: 8 threads, 1 processor)"));
  EXPECT_THAT(binding_warnings(narrow)[0], HasSubstr("slot:PE=8"));
  ASSERT_EQ(binding_warnings(crowded).size(), 1u);
  EXPECT_THAT(binding_warnings(crowded)[0], HasSubstr("3 ranks with 3 threads together share 2 processors"));
}

TEST(Affinity, IsDescribedInOneLine) {
  EXPECT_EQ(describe(std::vector<Binding>{{"n1", {0}, 1}}), "1 rank on n1, 1 thread and 1 processor per rank");
  EXPECT_EQ(describe(std::vector<Binding>{{"n1", {0, 1}, 2}, {"n1", {2, 3}, 2}, {"n2", {0}, 1}}),
            "3 ranks on 2 hosts, 1 to 2 ranks per host, 1 to 2 threads and 1 to 2 processors per rank");
}

}  // namespace
}  // namespace quantbound::parallel
