#include "quantbound/tensor/convolution.hpp"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <omp.h>

#include "random_geometry.hpp"

namespace quantbound::tensor {
namespace {

using testing::Draw;

TEST(Convolution, ReferenceMatchesASumDoneByHand) {
  const Convolution g{.channels_in = 1,
                      .height = 2,
                      .width = 3,
                      .channels_out = 1,
                      .window = {.kernel_height = 2, .kernel_width = 2, .pad_left = 1}};
  const std::vector<double> weights{1, 2, 3, 4}, bias{10}, image{1, 2, 3, 4, 5, 6};

  // Places x = -1, 0, 1 of the kernel; the first column of the window is padding at x = -1.
  const std::vector<double> expected{10 + 2 * 1 + 4 * 4, 10 + 1 + 2 * 2 + 3 * 4 + 4 * 5,
                                     10 + 2 + 2 * 3 + 3 * 5 + 4 * 6};

  EXPECT_EQ(convolve_reference(g, weights, bias, image, 1), expected);
  EXPECT_EQ(convolve(g, weights, bias, image, 1), expected);
}

TEST(Convolution, HasTheBitsOfTheReferenceOnRandomGeometries) {
  Draw draw(1);
  Index depthwise = 0, grouped = 0;
  for (int trial = 0; trial < 400; ++trial) {
    const Convolution g = testing::random_convolution(draw);
    const Index batch = draw.integer(1, 3);
    const auto weights = draw.normals(g.weight_count()), bias = draw.normals(trial % 3 == 0 ? 0 : g.channels_out);
    const auto input = draw.normals(batch * g.channels_in * g.height * g.width);
    depthwise += g.groups == g.channels_in;
    grouped += g.groups > 1 && g.groups < g.channels_in;

    const auto fast = convolve(g, weights, bias, input, batch);
    const auto plain = convolve_reference(g, weights, bias, input, batch);

    ASSERT_FALSE(plain.empty());
    ASSERT_EQ(fast, plain) << "trial " << trial;
  }
  EXPECT_GT(depthwise, 50);
  EXPECT_GT(grouped, 50);
}

TEST(Convolution, TasksHaveTheBitsOfTheirReferencesOnAnyNumberOfThreads) {
  Draw draw(5);
  const int threads_before = omp_get_max_threads();
  for (int trial = 0; trial < 60; ++trial) {
    omp_set_num_threads(1 + trial % 3);
    std::vector<std::vector<double>> inputs, weights, outputs, expected;
    std::vector<Convolution> geometries;
    std::vector<Index> batches;
    for (int task = 0; task < trial % 5; ++task) {
      const Convolution& g = geometries.emplace_back(testing::random_convolution(draw));
      batches.push_back(draw.integer(1, 3));
      weights.push_back(draw.normals(g.weight_count()));
      inputs.push_back(draw.normals(batches.back() * g.channels_in * g.height * g.width));
      expected.push_back(convolve_reference(g, weights.back(), {}, inputs.back(), batches.back()));
      outputs.emplace_back(expected.back().size(), 7.0);
    }
    std::vector<ConvolutionTask> tasks;
    for (std::size_t i = 0; i < geometries.size(); ++i) {
      tasks.push_back({geometries[i], weights[i], inputs[i], batches[i], outputs[i]});
    }

    convolve(tasks);

    ASSERT_EQ(outputs, expected) << "trial " << trial;
  }
  // Large enough for the threads.
  omp_set_num_threads(2);
  const Convolution g{.channels_in = 16,
                      .height = 32,
                      .width = 32,
                      .channels_out = 16,
                      .window = {.kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1}};
  const auto weights = draw.normals(g.weight_count()), input = draw.normals(2 * 16 * 32 * 32);
  const auto expected = convolve_reference(g, weights, {}, input, 2);
  std::vector<double> first(expected.size()), second(expected.size());
  convolve(std::vector<ConvolutionTask>{{g, weights, input, 2, first}, {g, weights, input, 2, second}});
  omp_set_num_threads(threads_before);
  EXPECT_EQ(first, expected);
  EXPECT_EQ(second, expected);
}

TEST(Convolution, HasTheBitsOfTheReferenceAcrossPiecesOfTheInnerDimensionAndBlocksOfRows) {
  const Convolution g{.channels_in = 70,
                      .height = 45,
                      .width = 41,
                      .channels_out = 9,
                      .window = {.kernel_height = 3,
                                 .kernel_width = 3,
                                 .stride_height = 1,
                                 .stride_width = 1,
                                 .pad_top = 1,
                                 .pad_left = 1,
                                 .pad_bottom = 1,
                                 .pad_right = 1}};
  Draw draw(2);
  const auto weights = draw.normals(g.weight_count()), bias = draw.normals(g.channels_out);
  const auto input = draw.normals(2 * g.channels_in * g.height * g.width);

  const auto fast = convolve(g, weights, bias, input, 2), plain = convolve_reference(g, weights, bias, input, 2);

  EXPECT_EQ(fast, plain);
}

TEST(Convolution, BitsOfASampleDependNeitherOnItsBatchNorOnThreads) {
  Draw draw(3);
  for (int trial = 0; trial < 40; ++trial) {
    const Convolution g = testing::random_convolution(draw);
    const Index batch = 5, in = g.channels_in * g.height * g.width;
    const auto weights = draw.normals(g.weight_count()), bias = draw.normals(g.channels_out);
    const auto input = draw.normals(batch * in);
    const int threads = omp_get_max_threads();

    omp_set_num_threads(1);
    const auto together = convolve(g, weights, bias, input, batch);
    omp_set_num_threads(2);
    const auto with_two_threads = convolve(g, weights, bias, input, batch);
    omp_set_num_threads(threads);

    EXPECT_EQ(together, with_two_threads);
    const Index out = std::ssize(together) / batch;
    for (Index n = 0; n < batch; ++n) {
      const auto alone =
          convolve(g, weights, bias,
                   std::span(input).subspan(static_cast<std::size_t>(n * in), static_cast<std::size_t>(in)), 1);
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + n * out)) << "trial " << trial;
    }
  }
}

}  // namespace
}  // namespace quantbound::tensor
