#include "../../../src/reconstruct/values.hpp"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "quantbound/core/random.hpp"
#include "quantbound/network/adjoint.hpp"
#include "quantbound/network/families.hpp"

#include "../../../src/reconstruct/evaluate.hpp"
#include "../network/random_graph.hpp"

namespace quantbound::reconstruct::detail {
namespace {

constexpr Index samples = 5;

std::vector<float> random_inputs(const Graph& graph) {
  std::vector<float> inputs(static_cast<std::size_t>(samples * tensor::elements(graph.input_shape())));
  const core::RandomStream stream(5, "values test");
  for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] = static_cast<float>(stream.normal(i));
  return inputs;
}

void expect_near(std::span<const float> values, std::span<const double> expected, const std::string& what) {
  ASSERT_EQ(values.size(), expected.size()) << what;
  double size = 0.0;
  for (const double value : expected) size = std::max(size, std::fabs(value));
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(values[i]), expected[i], 1e-4 * size + 1e-6) << what << " element " << i;
  }
}

std::vector<network::LayerParameters> rounded(const network::Network& network) {
  auto layers = network.layers;
  for (auto& layer : layers) {
    for (double& weight : layer.weights) weight = std::round(weight * 8.0) / 8.0;
  }
  return layers;
}

std::vector<network::LayerParameters> of_module(const std::vector<network::LayerParameters>& layers,
                                                const Module& module) {
  std::vector<network::LayerParameters> own;
  for (const Index layer : module.layers) own.push_back(layers[static_cast<std::size_t>(layer)]);
  return own;
}

/// Walks through the modules; every value must be that of the whole network, evaluated in double.
void expect_values_of_the_network(const network::Network& network, ModuleKind kind) {
  const auto modules = find_modules(network.graph, kind);
  const auto inputs = random_inputs(network.graph);
  const std::vector<double> exact(inputs.begin(), inputs.end());
  const auto quantized = rounded(network);
  const network::Tape f(network.graph, network.layers, exact, samples), q(network.graph, quantized, exact, samples);
  Values values(network.graph, modules, {inputs, samples});
  Index most = 0;
  for (std::size_t m = 0; m < modules.size(); ++m) {
    const Module& module = modules[m];
    const Graph graph = module_graph(network.graph, module);
    values.reach(static_cast<Index>(m));
    expect_near(values.original(module.input), f.value(module.input), module.name);
    expect_near(values.quantized(module.input), q.value(module.input), module.name);
    Pair output{evaluate(graph, of_module(network.layers, module), values.original(module.input), samples),
                evaluate(graph, of_module(quantized, module), values.quantized(module.input), samples)};
    expect_near(output.original, f.value(module.output), module.name);
    expect_near(output.quantized, q.value(module.output), module.name);
    most = std::max(most, values.held() + std::ssize(output.original) / samples);
    values.finish(static_cast<Index>(m), std::move(output));
  }
  EXPECT_EQ(values.held(), 0) << "all is given back at the end";
  EXPECT_LE(most, held_elements(network.graph, modules));
}

TEST(Values, AreThoseOfTheNetworkAtEveryModule) {
  for (const auto kind : {ModuleKind::layer, ModuleKind::block, ModuleKind::stage}) {
    for (const auto family : {network::Family::resnet, network::Family::mobilenet_v2}) {
      expect_values_of_the_network(network::make_network({.family = family, .depth = 8, .width = 4, .resolution = 8}),
                                   kind);
    }
  }
}

/// Sums, products and concatenations of values that several layers lie between.
TEST(Values, AreThoseOfTheNetworkOnRandomGraphs) {
  for (std::uint64_t seed = 0; seed < 15; ++seed) {
    const auto network = network::testing::random_network(seed);
    if (network.layers.empty()) continue;
    SCOPED_TRACE(seed);
    for (const auto kind : {ModuleKind::layer, ModuleKind::block}) expect_values_of_the_network(network, kind);
  }
}

/// A chain holds what a module reads and makes, nothing else.
TEST(Values, OfAChainAreTwoAtMost) {
  const auto network = network::make_network({.depth = 6, .width = 10, .inputs = 7, .outputs = 3});
  EXPECT_EQ(held_elements(network.graph, find_modules(network.graph, ModuleKind::layer)), 20);
}

TEST(Evaluate, ASampleDoesNotDependOnHowManyThereAre) {
  const auto network = network::make_network({.depth = 3, .width = 10, .inputs = 7, .outputs = 3});
  std::vector<float> inputs(7 * 70);
  for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] = std::sin(static_cast<float>(i));
  const auto all = evaluate(network.graph, network.layers, inputs, 70);
  const auto some = evaluate(network.graph, network.layers, std::span(inputs).first(7 * 33), 33);
  EXPECT_TRUE(std::ranges::equal(std::span(all).first(33 * 3), some));
}

TEST(MeanLoss, AveragesOverPixelsAndSumsOverChannels) {
  const std::vector<float> a{0, 0, 0, 0, 0, 0, 0, 0}, b{1, 2, 3, 4, 0, 0, 0, 1};
  EXPECT_DOUBLE_EQ(mean_loss({2, 2, 2}, a, b, {}, 1, ""), 31.0 / 4.0);
  EXPECT_DOUBLE_EQ(mean_loss({4}, a, b, {}, 2, ""), 31.0 / 2.0);
  const std::vector<float> weights{1, 2, 1, 0, 1, 1, 1, 3};
  EXPECT_DOUBLE_EQ(mean_loss({2, 2, 2}, a, b, weights, 1, ""), (1.0 + 8.0 + 9.0 + 3.0) / 4.0);
}

}  // namespace
}  // namespace quantbound::reconstruct::detail
