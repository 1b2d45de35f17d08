#include "../../../src/sweep/merge_observations.hpp"

#include <gtest/gtest.h>

#include "quantbound/network/families.hpp"
#include "quantbound/observe/samples.hpp"

namespace quantbound::sweep::detail {
namespace {

using observe::Index;

TEST(MergedObservations, OfPartsOfTheConfigurationsAreThoseOfAllInTheirOrder) {
  const auto network =
      network::make_network({.family = network::Family::mlp, .depth = 3, .width = 8, .inputs = 4, .outputs = 3});
  const std::vector<quantize::Configuration> all{{.bits = 3}, {.bits = 4}, {.bits = 5}, {.bits = 6}, {.bits = 7}};
  const auto inputs =
      observe::uniform_points({.low = std::vector<double>(4, -1.0), .high = std::vector<double>(4, 1.0)}, 1, 0, 0, 7);
  const std::vector<Index> labels{0, 1, 2, 0, 1, 2, 0};
  const auto observed = [&](const std::vector<quantize::Configuration>& some) {
    return observe::observe(network.graph, network.layers, some, inputs, labels,
                            {.precision = observe::Precision::float64, .layer_samples = 2});
  };
  const auto whole = observed(all);

  const auto merged = merge({{{1, 4}, observed({all[1], all[4]})}, {{0, 2, 3}, observed({all[0], all[2], all[3]})}});

  EXPECT_EQ(merged.samples, whole.samples);
  EXPECT_EQ(merged.deviation, whole.deviation);
  EXPECT_EQ(merged.deviation_2, whole.deviation_2);
  EXPECT_EQ(merged.relative, whole.relative);
  EXPECT_EQ(merged.in_double, whole.in_double);
  EXPECT_EQ(merged.counts, whole.counts);
  EXPECT_EQ(merged.correct_reference, whole.correct_reference);
  EXPECT_EQ(merged.correct_top5_reference, whole.correct_top5_reference);
  EXPECT_EQ(merged.layers.samples, whole.layers.samples);
  EXPECT_EQ(merged.layers.deviation, whole.layers.deviation);
  EXPECT_EQ(merged.layers.input, whole.layers.input);
  EXPECT_EQ(merged.layers.input_deviation, whole.layers.input_deviation);
  EXPECT_EQ(merged.layers.carried, whole.layers.carried);
  EXPECT_EQ(merged.layers.local, whole.layers.local);
  EXPECT_EQ(merged.error.size(), all.size()) << "the errors depend on which configurations are measured together";
}

}  // namespace
}  // namespace quantbound::sweep::detail
