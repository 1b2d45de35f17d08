#include "quantbound/quantize/equalization.hpp"

#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/network/forward.hpp"
#include "quantbound/network/readers.hpp"
#include "quantbound/quantize/quantize.hpp"

#include "../../support/exact.hpp"
#include "../network/random_graph.hpp"

namespace quantbound::quantize {
namespace {

using network::Activation;
using network::ActivationKind;
using network::Network;
using network::NodeId;
using network::testing::Builder;
using network::testing::Draw;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Activation relu{ActivationKind::relu, 0.0, 0.0};
constexpr tensor::Window same{
    .kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
constexpr tensor::Window halve{.kernel_height = 2, .kernel_width = 2, .stride_height = 2, .stride_width = 2};

/// Rows of all layers multiplied by numbers of very different sizes.
void unbalance(Network& network, std::uint64_t seed) {
  Draw draw(seed);
  for (LayerParameters& layer : network.layers) {
    const std::size_t columns = layer.weights.size() / layer.bias.size();
    for (std::size_t row = 0; row < layer.bias.size(); ++row) {
      const double scale = std::exp(2.0 * draw.normal());
      for (std::size_t i = row * columns; i < (row + 1) * columns; ++i) layer.weights[i] *= scale;
      layer.bias[row] *= scale;
    }
  }
}

/// dense - relu - dense.
Network two_layers(std::vector<double> first, std::vector<double> second, Index hidden) {
  Draw draw(1);
  Builder b({std::ssize(first) / hidden}, draw);
  b.dense(b.add(relu, {b.dense(0, hidden)}), std::ssize(second) / hidden);
  Network network = b.build();
  network.layers[0].weights = std::move(first);
  network.layers[1].weights = std::move(second);
  return network;
}

/// conv - relu - depthwise - leaky relu - conv - relu - pool - flatten - dense.
Network separable(std::uint64_t seed) {
  Draw draw(seed);
  Builder b({3, 8, 8}, draw);
  NodeId v = b.add(relu, {b.convolution(0, 6, 1, same)});
  v = b.add(Activation{ActivationKind::leaky_relu, 0.1, 0.0}, {b.convolution(v, 6, 6, same)});
  v = b.add(relu, {b.convolution(v, 4, 1, {})});
  b.dense(b.flatten(b.add(network::AveragePool{halve, false}, {v})), 5);
  Network network = b.build();
  unbalance(network, seed);
  return network;
}

std::vector<double> row_ranges(const LayerParameters& layer) {
  const std::size_t columns = layer.weights.size() / layer.bias.size();
  std::vector<double> ranges(layer.bias.size(), 0.0);
  for (std::size_t i = 0; i < layer.weights.size(); ++i)
    ranges[i / columns] = std::max(ranges[i / columns], std::abs(layer.weights[i]));
  return ranges;
}

/// Of a dense layer or a convolution without groups.
std::vector<double> channel_ranges(const LayerParameters& layer, std::size_t channels) {
  const std::size_t columns = layer.weights.size() / layer.bias.size(), kernel = columns / channels;
  std::vector<double> ranges(channels, 0.0);
  for (std::size_t i = 0; i < layer.weights.size(); ++i) {
    double& range = ranges[i % columns / kernel];
    range = std::max(range, std::abs(layer.weights[i]));
  }
  return ranges;
}

bool equal(const std::vector<LayerParameters>& a, const std::vector<LayerParameters>& b) {
  return std::ranges::equal(a, b, [](const LayerParameters& x, const LayerParameters& y) {
    return x.weights == y.weights && x.bias == y.bias;
  });
}

TEST(Equalization, TwoLayersByHand) {
  // Rows of the first layer reach 8 and 1, the columns that read them 2 and 4: scales 2 and 1/2.
  const Network network = two_layers({8.0, -4.0, 0.5, 1.0}, {2.0, 4.0, 1.0, -3.0}, 2);

  const Equalization found = find_equalization(network.graph, network.layers);
  const auto layers = equalized(network.graph, network.layers, found);

  EXPECT_THAT(found.exponents, ElementsAre(ElementsAre(1, -1)));
  EXPECT_THAT(layers[0].weights, ElementsAre(4.0, -2.0, 1.0, 2.0));
  EXPECT_THAT(layers[1].weights, ElementsAre(4.0, 2.0, 2.0, -1.5));
  EXPECT_EQ(layers[0].bias[0], network.layers[0].bias[0] / 2.0);
  EXPECT_EQ(layers[0].bias[1], network.layers[0].bias[1] * 2.0);
  EXPECT_EQ(layers[1].bias, network.layers[1].bias);
}

TEST(Equalization, ChannelsAreFollowedThroughPoolingPadsSlicesAndFlatten) {
  Draw draw(3);
  Builder b({2, 4, 4}, draw);
  NodeId v = b.add(network::MaxPool{halve}, {b.add(relu, {b.convolution(0, 3, 1, same)})});
  v = b.add(network::Slice{{2, 0, 0}, {-1, 1, 1}, {3, 2, 2}}, {v});  // channels 2, 1, 0
  v = b.add(network::Pad{{0, 0, 0}, {1, 0, 0}, 0.0}, {v});           // and one of zeros
  v = b.add(network::Permute{{1, 2, 0}}, {v});                       // channels last, as TensorFlow flattens
  b.dense(b.flatten(v), 2);
  const Network network = b.build();

  const Links links = find_links(network.graph);

  ASSERT_EQ(links.links.size(), 1U);
  EXPECT_EQ(links.links[0].first, 0);
  EXPECT_EQ(links.links[0].second, 1);
  EXPECT_THAT(links.links[0].rows, ElementsAre(2, 1, 0, -1, 2, 1, 0, -1, 2, 1, 0, -1, 2, 1, 0, -1));
  ASSERT_EQ(links.unlinked.size(), 1U);
  EXPECT_EQ(links.unlinked[0].layer, 1);
  EXPECT_THAT(links.unlinked[0].reason, HasSubstr("is the output"));
}

/// Why the first of two convolutions with `between` in the middle is not linked; empty when it is.
std::string reason_across(const std::function<NodeId(Builder&, NodeId)>& between) {
  Draw draw(5);
  Builder b({2, 6, 6}, draw);
  const NodeId first = b.convolution(0, 4, 1, same);
  b.convolution(between(b, first), 3, 1, {});
  const Links links = find_links(b.build().graph);
  EXPECT_EQ(links.links.size() + links.unlinked.size(), 2U);
  return links.links.empty() ? links.unlinked.front().reason : "";
}

std::string reason_across_one(const network::Operator& op) {
  return reason_across([&](Builder& b, NodeId first) { return b.add(op, {first}); });
}

TEST(Equalization, IsRefusedWhereAScaleDoesNotCommuteAndSaysWhy) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(reason_across_one(Activation{ActivationKind::clip, 0.0, infinity}), "");
  EXPECT_EQ(reason_across_one(network::AveragePool{halve, true}), "");
  EXPECT_EQ(reason_across_one(network::ScaleShift{{2.0}, {0.0}}), "");
  EXPECT_EQ(reason_across_one(Activation{ActivationKind::clip, 0.0, 6.0}),
            "Clip 'node2' is not positively homogeneous");
  EXPECT_THAT(reason_across_one(Activation{ActivationKind::sigmoid, 0.0, 0.0}),
              HasSubstr("not positively homogeneous"));
  EXPECT_THAT(reason_across_one(Activation{ActivationKind::hard_swish, 0.0, 0.0}),
              HasSubstr("not positively homogeneous"));
  EXPECT_THAT(reason_across_one(network::Pad{{0, 1, 1}, {0, 1, 1}, 0.5}), HasSubstr("adds a constant"));
  EXPECT_THAT(reason_across_one(network::ScaleShift{{1.0}, {0.5}}), HasSubstr("adds a constant"));
  EXPECT_THAT(reason_across([](Builder& b, NodeId v) {
                return b.add(network::Add{}, {v, v});
              }),
              HasSubstr("joins it with another value"));
  EXPECT_THAT(reason_across([](Builder& b, NodeId v) {
                return b.add(network::Concat{0}, {v, b.add(relu, {v})});
              }),
              HasSubstr("is read 2 times"));
  EXPECT_THAT(reason_across_one(network::Permute{{1, 0, 2}}), HasSubstr("several rows as one channel"));
  EXPECT_THAT(reason_across([](Builder& b, NodeId v) {
                return b.add(network::MaxPool{halve}, {b.add(network::Permute{{1, 0, 2}}, {v})});
              }),
              HasSubstr("pools several rows"));
}

TEST(Equalization, TheNetworkKeepsEveryBitOfItsOutputsAndTheWeightsComeBack) {
  Index scaled = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    Network network = seed % 10 == 0 ? separable(seed) : network::testing::random_network(seed);
    unbalance(network, seed);
    Draw draw(1000 + seed);
    const auto inputs = draw.normals(3 * tensor::elements(network.graph.input_shape()));

    const Equalization found = find_equalization(network.graph, network.layers);
    const auto layers = equalized(network.graph, network.layers, found);

    for (const auto& link : found.exponents) scaled += std::ranges::count_if(link, [](int e) { return e != 0; });
    EXPECT_TRUE(found.settled) << seed;
    EXPECT_EQ(forward(network.graph, layers, inputs, 3), forward(network.graph, network.layers, inputs, 3)) << seed;
    EXPECT_TRUE(equal(equalized(network.graph, layers, inverse(found)), network.layers)) << seed;
  }
  EXPECT_GT(scaled, 300);  // so that there was something to test
}

TEST(Equalization, InRationalArithmeticTheFunctionIsTheSame) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const Network network = separable(seed);
    const auto layers = equalized(network.graph, network.layers, find_equalization(network.graph, network.layers));
    ASSERT_FALSE(equal(layers, network.layers));
    Draw draw(seed);
    const auto input = draw.normals(3 * 8 * 8);
    EXPECT_EQ(quantbound::testing::ExactForward(network.graph, layers).run(input).back(),
              quantbound::testing::ExactForward(network.graph, network.layers).run(input).back());
  }
}

