#include <cmath>

#include <gtest/gtest.h>

#include "quantbound/certify/pair.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/network/forward.hpp"

#include "../../support/network_builder.hpp"

namespace quantbound::certify {
namespace {

using quantbound::testing::Draws;
using quantbound::testing::NetworkBuilder;
using quantbound::testing::RandomNetwork;

void expect_difference(const Pair& pair, Draws& draws, const std::string& what) {
  const network::Network merged = merged_network(pair);
  for (int k = 0; k < 5; ++k) {
    std::vector<double> x;
    for (Index i = 0; i < tensor::elements(pair.graph.input_shape()); ++i) x.push_back(draws.normal());
    const auto f = network::forward(pair.graph, pair.f, x, 1), fq = network::forward(pair.graph, pair.fq, x, 1);
    const auto difference = network::forward(merged.graph, merged.layers, x, 1);
    ASSERT_EQ(difference.size(), f.size()) << what;
    for (std::size_t i = 0; i < f.size(); ++i) {
      // Zero blocks add exact zeros: only the last sum is rounded, as the difference of the outputs is.
      ASSERT_EQ(difference[i], fq[i] - f[i]) << what << ", output " << i;
    }
  }
}

TEST(MergedNetwork, ComputesTheDifferenceOnRandomGraphs) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    RandomNetwork random(seed, {.image_probability = 0.7, .extreme_probability = 0.0});
    const network::Network network = random.network();
    expect_difference(make_pair(network, quantize::Configuration{.bits = 4}), random.draws(),
                      "network " + std::to_string(seed));
  }
}

TEST(MergedNetwork, TakesOperatorsThatMixTheFirstAxis) {
  Draws draws(3, "merged");
  const auto numbers = [&](Index count) {
    std::vector<double> result;
    for (Index i = 0; i < count; ++i) result.push_back(draws.normal());
    return result;
  };
  NetworkBuilder builder({2, 4, 4});
  const tensor::Convolution keep{
      2, 4, 4,
      4, 2, {.kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}};
  const NodeId image = builder.convolution(builder.add(network::ScaleShift{{2.0, 3.0}, {0.5, 1.0}}, {0}), keep,
                                           numbers(keep.weight_count()), numbers(4));
  const NodeId padded = builder.add(network::Pad{{1, 0, 1}, {0, 2, 0}, -1.0}, {image});            // {5, 6, 5}
  const NodeId turned = builder.add(network::Permute{{2, 0, 1}}, {padded});                        // {5, 5, 6}
  const NodeId sliced = builder.add(network::Slice{{4, 0, 5}, {-2, 1, -1}, {3, 5, 4}}, {turned});  // {3, 5, 4}
  const NodeId swapped = builder.add(network::Permute{{0, 2, 1}}, {sliced});                       // {3, 4, 5}
  const NodeId cut = builder.add(network::Slice{{0, 0, 1}, {1, 1, 1}, {3, 4, 4}}, {swapped});      // {3, 4, 4}
  const NodeId beside = builder.add(network::Concat{0}, {cut, 0, image});                          // {9, 4, 4}
  const NodeId scaled = builder.add(network::Product{}, {beside, builder.add(network::GlobalAveragePool{}, {beside})});
  const NodeId wide = builder.add(network::Concat{2}, {scaled, beside});  // {9, 4, 8}
  const NodeId shaped = builder.reshape(builder.relu(wide), {16, 18});
  expect_difference(make_pair(builder.finish(shaped), quantize::Configuration{.bits = 5}), draws, "mixed axes");
}

TEST(MergedNetwork, AddsTheSharedInputToBothHalves) {
  Draws draws(4, "merged");
  NetworkBuilder builder({2});
  const NodeId sum = builder.add(network::Add{}, {builder.dense(0, {1.3, -0.2, 0.7, 2.2}, {0.1, 0.2}), 0});
  expect_difference(make_pair(builder.finish(sum), quantize::Configuration{.bits = 3}), draws, "skip of the input");
}

TEST(MergedNetwork, RefusesRoundedActivations) {
  NetworkBuilder builder({2});
  const NodeId relu = builder.relu(builder.dense(0, {1.3, -0.2, 0.7, 2.2}, {0.1, 0.2}));
  Pair pair = make_pair(builder.finish(relu), quantize::Configuration{.bits = 3});
  pair.activation_grids.resize(pair.graph.nodes.size());
  pair.activation_grids[static_cast<std::size_t>(relu)] = ActivationGrid{0.25, 0.0, 3.75};
  EXPECT_THROW(merged_network(pair), core::InputError);
}

}  // namespace
}  // namespace quantbound::certify
