#include "../../../src/reconstruct/batches.hpp"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

namespace quantbound::reconstruct::detail {
namespace {

TEST(Batches, AnEpochTakesEverySampleOnce) {
  Batches batches(3, 7, 12, 4);
  for (Index epoch = 0; epoch < 5; ++epoch) {
    std::set<Index> seen;
    for (Index i = 0; i < 3; ++i) {
      const auto rows = batches.of(3 * epoch + i);
      seen.insert(rows.begin(), rows.end());
    }
    EXPECT_EQ(seen.size(), 12U);
    EXPECT_EQ(*seen.rbegin(), 11);
  }
}

TEST(Batches, AreFunctionsOfSeedModuleAndIteration) {
  Batches forward(3, 7, 50, 8), jumping(3, 7, 50, 8), other_module(3, 8, 50, 8), other_seed(4, 7, 50, 8);
  const auto of = [](Batches& batches, Index iteration) {
    const auto rows = batches.of(iteration);
    return std::vector<Index>(rows.begin(), rows.end());
  };
  std::vector<std::vector<Index>> all;
  for (Index i = 0; i < 40; ++i) all.push_back(of(forward, i));
  for (const Index i : {39, 0, 17, 18}) EXPECT_EQ(of(jumping, i), all[static_cast<std::size_t>(i)]);
  EXPECT_NE(of(other_module, 0), all[0]);
  EXPECT_NE(of(other_seed, 0), all[0]);
  EXPECT_NE(all[0], all[6]) << "the second epoch has another order";
}

TEST(Batches, GatherTakesRows) {
  const std::vector<float> matrix{0, 1, 10, 11, 20, 21};
  const std::vector<Index> rows{2, 0};
  std::vector<float> result(4);
  gather(matrix, rows, result);
  EXPECT_EQ(result, (std::vector<float>{20, 21, 0, 1}));
}

TEST(Batches, MixedElementsComeFromEitherValueWithTheGivenProbability) {
  const std::size_t width = 1001, samples = 40;
  const std::vector<float> original(width * samples, 0.0F), quantized(width * samples, 1.0F);
  const std::vector<Index> rows{3, 39, 0, 8};
  std::vector<float> result(width * rows.size());
  for (const double probability : {0.0, 0.25, 0.5, 1.0}) {
    gather_mixed(original, quantized, rows, {.seed = 1, .module = 2, .probability = probability}, 5, result);
    const auto ones = static_cast<double>(std::ranges::count(result, 1.0F));
    EXPECT_NEAR(ones / static_cast<double>(result.size()), probability, probability * (1 - probability) * 0.12);
  }
  std::vector<float> again(result.size()), later(result.size());
  gather_mixed(original, quantized, rows, {.seed = 1, .module = 2, .probability = 0.5}, 5, result);
  gather_mixed(original, quantized, rows, {.seed = 1, .module = 2, .probability = 0.5}, 5, again);
  gather_mixed(original, quantized, rows, {.seed = 1, .module = 2, .probability = 0.5}, 6, later);
  EXPECT_EQ(result, again);
  EXPECT_NE(result, later);
  const auto row = [&](std::size_t i) { return std::span(result).subspan(i * width, width); };
  EXPECT_FALSE(std::ranges::equal(row(0), row(1)));
}

/// Which elements are taken must be those of the row asked for.
TEST(Batches, MixingKeepsPlaces) {
  std::vector<float> original(30), quantized(30);
  for (std::size_t i = 0; i < 30; ++i) {
    original[i] = static_cast<float>(i);
    quantized[i] = static_cast<float>(i) + 0.5F;
  }
  const std::vector<Index> rows{2, 1};
  std::vector<float> result(20);
  gather_mixed(original, quantized, rows, {.seed = 1, .module = 2, .probability = 0.5}, 0, result);
  for (std::size_t i = 0; i < 20; ++i) {
    const auto from = static_cast<float>(i < 10 ? 20 + i : i);
    EXPECT_TRUE(result[i] == from || result[i] == from + 0.5F) << i;
  }
}

}  // namespace
}  // namespace quantbound::reconstruct::detail
