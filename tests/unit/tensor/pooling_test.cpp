#include "quantbound/tensor/pooling.hpp"

#include <gtest/gtest.h>
#include <omp.h>

#include "random_geometry.hpp"

namespace quantbound::tensor {
namespace {

using testing::Draw;

TEST(Pooling, MatchesValuesDoneByHand) {
  const Image image{1, 2, 3};
  const std::vector<double> input{1, -2, 3, -4, 5, -6};
  const Window window{.kernel_height = 2, .kernel_width = 2, .pad_right = 1};

  EXPECT_EQ(max_pool(window, image, input, 1), (std::vector<double>{5, 5, 3}));
  EXPECT_EQ(sum_pool(window, image, input, 1), (std::vector<double>{0, 0, -3}));
  EXPECT_EQ(average_pool(window, image, Divisor::inside, input, 1), (std::vector<double>{0, 0, -1.5}));
  EXPECT_EQ(average_pool(window, image, Divisor::window, input, 1), (std::vector<double>{0, 0, -0.75}));
  EXPECT_EQ(inside_counts(window, image), (std::vector<Index>{4, 4, 2}));
  EXPECT_EQ(global_average_pool({2, 1, 3}, input, 1), (std::vector<double>{2.0 / 3.0, -5.0 / 3.0}));
}

TEST(Pooling, PaddingNeverWinsTheMaximumOfNegativeValues) {
  const Window window{
      .kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  EXPECT_EQ(max_pool(window, {1, 1, 2}, std::vector<double>{-3, -2}, 1), (std::vector<double>{-2, -2}));
}

TEST(Pooling, MatchesTheReferencesOnRandomGeometriesBitForBit) {
  Draw draw(21);
  for (int trial = 0; trial < 300; ++trial) {
    const Image image{draw.integer(1, 5), trial % 4 == 0 ? 1 : draw.integer(1, 11), draw.integer(1, 11)};
    const Window window = testing::random_pooling_window(draw, image);
    const Index batch = draw.integer(1, 3);
    const auto input = draw.normals(batch * image.elements());

    EXPECT_EQ(max_pool(window, image, input, batch), max_pool_reference(window, image, input, batch));
    EXPECT_EQ(sum_pool(window, image, input, batch), sum_pool_reference(window, image, input, batch));
    for (const Divisor divisor : {Divisor::inside, Divisor::window})
      EXPECT_EQ(average_pool(window, image, divisor, input, batch),
                average_pool_reference(window, image, divisor, input, batch));
  }
}

TEST(Pooling, BitsDoNotDependOnThreads) {
  Draw draw(22);
  const Image image{7, 9, 8};
  const auto input = draw.normals(3 * image.elements());
  const Window window{.kernel_height = 3, .kernel_width = 3, .stride_height = 2, .stride_width = 2, .pad_top = 1};
  const int threads = omp_get_max_threads();

  omp_set_num_threads(1);
  const auto one = average_pool(window, image, Divisor::inside, input, 3),
             global_one = global_average_pool(image, input, 3);
  omp_set_num_threads(2);
  const auto two = average_pool(window, image, Divisor::inside, input, 3),
             global_two = global_average_pool(image, input, 3);
  omp_set_num_threads(threads);

  EXPECT_EQ(one, two);
  EXPECT_EQ(global_one, global_two);
}

}  // namespace
}  // namespace quantbound::tensor
