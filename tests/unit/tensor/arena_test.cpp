#include "../../../src/tensor/arena.hpp"

#include <algorithm>

#include <gtest/gtest.h>

#include "random_geometry.hpp"

namespace quantbound::tensor {
namespace {

using detail::Lifetime;

TEST(Arena, BuffersThatLiveTogetherNeverOverlap) {
  testing::Draw draw(41);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<Lifetime> buffers;
    for (Index i = draw.integer(1, 30); i > 0; --i) {
      const Index first = draw.integer(0, 20);
      buffers.push_back({draw.integer(1, 1000), first, first + draw.integer(0, 6)});
    }

    const detail::ArenaPlan plan = detail::plan_arena(buffers, 16);

    for (std::size_t i = 0; i < buffers.size(); ++i) {
      EXPECT_EQ(plan.offsets[i] % 16, 0);
      EXPECT_LE(plan.offsets[i] + buffers[i].size, plan.size);
      for (std::size_t j = 0; j < i; ++j) {
        const bool together = buffers[i].first <= buffers[j].last && buffers[j].first <= buffers[i].last;
        const bool apart = plan.offsets[i] + buffers[i].size <= plan.offsets[j] ||
                           plan.offsets[j] + buffers[j].size <= plan.offsets[i];
        ASSERT_TRUE(!together || apart) << "trial " << trial << ": " << i << " and " << j;
      }
    }
  }
}

TEST(Arena, AChainNeedsRoomForTwoNeighboursOnly) {
  const std::vector<Lifetime> chain{{64, 0, 1}, {64, 1, 2}, {64, 2, 3}, {64, 3, 4}, {64, 4, 5}};
  EXPECT_EQ(detail::plan_arena(chain, 16).size, 128);
}

}  // namespace
}  // namespace quantbound::tensor
