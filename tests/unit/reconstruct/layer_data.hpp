/// Layers with inputs for tests of the room reconstruct: inputs in f and behind quantized layers, correlated as
/// activations are, and the layer's outputs by the plain double operators.
#pragma once

#include <algorithm>
#include <random>
#include <span>
#include <vector>

#include "quantbound/network/network.hpp"
#include "quantbound/tensor/convolution.hpp"
#include "quantbound/tensor/matrix.hpp"

namespace quantbound::reconstruct::testing_data {

using network::Index;

struct LayerData {
  network::Operator op;
  network::LayerParameters original;
  std::vector<double> quantized_bias;
  Index samples = 0, elements = 0;
  std::vector<float> inputs, quantized_inputs;  ///< samples x elements
};

inline tensor::Convolution geometry_of(const network::Operator& op) {
  if (const auto* dense = std::get_if<network::Dense>(&op))
    return {.channels_in = dense->inputs, .channels_out = dense->outputs};
  return std::get<network::Convolution>(op).geometry;
}

/// Inputs are rectified sums of a few common causes.
inline LayerData random_layer(const network::Operator& op, Index samples, unsigned seed) {
  const tensor::Convolution g = geometry_of(op);
  LayerData data{.op = op, .samples = samples, .elements = g.channels_in * g.height * g.width};
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal;
  for (Index i = 0; i < g.weight_count(); ++i) data.original.weights.push_back(0.2 * normal(engine));
  for (Index i = 0; i < g.channels_out; ++i) data.original.bias.push_back(0.1 * normal(engine));
  data.quantized_bias = data.original.bias;
  constexpr Index causes = 6;
  std::vector<double> mixing(static_cast<std::size_t>(data.elements * causes));
  for (double& value : mixing) value = normal(engine);
  for (Index s = 0; s < samples; ++s) {
    std::vector<double> cause(causes);
    for (double& value : cause) value = normal(engine);
    for (Index i = 0; i < data.elements; ++i) {
      double sum = 0.3 * normal(engine);
      for (Index k = 0; k < causes; ++k)
        sum += mixing[static_cast<std::size_t>(i * causes + k)] * cause[static_cast<std::size_t>(k)];
      data.inputs.push_back(static_cast<float>(std::max(0.0, sum)));
      data.quantized_inputs.push_back(static_cast<float>(std::max(0.0, sum + 0.1 * normal(engine))));
    }
  }
  return data;
}

/// samples x outputs x places, by the plain loops.
inline std::vector<double> outputs(const LayerData& data, std::span<const double> weights, std::span<const double> bias,
                                   std::span<const float> inputs) {
  return tensor::convolve_reference(geometry_of(data.op), weights, bias,
                                    std::vector<double>(inputs.begin(), inputs.end()), data.samples);
}

/// mean over samples and places of ||W' x^ + b' - (W x + b)||^2.
inline double direct_loss(const LayerData& data, std::span<const double> quantized) {
  const std::vector<double> target = outputs(data, data.original.weights, data.original.bias, data.inputs);
  const std::vector<double> value = outputs(data, quantized, data.quantized_bias, data.quantized_inputs);
  double sum = 0.0;
  for (std::size_t i = 0; i < target.size(); ++i) sum += (value[i] - target[i]) * (value[i] - target[i]);
  return sum / static_cast<double>(std::ssize(target) / std::ssize(data.original.bias));
}

inline network::Operator dense(Index inputs, Index outputs) {
  return network::Dense{.inputs = inputs, .outputs = outputs};
}

/// A dense layer, and convolutions with strides, pads, dilations, groups, and depthwise.
inline std::vector<network::Operator> layers() {
  const auto convolution = [](tensor::Convolution g) { return network::Operator(network::Convolution{0, g}); };
  return {
      dense(37, 11),
      convolution({.channels_in = 3,
                   .height = 9,
                   .width = 8,
                   .channels_out = 70,
                   .window = {.kernel_height = 3,
                              .kernel_width = 3,
                              .stride_height = 2,
                              .stride_width = 2,
                              .pad_top = 1,
                              .pad_left = 1,
                              .pad_bottom = 1,
                              .pad_right = 1}}),
      convolution({.channels_in = 8,
                   .height = 5,
                   .width = 6,
                   .channels_out = 12,
                   .groups = 4,
                   .window = {.kernel_height = 2, .kernel_width = 3, .pad_left = 2, .dilation_width = 2}}),
      convolution(
          {.channels_in = 10,
           .height = 7,
           .width = 7,
           .channels_out = 10,
           .groups = 10,
           .window =
               {.kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}}),
      convolution({.channels_in = 80, .height = 3, .width = 3, .channels_out = 5})};
}

}  // namespace quantbound::reconstruct::testing_data
