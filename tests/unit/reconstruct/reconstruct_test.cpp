#include "quantbound/reconstruct/reconstruct.hpp"

#include <gtest/gtest.h>

#include "quantbound/core/random.hpp"
#include "quantbound/network/families.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/quantize/quantize.hpp"

namespace quantbound::reconstruct {
namespace {

Network small_resnet() {
  return network::make_network({.family = network::Family::resnet, .depth = 8, .width = 4, .resolution = 8});
}

std::vector<float> random_inputs(const Network& network, Index count) {
  std::vector<float> inputs(static_cast<std::size_t>(count * tensor::elements(network.graph.input_shape())));
  const core::RandomStream stream(5, "reconstruct test");
  for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] = static_cast<float>(stream.normal(i));
  return inputs;
}

const quantize::Configuration three_bits{
    .granularity = quantize::Granularity::channel, .bits = 3, .step_rule = quantize::StepRule::mse, .edge_bits = 8};

TEST(Reconstruct, RoundIsRoundingOfEveryLayer) {
  const Network network = small_resnet();
  const auto inputs = random_inputs(network, 40);
  const auto result = reconstruct(network, three_bits, Method::round, {inputs, 40}, {}, {});
  const auto expected = quantize::quantize_layers(network.layers, three_bits);
  ASSERT_EQ(result.quantized.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(result.quantized[i].weights, expected[i].weights);
  std::size_t layers = 0;
  for (const ModuleReport& report : result.modules) layers += report.module.layers.size();
  EXPECT_EQ(layers, expected.size());
}

/// The loss of the last module is the mean squared error of the network, whatever lay between the modules.
TEST(Reconstruct, LastLossIsTheNetworksError) {
  const Network network = small_resnet();
  const Index count = 40;
  const auto inputs = random_inputs(network, count);
  const auto result = reconstruct(network, three_bits, Method::round, {inputs, count}, {}, {});
  const std::vector<double> samples(inputs.begin(), inputs.end());
  const auto f = network::forward(network.graph, network.layers, samples, count);
  const auto q = network::forward(network.graph, result.quantized, samples, count);
  double total = 0.0;
  for (std::size_t i = 0; i < f.size(); ++i) total += (f[i] - q[i]) * (f[i] - q[i]);
  EXPECT_NEAR(result.modules.back().loss, total / 40.0, 1e-4 * total / 40.0);
}

Options quick(Index iterations) { return {.iterations = iterations, .batch = 16, .learning_rate = 1e-2}; }

TEST(Reconstruct, LossesFallFromRoundToBrecq) {
  const Network network = small_resnet();
  const Index count = 64;
  const auto inputs = random_inputs(network, count);
  std::vector<double> losses;
  for (const Method method : {Method::round, Method::adaround, Method::brecq, Method::qdrop}) {
    const auto result = reconstruct(network, three_bits, method, {inputs, count}, quick(300), {});
    losses.push_back(result.modules.back().loss);
    for (const auto& report : result.modules)
      printf("%s %s %g %g %g\n", std::string(to_string(method)).c_str(), report.module.name.c_str(), report.loss_round,
             report.loss, report.settled);
  }
}

}  // namespace
}  // namespace quantbound::reconstruct
