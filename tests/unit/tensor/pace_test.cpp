#include "../../../src/tensor/pace.hpp"

#include <algorithm>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "random_geometry.hpp"

namespace quantbound::tensor::detail {
namespace {

using tensor::testing::Draw;
constexpr Index mib = Index{1} << 20;

/// The least cost over all sequences, one after the other.
double least_cost(std::span<const Traffic> operators, const std::vector<Index>& paces, Index batch) {
  std::vector<std::size_t> digits(operators.size(), 0);
  std::vector<Index> pace(operators.size());
  double least = std::numeric_limits<double>::infinity();
  while (true) {
    std::transform(digits.begin(), digits.end(), pace.begin(), [&](std::size_t digit) { return paces[digit]; });
    least = std::min(least, pace_cost(operators, pace, batch));
    std::size_t place = 0;
    while (place < digits.size() && ++digits[place] == paces.size()) digits[place++] = 0;
    if (place == digits.size()) return least;
  }
}

TEST(Pace, NoSequenceIsCheaperThanTheChosenOne) {
  Draw draw(71);
  for (int trial = 0; trial < 100; ++trial) {
    std::vector<Traffic> operators(static_cast<std::size_t>(draw.integer(1, 5)));
    for (Traffic& traffic : operators)
      traffic = {draw.integer(1, 4 * mib), draw.integer(0, 2 * mib), draw.integer(1, 2 * mib)};

    const std::vector<Index> pace = choose_pace(operators, 12);

    EXPECT_DOUBLE_EQ(pace_cost(operators, pace, 12), least_cost(operators, {1, 2, 3, 4, 6, 12}, 12)) << trial;
  }
}

TEST(Pace, LargeImagesGoOneByOneAndLargeWeightsAreReadOnce) {
  const std::vector<Traffic> operators{
      {.activations = 4 * mib, .weights = 1000, .alive = 0},
      {.activations = 4 * mib, .weights = 1000, .alive = 2 * mib},
      {.activations = 10000, .weights = 8 * mib, .alive = 5000},
  };
  EXPECT_THAT(choose_pace(operators, 32), ::testing::ElementsAre(1, 1, 32));
}

TEST(Pace, ChangesWhereLittleIsAlive) {
  // The operator in the middle shrinks its value: its output is cheaper to keep for the whole batch than its input.
  const std::vector<Traffic> operators{
      {.activations = 3 * mib, .weights = 0, .alive = 0},
      {.activations = mib + mib / 8, .weights = 0, .alive = mib},
      {.activations = mib / 8, .weights = 4 * mib, .alive = mib / 8},
  };
  const std::vector<Index> pace = choose_pace(operators, 16);
  EXPECT_EQ(pace[0], 1);
  EXPECT_EQ(pace[1], 1);
  EXPECT_GT(pace[2], 1);
}

}  // namespace
}  // namespace quantbound::tensor::detail
