#include "quantbound/reconstruct/gram.hpp"

#include <cmath>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>
#include <omp.h>

#include "layer_data.hpp"

namespace quantbound::reconstruct {
namespace {

using testing_data::LayerData;

Gram gram_of(const LayerData& data, Index samples_at_once) {
  GramAccumulator accumulator(data.op, data.original, data.quantized_bias);
  for (Index first = 0; first < data.samples; first += samples_at_once) {
    const Index count = std::min(samples_at_once, data.samples - first);
    const auto part = [&](const std::vector<float>& values) {
      return std::span<const float>(values).subspan(static_cast<std::size_t>(first * data.elements),
                                                    static_cast<std::size_t>(count * data.elements));
    };
    accumulator.add(part(data.inputs), part(data.quantized_inputs));
  }
  return accumulator.finish();
}

/// What weight `column` of `group` is multiplied with at a place.
double input_at(const LayerData& data, const std::vector<float>& inputs, Index group, Index column, Index sample,
                Index out_y, Index out_x) {
  const tensor::Convolution g = testing_data::geometry_of(data.op);
  const tensor::Window& w = g.window;
  const Index kx = column % w.kernel_width, ky = column / w.kernel_width % w.kernel_height;
  const Index channel = group * (g.channels_in / g.groups) + column / (w.kernel_width * w.kernel_height);
  const Index y = out_y * w.stride_height - w.pad_top + ky * w.dilation_height;
  const Index x = out_x * w.stride_width - w.pad_left + kx * w.dilation_width;
  if (y < 0 || y >= g.height || x < 0 || x >= g.width) return 0.0;
  return static_cast<double>(
      inputs[static_cast<std::size_t>(((sample * g.channels_in + channel) * g.height + y) * g.width + x)]);
}

/// The definition, place by place.
Gram plain_gram(const LayerData& data) {
  const tensor::Convolution g = testing_data::geometry_of(data.op);
  const Index columns = g.fan_in(), rows = g.channels_out / g.groups;
  Gram gram{.groups = g.groups, .rows = g.channels_out, .columns = columns};
  gram.count = data.samples * g.out_height() * g.out_width();
  gram.moments.resize(static_cast<std::size_t>(g.groups * columns * columns));
  gram.residual.resize(data.original.weights.size());
  gram.energy.resize(data.original.bias.size());
  const double share = 1.0 / static_cast<double>(gram.count);
  for (Index group = 0; group < g.groups; ++group)
    for (Index s = 0; s < data.samples; ++s)
      for (Index y = 0; y < g.out_height(); ++y)
        for (Index x = 0; x < g.out_width(); ++x) {
          std::vector<double> original, quantized;
          for (Index c = 0; c < columns; ++c) {
            original.push_back(input_at(data, data.inputs, group, c, s, y, x));
            quantized.push_back(input_at(data, data.quantized_inputs, group, c, s, y, x));
          }
          for (Index i = 0; i < columns; ++i)
            for (Index j = 0; j < columns; ++j)
              gram.moments[static_cast<std::size_t>((group * columns + i) * columns + j)] +=
                  share * quantized[static_cast<std::size_t>(i)] * quantized[static_cast<std::size_t>(j)];
          for (Index row = group * rows; row < (group + 1) * rows; ++row) {
            const double* w = data.original.weights.data() + row * columns;
            const auto r = static_cast<std::size_t>(row);
            const double residual = std::inner_product(quantized.begin(), quantized.end(), w, data.quantized_bias[r]) -
                                    std::inner_product(original.begin(), original.end(), w, data.original.bias[r]);
            gram.energy[r] += share * residual * residual;
            for (Index i = 0; i < columns; ++i)
              gram.residual[static_cast<std::size_t>(row * columns + i)] +=
                  share * residual * quantized[static_cast<std::size_t>(i)];
          }
        }
  return gram;
}

void expect_close(const std::vector<double>& values, const std::vector<double>& expected) {
  ASSERT_EQ(values.size(), expected.size());
  double largest = 0.0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], 1e-12 * largest) << i;
}

TEST(Gram, IsTheMeanOverSamplesAndPlaces) {
  unsigned seed = 20;
  for (const network::Operator& op : testing_data::layers()) {
    LayerData data = testing_data::random_layer(op, 17, ++seed);
    for (std::size_t i = 0; i < data.quantized_bias.size(); ++i)
      data.quantized_bias[i] += 0.01 * static_cast<double>(i % 3);
    const Gram gram = gram_of(data, 5), expected = plain_gram(data);
    EXPECT_EQ(gram.count, expected.count);
    const std::size_t numbers = gram.moments.size() + gram.residual.size() + gram.energy.size();
    EXPECT_EQ(GramAccumulator::bytes(op), static_cast<Index>(8 * numbers));
    expect_close(gram.moments, expected.moments);
    expect_close(gram.residual, expected.residual);
    expect_close(gram.energy, expected.energy);
  }
}

TEST(Gram, LossesAreThoseOfTheLayerOnItsSamples) {
  unsigned seed = 40;
  for (const network::Operator& op : testing_data::layers()) {
    LayerData data = testing_data::random_layer(op, 9, ++seed);
    data.quantized_bias[0] += 0.05;
    const Gram gram = gram_of(data, 9);
    std::vector<double> quantized = data.original.weights;
    for (std::size_t i = 0; i < quantized.size(); ++i) quantized[i] = std::round(quantized[i] * 16.0) / 16.0;
    for (const std::vector<double>& weights : {quantized, data.original.weights}) {
      const std::vector<double> losses = row_losses(gram, data.original.weights, weights);
      const double expected = testing_data::direct_loss(data, weights);
      EXPECT_NEAR(std::accumulate(losses.begin(), losses.end(), 0.0), expected, 1e-11 * expected);
    }
  }
}

TEST(Gram, WithoutAQuantizedPrefixTheResidualIsZero) {
  LayerData data = testing_data::random_layer(testing_data::layers()[1], 6, 60);
  data.quantized_inputs = data.inputs;
  const Gram gram = gram_of(data, 6);
  for (const double value : gram.residual) EXPECT_EQ(value, 0.0);
  const std::vector<double> losses = row_losses(gram, data.original.weights, data.original.weights);
  for (const double loss : losses) EXPECT_EQ(loss, 0.0);
  data.quantized_bias[2] += 0.5;
  expect_close(gram_of(data, 6).residual, plain_gram(data).residual);
}

TEST(Gram, BitsDoNotDependOnThreads) {
  const int threads = omp_get_max_threads();
  for (const network::Operator& op : testing_data::layers()) {
    const LayerData data = testing_data::random_layer(op, 40, 80);
    omp_set_num_threads(1);
    const Gram one = gram_of(data, 40);
    omp_set_num_threads(3);
    const Gram three = gram_of(data, 40);
    EXPECT_EQ(one.moments, three.moments);
    EXPECT_EQ(one.residual, three.residual);
    EXPECT_EQ(one.energy, three.energy);
  }
  omp_set_num_threads(threads);
}

}  // namespace
}  // namespace quantbound::reconstruct
