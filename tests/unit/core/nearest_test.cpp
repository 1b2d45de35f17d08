#include "quantbound/core/nearest.hpp"

#include <gtest/gtest.h>

namespace quantbound::core {
namespace {

TEST(Nearest, IsTheKnownWordWithFewestSlips) {
  EXPECT_EQ(nearest("rond", {"floor", "round", "ground"}), "round");
  EXPECT_EQ(nearest("conv10", {"conv1", "conv20"}), "conv1");
  EXPECT_EQ(nearest("abc", {"acb", "abd"}), "abd") << "an exchange is two slips";
}

TEST(Nearest, IsNothingWhereNoWordIsNearEnoughToBeASlip) {
  EXPECT_EQ(nearest("x", {"floor", "round"}), std::nullopt);
  EXPECT_EQ(nearest("ab", {}), std::nullopt);
  EXPECT_EQ(nearest("abcdef", {"ab"}), std::nullopt) << "four of six letters";
  EXPECT_EQ(nearest("abcdefghi", {"abcdef"}), "abcdef") << "a third of the letters";
}

}  // namespace
}  // namespace quantbound::core
