#include "quantbound/tensor/adjoint.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/tensor/convolution.hpp"
#include "quantbound/tensor/matrix.hpp"

#include "random_geometry.hpp"

namespace quantbound::tensor {
namespace {

using testing::Draw;

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// <A x, g> == <x, A^T g> up to the rounding of the four sums.
void expect_adjoint(const std::vector<double>& ax, const std::vector<double>& g, const std::vector<double>& x,
                    const std::vector<double>& atg, int trial) {
  double size = 1.0;
  for (std::size_t i = 0; i < ax.size(); ++i) size += std::abs(ax[i] * g[i]);
  for (std::size_t i = 0; i < x.size(); ++i) size += std::abs(x[i] * atg[i]);
  EXPECT_NEAR(dot(ax, g), dot(x, atg), 1e-13 * size) << "trial " << trial;
}

Index in_elements(const Convolution& g) { return g.channels_in * g.height * g.width; }
Index out_elements(const Convolution& g) { return g.channels_out * g.out_height() * g.out_width(); }

TEST(Adjoint, ConvolutionMatchesASumDoneByHand) {
  const Convolution g{.channels_in = 1,
                      .height = 1,
                      .width = 3,
                      .channels_out = 2,
                      .window = {.kernel_height = 1, .kernel_width = 2, .pad_left = 1}};
  const std::vector<double> weights{1, 2, 10, 20}, gradient{1, 0, 3, 0, 5, 7};

  // Place x reads elements x - 1 (weights 1 and 10) and x (weights 2 and 20).
  const std::vector<double> expected{2 * 1 + 50, 20 * 5 + 3 + 70, 2 * 3 + 140};

  EXPECT_EQ(convolve_adjoint_reference(g, weights, gradient, 1), expected);
  EXPECT_EQ(convolve_adjoint(g, weights, gradient, 1), expected);
}

TEST(Adjoint, OfConvolutionsHasTheBitsOfTheReferenceAndIsAdjointOnRandomGeometries) {
  Draw draw(31);
  Index depthwise = 0, grouped = 0, together = 0;
  for (int trial = 0; trial < 500; ++trial) {
    Convolution g = testing::random_convolution(draw);
    if (trial % 10 == 0) g.window = {};  // pointwise
    const Index batch = draw.integer(1, trial % 5 == 0 ? 70 : 3);
    const auto weights = draw.normals(g.weight_count()), x = draw.normals(batch * in_elements(g));
    const auto gradient = draw.normals(batch * out_elements(g));
    depthwise += g.groups == g.channels_in;
    grouped += g.groups > 1 && g.groups < g.channels_in;
    together += batch > 1 && g.groups < g.channels_in;

    const auto fast = convolve_adjoint(g, weights, gradient, batch);

    ASSERT_EQ(fast, convolve_adjoint_reference(g, weights, gradient, batch)) << "trial " << trial;
    expect_adjoint(convolve(g, weights, {}, x, batch), gradient, x, fast, trial);
  }
  EXPECT_GT(depthwise, 50);
  EXPECT_GT(grouped, 50);
  EXPECT_GT(together, 100);
}

TEST(Adjoint, OfConvolutionsHasTheBitsOfTheReferenceAcrossPiecesOfRowsChannelsAndInnerIndices) {
  Draw draw(32);
  for (const Index stride : {1, 2}) {
    const Convolution g{.channels_in = 45,
                        .height = 23,
                        .width = 41,
                        .channels_out = 270,
                        .window = {.kernel_height = 3,
                                   .kernel_width = 3,
                                   .stride_height = stride,
                                   .stride_width = stride,
                                   .pad_top = 1,
                                   .pad_left = 1,
                                   .pad_bottom = 1,
                                   .pad_right = 1}};
    const auto weights = draw.normals(g.weight_count()), gradient = draw.normals(out_elements(g));

    EXPECT_EQ(convolve_adjoint(g, weights, gradient, 1), convolve_adjoint_reference(g, weights, gradient, 1));
  }
}

TEST(Adjoint, BitsOfASampleDependNeitherOnItsBatchNorOnThreads) {
  Draw draw(33);
  for (int trial = 0; trial < 40; ++trial) {
    const Convolution g = testing::random_convolution(draw);
    const Index batch = 21, out = out_elements(g), in = in_elements(g);
    const auto weights = draw.normals(g.weight_count()), gradient = draw.normals(batch * out);
    const int threads = omp_get_max_threads();

    omp_set_num_threads(1);
    const auto one = convolve_adjoint(g, weights, gradient, batch);
    omp_set_num_threads(2);
    const auto two = convolve_adjoint(g, weights, gradient, batch);
    omp_set_num_threads(threads);

    EXPECT_EQ(one, two);
    for (Index n = 0; n < batch; ++n) {
      const auto alone = convolve_adjoint(
          g, weights, std::span(gradient).subspan(static_cast<std::size_t>(n * out), static_cast<std::size_t>(out)), 1);
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), one.begin() + n * in)) << "trial " << trial;
    }
  }
}