TEST(Equalization, EveryWeightIsTheOriginalTimesItsTwoPowersOfTwo) {
  const Network network = separable(4);
  const Equalization found = find_equalization(network.graph, network.layers);
  const auto layers = equalized(network.graph, network.layers, found);
  ASSERT_EQ(found.exponents.size(), 3U);
  for (std::size_t i = 0; i < layers[1].weights.size(); ++i) {  // depthwise: nine taps a channel
    EXPECT_EQ(layers[1].weights[i],
              std::ldexp(network.layers[1].weights[i], found.exponents[0][i / 9] - found.exponents[1][i / 9]));
  }
  for (std::size_t i = 0; i < layers[2].weights.size(); ++i) {  // four rows of six channels
    EXPECT_EQ(layers[2].weights[i],
              std::ldexp(network.layers[2].weights[i], found.exponents[1][i % 6] - found.exponents[2][i / 6]));
  }
  for (std::size_t i = 0; i < layers[3].weights.size(); ++i) {  // five rows of four channels of sixteen pixels
    EXPECT_EQ(layers[3].weights[i], std::ldexp(network.layers[3].weights[i], found.exponents[2][i / 16 % 4]));
  }
}

double largest(std::span<const double> values) { return *std::ranges::max_element(values); }

TEST(Equalization, ProductOfTwoStepsNeverGrowsAndIsAtMostTwiceTheLeast) {
  int smaller = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Draw draw(seed);
    Network network = two_layers(draw.normals(40 * 7), draw.normals(40 * 9), 40);
    if (seed % 2 == 0) unbalance(network, seed);
    const auto made = row_ranges(network.layers[0]), read = channel_ranges(network.layers[1], 40);
    double least = 0.0;  // no scales can bring the product below this
    for (std::size_t i = 0; i < 40; ++i) least = std::max(least, made[i] * read[i]);

    const auto layers = equalized(network.graph, network.layers, find_equalization(network.graph, network.layers));

    const double before = largest(made) * largest(read);
    const double after = largest(row_ranges(layers[0])) * largest(row_ranges(layers[1]));
    EXPECT_LE(after, before) << seed;
    EXPECT_LE(after, 2.0 * least) << seed;
    EXPECT_GE(after, least * (1.0 - 1e-15)) << seed;
    smaller += after < 0.5 * before ? 1 : 0;
  }
  EXPECT_GT(smaller, 20);
}

