#include "quantbound/quantize/bias_correction.hpp"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/network/forward.hpp"
#include "quantbound/quantize/quantize.hpp"

#include "../network/random_graph.hpp"

namespace quantbound::quantize {
namespace {

using network::Activation;
using network::ActivationKind;
using network::Network;
using network::NodeId;
using network::testing::Builder;
using network::testing::Draw;
using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Activation relu{ActivationKind::relu, 0.0, 0.0};
constexpr Index samples = 7;

/// Mean over samples of every element.
std::vector<double> element_means(std::span<const double> values, Index count) {
  std::vector<double> means(values.size() / static_cast<std::size_t>(count), 0.0);
  for (std::size_t i = 0; i < values.size(); ++i) means[i % means.size()] += values[i] / static_cast<double>(count);
  return means;
}

/// Mean over samples and positions of every row of a layer.
std::vector<double> row_means(std::span<const double> values, Index count, std::size_t rows) {
  const std::vector<double> elements = element_means(values, count);
  const std::size_t positions = elements.size() / rows;
  std::vector<double> means(rows, 0.0);
  for (std::size_t i = 0; i < elements.size(); ++i)
    means[i / positions] += elements[i] / static_cast<double>(positions);
  return means;
}

/// One layer alone, with three bits.
struct Layer {
  Network network;
  LayerParameters quantized;