TEST(Adjoint, OfDenseLayersHasTheBitsOfTheReferenceAndIsAdjoint) {
  Draw draw(34);
  for (int trial = 0; trial < 120; ++trial) {
    const Index outputs = draw.integer(1, trial % 8 == 0 ? 300 : 20),
                inputs = draw.integer(1, trial % 4 == 0 ? 600 : 30);
    const Index batch = draw.integer(1, trial % 3 == 0 ? 220 : 6);
    const auto weights = draw.normals(outputs * inputs), x = draw.normals(batch * inputs);
    const auto gradient = draw.normals(batch * outputs);

    const auto fast = dense_adjoint(outputs, weights, gradient, batch);

    ASSERT_EQ(fast, dense_adjoint_reference(outputs, weights, gradient, batch)) << "trial " << trial;
    expect_adjoint(dense(outputs, weights, {}, x, batch), gradient, x, fast, trial);
  }
}

TEST(Adjoint, OfPoolsHasTheBitsOfTheReferenceAndIsAdjointOnRandomGeometries) {
  Draw draw(35);
  for (int trial = 0; trial < 300; ++trial) {
    const Image image{draw.integer(1, 5), trial % 4 == 0 ? 1 : draw.integer(1, 11), draw.integer(1, 11)};
    const Window window = testing::random_pooling_window(draw, image);
    const Index batch = draw.integer(1, 3);
    const auto x = draw.normals(batch * image.elements());
    const auto sums = sum_pool(window, image, x, batch);
    const auto gradient = draw.normals(std::ssize(sums));

    const auto of_sum = sum_pool_adjoint(window, image, gradient, batch);
    EXPECT_EQ(of_sum, sum_pool_adjoint_reference(window, image, gradient, batch));
    expect_adjoint(sums, gradient, x, of_sum, trial);
    for (const Divisor divisor : {Divisor::inside, Divisor::window})
      expect_adjoint(average_pool(window, image, divisor, x, batch), gradient, x,
                     average_pool_adjoint(window, image, divisor, gradient, batch), trial);
    const auto means = draw.normals(batch * image.channels);
    expect_adjoint(global_average_pool(image, x, batch), means, x, global_average_pool_adjoint(image, means, batch),
                   trial);

    const auto of_max = max_pool_adjoint(window, image, x, gradient, batch);
    EXPECT_EQ(of_max, max_pool_adjoint_reference(window, image, x, gradient, batch));
    expect_adjoint(max_pool(window, image, x, batch), gradient, x, of_max, trial);  // linear where it does not switch
  }
}

TEST(Adjoint, OfAMaximumGoesToTheFirstLargestElement) {
  const Image image{1, 1, 4};
  const Window window{.kernel_width = 2, .stride_width = 2};
  EXPECT_EQ(max_pool_adjoint(window, image, std::vector<double>{3, 3, -2, -1}, std::vector<double>{5, 7}, 1),
            (std::vector<double>{5, 0, 0, 7}));
}

TEST(Adjoint, OfRearrangementsIsAdjointAndAdds) {
  Draw draw(36);
  for (int trial = 0; trial < 100; ++trial) {
    const Shape in{draw.integer(1, 4), draw.integer(1, 5), draw.integer(1, 6)};
    std::vector<Index> start, step, count, before;
    Shape around;
    for (const Index extent : in) {
      step.push_back(draw.integer(0, 1) == 0 ? -draw.integer(1, 2) : draw.integer(1, 2));
      start.push_back(step.back() < 0 ? extent - 1 : 0);
      count.push_back((extent - 1) / std::abs(step.back()) + 1);
      before.push_back(draw.integer(0, 2));
      around.push_back(extent + before.back() + draw.integer(0, 2));
    }
    const std::vector<Index> axes{2, 0, 1};
    for (const Rearrangement& r :
         {slice(in, start, step, count), permutation(in, axes), placement(in, around, before)}) {
      const Index out = std::max(elements(around), elements(r.count));
      const auto x = draw.normals(elements(in)), g = draw.normals(out), offset = draw.normals(elements(in));
      std::vector<double> ax(static_cast<std::size_t>(out), 0.0), zero(x.size(), 0.0), added = offset;

      rearrange(r, x.data(), ax.data());
      rearrange_adjoint(r, g.data(), zero.data());
      rearrange_adjoint(r, g.data(), added.data());

      expect_adjoint(ax, g, x, zero, trial);
      for (std::size_t i = 0; i < zero.size(); ++i) EXPECT_EQ(added[i], offset[i] + zero[i]);
    }
  }
}

}  // namespace
}  // namespace quantbound::tensor