TEST(Equalization, ChannelsGetTheScaleOfThePaperUpToRoundingAndACommonFactor) {
  int scaled = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Draw draw(seed);
    Network network = two_layers(draw.normals(40 * 7), draw.normals(40 * 9), 40);
    unbalance(network, seed);
    const auto made = row_ranges(network.layers[0]), read = channel_ranges(network.layers[1], 40);
    const auto exponents = find_equalization(network.graph, network.layers).exponents.front();
    if (std::ranges::all_of(exponents, [](int e) { return e == 0; })) continue;  // nothing gained
    ++scaled;
    double lowest = 1e300, highest = 0.0;
    for (std::size_t i = 0; i < 40; ++i) {
      const double factor = std::ldexp(1.0, exponents[i]) / std::sqrt(made[i] / read[i]);
      lowest = std::min(lowest, factor);
      highest = std::max(highest, factor);
    }
    EXPECT_LE(highest, 2.0 * lowest);  // sqrt(2) to either side
  }
  EXPECT_GT(scaled, 10);
}

TEST(Equalization, DepthwiseLayerIsEqualizedWithBothItsNeighbours) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Draw draw(seed);
    Builder b({3, 5, 5}, draw);
    const NodeId depthwise = b.convolution(b.add(relu, {b.convolution(0, 6, 1, same)}), 6, 6, same);
    b.convolution(b.add(relu, {depthwise}), 4, 1, {});
    Network network = b.build();
    unbalance(network, seed);

    const Equalization found = find_equalization(network.graph, network.layers);

    EXPECT_EQ(found.rounds, 2);  // the first finds the scales, the second that they stay
    const auto layers = equalized(network.graph, network.layers, found);
    const auto before_x = row_ranges(network.layers[0]), before_y = row_ranges(network.layers[1]),
               before_z = channel_ranges(network.layers[2], 6);
    const auto x = row_ranges(layers[0]), y = row_ranges(layers[1]), z = channel_ranges(layers[2], 6);
    double least = 0.0;
    for (std::size_t i = 0; i < 6; ++i) {
      least = std::max(least, before_x[i] * before_y[i] * before_z[i]);
      EXPECT_DOUBLE_EQ(x[i] * y[i] * z[i], before_x[i] * before_y[i] * before_z[i]);
    }
    const double product = largest(x) * largest(y) * largest(z);
    EXPECT_LE(product, 4.0 * least);  // real scales reach it
    EXPECT_LE(product, largest(before_x) * largest(before_y) * largest(before_z));
  }
}

