#include "quantbound/observe/deviation.hpp"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/families.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/observe/samples.hpp"
#include "quantbound/quantize/quantize.hpp"

namespace quantbound::observe {
namespace {

using network::Family;

network::Network small(Family family) {
  return network::make_network({.family = family,
                                .depth = family == Family::resnet ? 8 : 4,
                                .width = 8,
                                .inputs = 12,
                                .outputs = 5,
                                .resolution = 8});
}

std::vector<double> points(const network::Network& network, Index count) {
  const auto inputs = static_cast<std::size_t>(tensor::elements(network.graph.input_shape()));
  return uniform_points({.low = std::vector<double>(inputs, -1.0), .high = std::vector<double>(inputs, 1.0)}, 5, 0, 0,
                        count);
}

const std::vector<Configuration> configurations{
    {.bits = 3}, {.quantizer = quantize::Quantizer::floor, .granularity = quantize::Granularity::channel, .bits = 5}};

double layer_max_of(const BlockObservation& b, std::size_t row) {
  const auto n = static_cast<std::size_t>(b.layers.samples);
  return *std::max_element(b.layers.deviation.begin() + static_cast<Index>(row * n), b.layers.deviation.begin() + static_cast<Index>((row + 1) * n));
}

class Deviation : public ::testing::TestWithParam<Family> {};

// One sample and one configuration at a time, through the reference forward pass.
TEST_P(Deviation, EqualsTheDifferenceOfTwoForwardPassesOfEachSample) {
  const auto network = small(GetParam());
  const Index count = 37;
  const auto inputs = points(network, count);
  const auto size = inputs.size() / static_cast<std::size_t>(count);

  const auto block = observe(network.graph, network.layers, configurations, inputs, {}, {.precision = Precision::float64, .layer_samples = 1000});
  const auto rough = observe(network.graph, network.layers, configurations, inputs, {}, {.precision = Precision::float32, .layer_samples = 1000});

  for (std::size_t c = 0; c < configurations.size(); ++c) {
    const auto quantized = quantize::quantize_layers(network.layers, configurations[c]);
    std::vector<double> layer_max(network.layers.size(), 0.0);
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      std::vector<std::vector<double>> expected_layers(network.layers.size());
      const std::span<const double> sample(inputs.data() + i * size, size);
      const auto f =
          network::forward(network.graph, network.layers, sample, 1, [&](Index l, std::span<const double> v) {
            expected_layers[static_cast<std::size_t>(l)].assign(v.begin(), v.end());
          });
      const auto f_q = network::forward(network.graph, quantized, sample, 1, [&](Index l, std::span<const double> v) {
        const auto& expected = expected_layers[static_cast<std::size_t>(l)];
        for (std::size_t k = 0; k < v.size(); ++k) {
          layer_max[static_cast<std::size_t>(l)] =
              std::max(layer_max[static_cast<std::size_t>(l)], std::abs(v[k] - expected[k]));
        }
      });
      double deviation = 0.0, largest = 0.0;
      for (std::size_t k = 0; k < f.size(); ++k) {
        deviation = std::max(deviation, std::abs(f[k] - f_q[k]));
        largest = std::max(largest, std::abs(f[k]));
      }
      const auto at = c * static_cast<std::size_t>(count) + i;
      EXPECT_NEAR(block.deviation[at], deviation, 1e-12 * (1.0 + largest));
      EXPECT_NEAR(rough.deviation[at], deviation, 1e-5 * (1.0 + largest));
    }
    for (std::size_t l = 0; l < network.layers.size(); ++l) {
      EXPECT_NEAR(layer_max_of(block, c * network.layers.size() + l), layer_max[l], 1e-12 * (1.0 + layer_max[l]));
      EXPECT_NEAR(layer_max_of(rough, c * network.layers.size() + l), layer_max[l], 1e-4 * (1.0 + layer_max[l]));
    }
  }
}

TEST_P(Deviation, HasTheSameBitsForAnyNumberOfThreads) {
  const auto network = small(GetParam());
  const auto inputs = points(network, 600);
  const int before = omp_get_max_threads();

  omp_set_num_threads(1);
  const auto one = observe(network.graph, network.layers, configurations, inputs, {}, {.precision = Precision::float32, .layer_samples = 1000});
  omp_set_num_threads(3);
  const auto three = observe(network.graph, network.layers, configurations, inputs, {}, {.precision = Precision::float32, .layer_samples = 1000});
  omp_set_num_threads(before);

  EXPECT_EQ(one.deviation, three.deviation);
  EXPECT_EQ(one.layers.deviation, three.layers.deviation);
  EXPECT_EQ(one.counts, three.counts);
}

TEST_P(Deviation, CountsLabelsAndAgreement) {
  const auto network = small(GetParam());
  const auto inputs = points(network, 50);
  const auto f = network::forward(network.graph, network.layers, inputs, 50);
  std::vector<Index> labels;
  for (auto row = f.begin(); row != f.end(); row += 5) labels.push_back(std::max_element(row, row + 5) - row);
  for (std::size_t i = 0; i < 10; ++i) labels[i] = (labels[i] + 1) % 5;

  const auto block = observe(network.graph, network.layers, configurations, inputs, labels, {.precision = Precision::float64, .layer_samples = 1000});

  EXPECT_EQ(block.correct_reference, 40);
  EXPECT_GT(block.counts[1].agree, 25);
  EXPECT_LE(block.counts[1].correct, block.counts[1].agree + 10);
}

INSTANTIATE_TEST_SUITE_P(Families, Deviation, ::testing::Values(Family::mlp, Family::cnn, Family::resnet));

TEST(Observe, AConfigurationThatChangesNothingDeviatesByNothing) {
  auto network = small(Family::mlp);
  for (auto& layer : network.layers) {
    for (double& w : layer.weights) w = std::nearbyint(w * 16.0) / 16.0;
  }
  const Configuration exact{.bits = 16, .step_rule = quantize::StepRule::fixed, .fixed_step = 0x1p-8};

  const auto block =
      observe(network.graph, network.layers, std::vector{exact}, points(network, 300), {}, {.precision = Precision::float32, .layer_samples = 1000});

  EXPECT_EQ(std::ranges::max(block.deviation), 0.0);
  EXPECT_EQ(std::ranges::max(block.layers.deviation), 0.0);
  EXPECT_EQ(block.counts[0].agree, 300);
}

TEST(Observe, OverflowIsAFailureAndNeverANumber) {
  auto network = small(Family::mlp);
  for (double& w : network.layers[0].weights) w *= 1e25;
  for (double& w : network.layers[1].weights) w *= 1e25;
  const auto inputs = points(network, 8);

  EXPECT_THROW(observe(network.graph, network.layers, configurations, inputs, {}, {.precision = Precision::float32, .layer_samples = 1000}),
               core::NumericalError);
  EXPECT_TRUE(std::isfinite(
      observe(network.graph, network.layers, configurations, inputs, {}, {.precision = Precision::float64, .layer_samples = 1000}).deviation[0]));
}

TEST(Observe, NoSamplesGiveNothing) {
  const auto network = small(Family::mlp);
  const auto block = observe(network.graph, network.layers, configurations, {}, {}, {.precision = Precision::float32, .layer_samples = 1000});
  EXPECT_EQ(block.samples, 0);
  EXPECT_TRUE(block.deviation.empty());
}

}  // namespace
}  // namespace quantbound::observe
