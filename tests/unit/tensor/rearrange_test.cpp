#include "quantbound/tensor/rearrange.hpp"

#include <numeric>

#include <gtest/gtest.h>

namespace quantbound::tensor {
namespace {

std::vector<double> counting(Index count) {
  std::vector<double> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 0.0);
  return values;
}

std::vector<double> moved(const Rearrangement& rearrangement, Index in_elements, Index out_elements) {
  std::vector<double> out(static_cast<std::size_t>(out_elements), -1.0);
  rearrange(rearrangement, counting(in_elements).data(), out.data());
  return out;
}

TEST(Rearrangement, PermutationFollowsItsAxes) {
  // {2, 3} transposed, and {2, 1, 3} with its axes turned round.
  EXPECT_EQ(moved(permutation({2, 3}, std::vector<Index>{1, 0}), 6, 6), (std::vector<double>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(moved(permutation({2, 1, 3}, std::vector<Index>{2, 0, 1}), 6, 6), (std::vector<double>{0, 3, 1, 4, 2, 5}));
}

TEST(Rearrangement, SliceTakesStepsInBothDirections) {
  const auto forwards = slice({3, 4}, std::vector<Index>{0, 1}, std::vector<Index>{2, 2}, std::vector<Index>{2, 2});
  const auto backwards = slice({3, 4}, std::vector<Index>{2, 3}, std::vector<Index>{-1, -3}, std::vector<Index>{3, 2});

  EXPECT_EQ(moved(forwards, 12, 4), (std::vector<double>{1, 3, 9, 11}));
  EXPECT_EQ(moved(backwards, 12, 6), (std::vector<double>{11, 8, 7, 4, 3, 0}));
}

TEST(Rearrangement, PlacementLeavesTheRestUntouched) {
  EXPECT_EQ(moved(placement({2, 2}, {3, 4}, std::vector<Index>{1, 1}), 4, 12),
            (std::vector<double>{-1, -1, -1, -1, -1, 0, 1, -1, -1, 2, 3, -1}));
}

TEST(Rearrangement, ScalarsAndEmptyBlocksWork) {
  EXPECT_EQ(moved(permutation({}, {}), 1, 1), (std::vector<double>{0}));
  EXPECT_EQ(moved(slice({3}, std::vector<Index>{0}, std::vector<Index>{1}, std::vector<Index>{0}), 3, 1),
            (std::vector<double>{-1}));
}

}  // namespace
}  // namespace quantbound::tensor
