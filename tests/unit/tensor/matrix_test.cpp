#include "quantbound/tensor/matrix.hpp"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <omp.h>

#include "random_geometry.hpp"

namespace quantbound::tensor {
namespace {

using testing::Draw;

TEST(Dense, MatchesAProductDoneByHand) {
  EXPECT_EQ(dense(2, std::vector<double>{1, 2, 3, 4, 5, 6}, std::vector<double>{100, 200},
                  std::vector<double>{1, 0, -1, 2, 2, 2}, 2),
            (std::vector<double>{98, 198, 112, 230}));
}

TEST(Dense, HasTheBitsOfTheReferenceOnRandomShapes) {
  Draw draw(11);
  for (int trial = 0; trial < 150; ++trial) {
    const Index outputs = draw.integer(1, 40), inputs = draw.integer(1, trial % 10 == 0 ? 900 : 60);
    const Index batch = draw.integer(1, 40);
    const auto weights = draw.normals(outputs * inputs), bias = draw.normals(trial % 3 == 0 ? 0 : outputs);
    const auto input = draw.normals(batch * inputs);

    const auto fast = dense(outputs, weights, bias, input, batch);
    const auto plain = dense_reference(outputs, weights, bias, input, batch);

    ASSERT_EQ(fast, plain) << "trial " << trial;
  }
}

TEST(Dense, BitsOfASampleDependNeitherOnItsPlaceInTheBatchNorOnThreads) {
  Draw draw(12);
  for (const auto& [outputs, inputs] : {std::pair<Index, Index>{1, 1}, {3, 2}, {10, 300}, {67, 129}, {256, 784}}) {
    const Index batch = 37;
    const auto weights = draw.normals(outputs * inputs), bias = draw.normals(outputs), sample = draw.normals(inputs);
    std::vector<double> input;
    for (Index n = 0; n < batch; ++n) input.insert(input.end(), sample.begin(), sample.end());
    const int threads = omp_get_max_threads();

    omp_set_num_threads(1);
    const auto alone = dense(outputs, weights, bias, sample, 1);
    const auto together = dense(outputs, weights, bias, input, batch);
    omp_set_num_threads(2);
    const auto with_two_threads = dense(outputs, weights, bias, input, batch);
    omp_set_num_threads(threads);

    EXPECT_EQ(together, with_two_threads);
    for (Index n = 0; n < batch; ++n)
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + n * outputs)) << n;
  }
}

}  // namespace
}  // namespace quantbound::tensor
