#include "../../../src/observe/layer_terms.hpp"

#include <cmath>
#include <numeric>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/network/adjoint.hpp"
#include "quantbound/network/families.hpp"
#include "quantbound/observe/samples.hpp"
#include "quantbound/quantize/quantize.hpp"

#include "../network/random_graph.hpp"

namespace quantbound::observe::detail {
namespace {

using network::Family;
using network::Network;

std::vector<double> points(const Network& network, Index count) {
  const auto inputs = static_cast<std::size_t>(tensor::elements(network.graph.input_shape()));
  return uniform_points({.low = std::vector<double>(inputs, -1.0), .high = std::vector<double>(inputs, 1.0)}, 7, 0, 0,
                        count);
}

TEST(Twins, LeaveTheNetworkAsItIs) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Network network = network::testing::random_network(seed);
    const auto inputs = points(network, 2);
    const network::Tape plain(network.graph, network.layers, inputs, 2);
    const std::size_t layers = network.layers.size();
    network.graph = with_twins(network.graph);
    for (std::size_t l = 0; l < layers; ++l) network.layers.push_back(network.layers[l]);
    network::validate(network.graph, "twins");
    const network::Tape twins(network.graph, network.layers, inputs, 2);
    EXPECT_TRUE(std::ranges::equal(twins.output(), plain.output()));
    const auto nodes = network.graph.weight_layers();
    for (std::size_t l = 0; l < layers; ++l) {
      EXPECT_TRUE(std::ranges::equal(twins.value(nodes[l]), twins.value(nodes[layers + l]))) << "same weights";
    }
  }
}

// Eq. (1) of arXiv 2610.09877: the two terms of a layer add up to the difference of its outputs.
TEST(LayerTerms, TheTriangleOfTheirNormsHolds) {
  const std::vector<Configuration> configurations{{.bits = 3}, {.bits = 6}};
  const Index samples = 6;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Network network = network::testing::random_network(seed);
    const Variants variants(network.layers, configurations);
    const auto inputs = points(network, samples);
    const auto size = inputs.size() / static_cast<std::size_t>(samples);
    const auto terms = layer_terms(network.graph, variants, inputs, Arithmetic::float64);
    const auto nodes = network.graph.weight_layers();
    std::size_t place = 0;
    for (std::size_t c = 0; c < configurations.size(); ++c) {
      const auto quantized = quantize::quantize_layers(network.layers, configurations[c]);
      for (const network::NodeId node : nodes) {
        for (std::size_t i = 0; i < static_cast<std::size_t>(samples); ++i, ++place) {
          const auto x = std::span(inputs).subspan(i * size, size);
          const network::Tape f(network.graph, network.layers, x, 1), f_q(network.graph, quantized, x, 1);
          double squares = 0.0;
          for (std::size_t k = 0; k < f.value(node).size(); ++k)
            squares += std::pow(f.value(node)[k] - f_q.value(node)[k], 2);
          const double change = std::sqrt(squares), carried = terms.carried[place], local = terms.local[place];
          EXPECT_LE(change, (carried + local) * (1.0 + 1e-12) + 1e-12);
          EXPECT_GE(change, std::abs(carried - local) * (1.0 - 1e-12) - 1e-12);
        }
      }
    }
    EXPECT_EQ(place, terms.carried.size());
  }
}

TEST(LayerTerms, AreTheSameWhateverIsTakenAtOnce) {
  const Network network = network::make_network({.family = Family::resnet, .depth = 8, .width = 16, .resolution = 32});
  const std::vector<Configuration> configurations{{.bits = 4}};
  const Variants variants(network.layers, configurations);
  const auto inputs = points(network, 12);
  const auto size = inputs.size() / 12;
  for (const Arithmetic arithmetic : {Arithmetic::float32, Arithmetic::float64}) {
    const double tolerance = arithmetic == Arithmetic::float32 ? 1e-4 : 0.0;
    const auto all = layer_terms(network.graph, variants, inputs, arithmetic);
    for (std::size_t i = 0; i < 12; ++i) {
      const auto one = layer_terms(network.graph, variants, std::span(inputs).subspan(i * size, size), arithmetic);
      for (std::size_t l = 0; l < network.layers.size(); ++l) {
        const std::size_t place = l * 12 + i;
        EXPECT_NEAR(one.local[l], all.local[place], tolerance * one.local[l]);
        EXPECT_NEAR(one.carried[l], all.carried[place], tolerance * (one.carried[l] + one.input[l]));
      }
    }
  }
}

TEST(LayerTerms, BatchesComeOutEven) {
  const Network network = network::make_network({.family = Family::mlp});
  for (const Index samples : {1, 2, 7, 12, 100, 997}) EXPECT_EQ(samples % layer_batch(network.graph, samples), 0);
  EXPECT_EQ(layer_batch(network.graph, 12), 12);
  const auto large = network::make_graph({.family = Family::mobilenet_v2, .depth = 53, .width = 32, .resolution = 224});
  EXPECT_EQ(layer_batch(large, 12), 1) << "what is kept of all layers is 80 MB for one sample";
}

}  // namespace
}  // namespace quantbound::observe::detail