TEST(Equalization, DoesNotDependOnHowChannelsWereScaledBefore) {
  Draw draw(8);
  Network network = two_layers(draw.normals(30 * 7), draw.normals(30 * 9), 30);
  unbalance(network, 8);
  Equalization other = find_equalization(network.graph, network.layers);
  const auto wanted = equalized(network.graph, network.layers, other);
  for (int& e : other.exponents[0]) e = static_cast<int>(draw.integer(-9, 9));
  const auto rescaled = equalized(network.graph, network.layers, other);

  const auto layers = equalized(network.graph, rescaled, find_equalization(network.graph, rescaled));

  EXPECT_FALSE(equal(rescaled, network.layers));
  EXPECT_TRUE(equal(layers, wanted));
}

TEST(Equalization, DeadChannelsKeepTheirScaleAndScalesAreLimited) {
  // Row 0 is zero, nothing reads row 1, row 2 is nearly zero.
  const Network network = two_layers({0.0, 1.0, 1e-30, 64.0, 1.0}, {1.0, 0.0, 1.0, 1.0, 64.0}, 5);
  EXPECT_THAT(find_equalization(network.graph, network.layers).exponents, ElementsAre(ElementsAre(0, 0, -20, 3, -3)));
  EXPECT_THAT(find_equalization(network.graph, network.layers, {.largest_exponent = 2}).exponents,
              ElementsAre(ElementsAre(0, 0, -2, 2, -2)));
}