  const network::Operator& op() const { return network.graph.nodes.back().op; }
  std::vector<double> mean_output(const LayerParameters& parameters, std::span<const double> inputs) const {
    return row_means(forward(network.graph, std::span(&parameters, 1), inputs, samples), samples,
                     parameters.bias.size());
  }
};

Layer made(Network network) {
  LayerParameters quantized = quantize_layer(network.layers[0], 0, {.quantizer = Quantizer::floor, .bits = 3});
  return {std::move(network), std::move(quantized)};
}

Layer dense_layer(Draw& draw) {
  Builder b({40}, draw);
  b.dense(0, 12);
  return made(b.build());
}

Layer convolution_layer(Draw& draw, Index channels_out, Index groups, tensor::Window window) {
  Builder b({4, 9, 8}, draw);
  b.convolution(0, channels_out, groups, window);
  return made(b.build());
}

std::vector<Layer> layers(Draw& draw) {
  return {dense_layer(draw), convolution_layer(draw, 6, 1, {3, 3, 1, 1, 1, 1, 1, 1, 1, 1}),
          convolution_layer(draw, 6, 2, {3, 2, 2, 1, 0, 1, 2, 0, 1, 1}),
          convolution_layer(draw, 4, 4, {3, 3, 2, 2, 2, 2, 2, 2, 2, 2}),
          convolution_layer(draw, 3, 1, {5, 1, 3, 3, 4, 0, 3, 0, 1, 1})};
}

/// Positive for the most part, as values behind a Relu are, and different from place to place.
std::vector<double> calibration_inputs(const Layer& layer, Draw& draw) {
  std::vector<double> inputs = draw.normals(samples * tensor::elements(layer.network.graph.input_shape()));
  for (std::size_t i = 0; i < inputs.size(); ++i)
    inputs[i] = std::max(0.0, inputs[i] + 0.5 + std::sin(0.3 * static_cast<double>(i)));
  return inputs;
}

TEST(BiasCorrection, DenseByHand) {
  const network::Dense op{0, 2, 1};
  const std::vector<double> means{3.0, 5.0}, quantized_means{3.0, 6.0};
  const LayerParameters original{{1.0, 2.0}, {10.0}}, quantized{{1.5, 1.0}, {99.0}};
  // W m = 13, W' m = 9.5, W' m' = 10.5.
  EXPECT_THAT(corrected_bias(op, original, quantized, {means, means}), ElementsAre(DoubleEq(13.5)));
  EXPECT_THAT(corrected_bias(op, original, quantized, {means, quantized_means}), ElementsAre(DoubleEq(12.5)));
}

TEST(BiasCorrection, MeanErrorOverTheCalibrationDataIsZero) {
  Draw draw(3);
  for (const Layer& layer : layers(draw)) {
    const std::vector<double> inputs = calibration_inputs(layer, draw);
    const std::vector<double> means = column_means(layer.op(), element_means(inputs, samples));
    LayerParameters corrected = layer.quantized;
    corrected.bias = corrected_bias(layer.op(), layer.network.layers[0], layer.quantized, {means, means});

    const auto wanted = layer.mean_output(layer.network.layers[0], inputs);
    const auto before = layer.mean_output(layer.quantized, inputs), after = layer.mean_output(corrected, inputs);

    for (std::size_t row = 0; row < wanted.size(); ++row) {
      EXPECT_GT(std::abs(before[row] - wanted[row]), 1e-3);
      EXPECT_NEAR(after[row], wanted[row], 1e-13 * static_cast<double>(means.size()));
    }
  }
}

TEST(BiasCorrection, MeanErrorIsZeroBehindAQuantizedPrefixToo) {
  Draw draw(4);
  for (const Layer& layer : layers(draw)) {
    const std::vector<double> inputs = calibration_inputs(layer, draw);
    std::vector<double> quantized_inputs = inputs;  // what a quantized prefix would make of the same samples
    for (double& x : quantized_inputs) x = std::floor(4.0 * x) / 4.0;
    const std::vector<double> means = column_means(layer.op(), element_means(inputs, samples)),
                              quantized_means = column_means(layer.op(), element_means(quantized_inputs, samples));
    LayerParameters corrected = layer.quantized;
    corrected.bias = corrected_bias(layer.op(), layer.network.layers[0], layer.quantized, {means, quantized_means});

    const auto wanted = layer.mean_output(layer.network.layers[0], inputs);
    const auto after = layer.mean_output(corrected, quantized_inputs);

    for (std::size_t row = 0; row < wanted.size(); ++row)
      EXPECT_NEAR(after[row], wanted[row], 1e-13 * static_cast<double>(means.size()));
  }
}

TEST(BiasCorrection, PaddingIsZeroInTheMeansOfTheTapsThatReachIt) {
  // A 2 x 2 image of ones, 3 x 3 window with one pad all round: the middle tap sees ones at all four places, a corner
  // tap at one of them, an edge tap at two.
  network::Convolution op;
  op.geometry = {1, 2, 2, 1, 1, {3, 3, 1, 1, 1, 1, 1, 1, 1, 1}};
  EXPECT_THAT(column_means(op, std::vector<double>(4, 1.0)),
              ElementsAre(0.25, 0.5, 0.25, 0.5, 1.0, 0.5, 0.25, 0.5, 0.25));
}

TEST(BiasAbsorption, TakesWhatIsThreeDeviationsBelowTheMean) {
  const std::vector<ChannelStatistics> channels{{10.0, 2.0}, {1.0, 1.0}, {-5.0, 0.0}};
  EXPECT_THAT(absorbable(channels), ElementsAre(4.0, 0.0, 0.0));
  EXPECT_THAT(absorbable(channels, 1.0), ElementsAre(8.0, 0.0, 0.0));
}

/// dense(6) with large biases - relu - dense, or the same with convolutions and pooling between.
struct Absorbing {
  Network network;
  Link link;
  std::vector<double> c;  ///< of every row, at most the smallest pre-activation of the samples
  std::vector<double> inputs;
};

Absorbing with_inputs(Network network, Draw& draw) {
  const auto inputs = draw.normals(samples * tensor::elements(network.graph.input_shape()));
  const std::size_t rows = network.layers[0].bias.size();
  for (std::size_t row = 0; row < rows; row += 2) network.layers[0].bias[row] += 20.0;
  network::Graph first = network.graph;
  first.output = 1;
  first.nodes.resize(2);
  const auto z = forward(first, std::span(network.layers).first(1), inputs, samples);
  const std::size_t positions = z.size() / (rows * samples);
  std::vector<double> lowest(rows, 1e300);
  for (std::size_t i = 0; i < z.size(); ++i) {
    double& low = lowest[i / positions % rows];
    low = std::max(0.0, std::min(low, z[i]));
  }
  Link link = find_links(network.graph).links.front();
  return {std::move(network), std::move(link), lowest, inputs};
}

Absorbing dense_pair(Draw& draw) {
  Builder b({9}, draw);
  b.dense(b.add(relu, {b.dense(0, 6)}), 4);
  return with_inputs(b.build(), draw);
}

Absorbing convolution_pair(Draw& draw) {
  Builder b({2, 8, 8}, draw);
  NodeId v = b.add(relu, {b.convolution(0, 6, 1, {3, 3, 1, 1, 1, 1, 1, 1, 1, 1})});
  v = b.add(network::AveragePool{{3, 3, 2, 2, 1, 1, 1, 1, 1, 1}, false}, {v});
  b.convolution(v, 4, 2, {2, 2, 1, 1, 0, 0, 0, 0, 1, 1});
  return with_inputs(b.build(), draw);
}

TEST(BiasAbsorption, ChangesNothingWhereEveryPreActivationIsAboveWhatIsAbsorbed) {
  Draw draw(6);
  for (const Absorbing& pair : {dense_pair(draw), convolution_pair(draw)}) {
    EXPECT_GT(*std::ranges::max_element(pair.c), 5.0);
    auto layers = pair.network.layers;
    const auto absorbed =
        absorbed_biases(pair.network.graph, pair.link, layers[0].bias, layers[1].bias, layers[1], pair.c);
    layers[0].bias = absorbed.first;
    layers[1].bias = absorbed.second;
    const auto before = forward(pair.network.graph, pair.network.layers, pair.inputs, samples);
    const auto after = forward(pair.network.graph, layers, pair.inputs, samples);
    for (std::size_t i = 0; i < before.size(); ++i) EXPECT_NEAR(after[i], before[i], 1e-11);
    EXPECT_NE(layers[0].bias, pair.network.layers[0].bias);
  }
}

TEST(BiasAbsorption, WithQuantizedWeightsTheConstantPartOfTheErrorIsGone) {
  Draw draw(7);
  for (const Absorbing& pair : {dense_pair(draw), convolution_pair(draw)}) {
    const auto& original = pair.network.layers;
    auto quantized = original;
    quantized[1] = quantize_layer(original[1], 1, {.bits = 3});
    auto absorbed_layers = quantized;
    const auto absorbed =
        absorbed_biases(pair.network.graph, pair.link, original[0].bias, original[1].bias, original[1], pair.c);
    absorbed_layers[0].bias = absorbed.first;
    absorbed_layers[1].bias = absorbed.second;
    const auto wanted = forward(pair.network.graph, original, pair.inputs, samples);
    const auto error = [&](const std::vector<LayerParameters>& layers) {
      const auto y = forward(pair.network.graph, layers, pair.inputs, samples);
      double sum = 0.0;
      for (std::size_t i = 0; i < y.size(); ++i) sum += std::abs(y[i] - wanted[i]);
      return sum;
    };
    EXPECT_LT(error(absorbed_layers), 0.5 * error(quantized));
  }
}

TEST(BiasAbsorption, IsRefusedWhereZerosMeetTheConstant) {
  Draw draw(8);
  const auto reason = [&](const network::Operator& between, tensor::Window second) {
    Builder b({2, 8, 8}, draw);
    b.convolution(b.add(between, {b.convolution(0, 3, 1, {})}), 2, 1, second);
    const Network network = b.build();
    return not_absorbing(network.graph, find_links(network.graph).links.front());
  };
  const tensor::Window padded{3, 3, 1, 1, 1, 1, 1, 1, 1, 1}, bare{3, 3, 1, 1, 0, 0, 0, 0, 1, 1};
  EXPECT_EQ(reason(relu, bare), "");
  EXPECT_EQ(reason(network::MaxPool{padded}, bare), "");
  EXPECT_EQ(reason(network::AveragePool{padded, false}, bare), "");
  EXPECT_THAT(reason(network::AveragePool{padded, true}, bare), HasSubstr("AveragePool"));
  EXPECT_THAT(reason(relu, padded), HasSubstr("Conv"));
  EXPECT_THAT(reason(network::Pad{{0, 1, 1}, {0, 1, 1}, 0.0}, bare), HasSubstr("Pad"));
  EXPECT_THAT(reason(network::ScaleShift{{2.0}, {0.0}}, bare), HasSubstr("ScaleShift"));
}

}  // namespace
}  // namespace quantbound::quantize