TEST(Equalization, IsLeftOutWhereItGainsNothing) {
  // Row 0 has the largest weights on both sides: whatever the other does, the steps stay.
  const Network network = two_layers({64.0, 1.0}, {64.0, 16.0}, 2);
  EXPECT_THAT(find_equalization(network.graph, network.layers).exponents, ElementsAre(ElementsAre(0, 0)));
}

TEST(Equalization, ScaleThatWouldCostABitIsNotUsed) {
  // Rows 0 and 1 ask for 2^3. Row 0 has the smallest denormal, row 1 one that can be halved often enough.
  const Network network = two_layers({64.0, 0x1p-1074, 64.0, 0x1p-1060, 1.0, 0.0}, {1.0, 1.0, 64.0}, 3);
  const Equalization found = find_equalization(network.graph, network.layers);
  EXPECT_THAT(found.exponents, ElementsAre(ElementsAre(0, 3, -3)));
  const auto layers = equalized(network.graph, network.layers, found);
  EXPECT_TRUE(equal(equalized(network.graph, layers, inverse(found)), network.layers));

  Network large = network;  // the other way round, with biases that would overflow, or just not
  large.layers[0] = {{1.0, 0.0, 1.0, 0.0, 64.0, 0.0}, {0x1p1021, 0x1p1020, 0.0}};
  large.layers[1].weights = {64.0, 64.0, 1.0};
  EXPECT_THAT(find_equalization(large.graph, large.layers).exponents, ElementsAre(ElementsAre(0, -3, 3)));
}

TEST(Equalization, SaysWhetherOtherLayersScaleExactly) {
  const Network network = two_layers({8.0, -4.0, 0.5, 1.0}, {2.0, 4.0, 1.0, -3.0}, 2);
  const Equalization found = find_equalization(network.graph, network.layers);  // 1, -1
  auto layers = network.layers;
  EXPECT_TRUE(scales_exactly(network.graph, layers, found));
  layers[0].weights[0] = 0x1p-1074;
  EXPECT_FALSE(scales_exactly(network.graph, layers, found));
  EXPECT_TRUE(scales_exactly(network.graph, layers, inverse(found)));
  layers[0].weights[0] = 0.0;
  layers[1].weights[0] = -0x1p1023;
  EXPECT_FALSE(scales_exactly(network.graph, layers, found));
  layers[1].weights[0] = 1.0;
  layers[0].bias[1] = 0x1p1023;
  EXPECT_FALSE(scales_exactly(network.graph, layers, found));
}

TEST(Equalization, WhatWasQuantizedOnEqualizedWeightsMayBeScaledBack) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Network network = separable(seed);
    const Equalization found = find_equalization(network.graph, network.layers);
    const auto quantized = quantize_layers(equalized(network.graph, network.layers, found), {.bits = 4});
    ASSERT_TRUE(scales_exactly(network.graph, quantized, inverse(found)));
    const auto back = equalized(network.graph, quantized, inverse(found));
    EXPECT_FALSE(equal(back, quantized));
    Draw draw(seed);
    const auto inputs = draw.normals(2 * 3 * 8 * 8);
    EXPECT_EQ(forward(network.graph, back, inputs, 2), forward(network.graph, quantized, inputs, 2));
  }
}

TEST(Equalization, ScaleTakenBackInOneLayerIsTakenBackInItsNeighbours) {
  Network network = separable(11);
  const auto before = find_equalization(network.graph, network.layers);
  // A tap of channel i of the depthwise layer that no factor below one leaves exact.
  std::size_t i = 0;
  while (i < 6 && before.exponents[0][i] >= before.exponents[1][i]) ++i;
  ASSERT_LT(i, 6U);
  network.layers[1].weights[9 * i] = 0x1p-1074;

  const auto found = find_equalization(network.graph, network.layers);

  EXPECT_EQ(found.exponents[0][i], 0);
  EXPECT_EQ(found.exponents[1][i], 0);
  const auto layers = equalized(network.graph, network.layers, found);
  EXPECT_TRUE(equal(equalized(network.graph, layers, inverse(found)), network.layers));
}

class EqualizationOfFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(models_)) GTEST_SKIP() << "no " << models_;
  }
  std::filesystem::path models_ = std::filesystem::path(QUANTBOUND_SHARED_DATA) / "models";
};

double mean_log_step(std::span<const LayerParameters> layers) {
  double sum = 0.0;
  for (const LayerParameters& layer : layers)
    sum += std::log(choose_grids(layer.weights, std::ssize(layer.bias), {.bits = 8}).front().step);
  return sum / static_cast<double>(layers.size());
}

TEST_F(EqualizationOfFiles, MobileNetWithReluHalvesItsStepsAndKeepsItsBits) {
  const Network network = network::read_network(models_ / "tiny/mlperf_vww_mbv1_0.25_96_float.onnx");
  const Equalization found = find_equalization(network.graph, network.layers);
  const auto layers = equalized(network.graph, network.layers, found);

  EXPECT_EQ(found.links.size(), 27U);
  EXPECT_TRUE(found.settled);
  EXPECT_LT(mean_log_step(layers), mean_log_step(network.layers) + std::log(0.5));
  Draw draw(2);
  const auto inputs = draw.normals(tensor::elements(network.graph.input_shape()));
  EXPECT_EQ(forward(network.graph, layers, inputs, 1), forward(network.graph, network.layers, inputs, 1));
}

TEST_F(EqualizationOfFiles, MobileNetsWithRelu6HaveOnlyTheLinksWithoutClip) {
  const Network v1 = network::read_network(models_ / "imagenet/mbv1_0.25_224_float_folded.onnx");
  const Links links = find_links(v1.graph);
  EXPECT_THAT(links.links, IsEmpty());
  for (std::size_t i = 0; i + 1 < links.unlinked.size(); ++i) EXPECT_THAT(links.unlinked[i].reason, HasSubstr("Clip"));

  const Network v2 = network::read_network(models_ / "imagenet/mbv2_1.0_tv_float_folded.onnx");
  EXPECT_EQ(find_links(v2.graph).links.size(), 2U);  // linear bottlenecks that no shortcut reads
}

TEST_F(EqualizationOfFiles, ResidualNetworkIsEqualizedInsideItsBlocks) {
  const Network network = network::read_network(models_ / "cifar10/resnet20_cifar10_folded.onnx");
  const Links links = find_links(network.graph);
  EXPECT_EQ(links.links.size(), 9U);
  for (const Link& link : links.links) EXPECT_EQ(link.second, link.first + 1);
}

}  // namespace
}  // namespace quantbound::quantize
