#include "quantbound/certify/pair.hpp"

#include <filesystem>

#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/network/readers.hpp"

#include "../../support/network_builder.hpp"

namespace quantbound::certify {
namespace {

using quantbound::testing::Draws;
using quantbound::testing::NetworkBuilder;

network::Network chain(const std::vector<Index>& widths, std::uint64_t seed) {
  Draws draws(seed, "chain");
  NetworkBuilder builder({widths.front()});
  NodeId node = 0;
  for (std::size_t l = 1; l < widths.size(); ++l) {
    std::vector<double> weights, bias;
    for (Index i = 0; i < widths[l] * widths[l - 1]; ++i) weights.push_back(draws.normal());
    for (Index i = 0; i < widths[l]; ++i) bias.push_back(draws.normal());
    node = builder.dense(l == 1 ? node : builder.relu(node), weights, bias);
  }
  return builder.finish(node);
}

void expect_functions(const Pair& pair, const network::Network& f, const network::Network& fq, std::uint64_t seed) {
  Draws draws(seed, "points");
  const Index inputs = tensor::elements(f.graph.input_shape());
  for (int k = 0; k < 50; ++k) {
    std::vector<double> x;
    for (Index i = 0; i < inputs; ++i) x.push_back(draws.uniform(-2.0, 2.0));
    EXPECT_EQ(network::forward(pair.graph, pair.f, x, 1), network::forward(f.graph, f.layers, x, 1));
    EXPECT_EQ(network::forward(pair.graph, pair.fq, x, 1), network::forward(fq.graph, fq.layers, x, 1));
  }
}

TEST(Pair, OfEqualGraphsKeepsTheWeightsAndTheirDifference) {
  const network::Network f = chain({3, 4, 2}, 1);
  network::Network fq = chain({3, 4, 2}, 2);
  for (network::Node& node : fq.graph.nodes) node.name += " of the other file";

  const Pair pair = make_pair(f, fq);

  expect_functions(pair, f, fq, 1);
  EXPECT_EQ(pair.change[1].weights[3], fq.layers[1].weights[3] - f.layers[1].weights[3]);
}

TEST(Pair, PadsDepthAndWidthWithoutChangingEitherFunction) {
  const std::vector<std::vector<Index>> shapes{{2, 5, 3}, {2, 5, 5, 5, 3}, {2, 3, 8, 3}, {2, 9, 1, 4, 6, 3}};
  for (std::size_t a = 0; a < shapes.size(); ++a) {
    for (std::size_t b = 0; b < shapes.size(); ++b) {
      const network::Network f = chain(shapes[a], a), fq = chain(shapes[b], 100 + b);
      expect_functions(make_pair(f, fq), f, fq, a);
    }
  }
}

TEST(Pair, PadsThePrunedNetworkOfTheLiterature) {
  const std::filesystem::path models = std::filesystem::path(QUANTBOUND_SHARED_DATA) / "models/merged";
  if (!std::filesystem::exists(models)) GTEST_SKIP() << models;
  const network::Network large = network::read_network(models / "large.onnx");
  const network::Network pruned = network::read_network(models / "pruned_quantized.onnx");
  const Pair pair = make_pair(large, pruned);
  for (double x = 0.0; x <= 1.0; x += 0.0625) {
    EXPECT_EQ(network::forward(pair.graph, pair.f, {{x}}, 1), network::forward(large.graph, large.layers, {{x}}, 1));
    EXPECT_EQ(network::forward(pair.graph, pair.fq, {{x}}, 1), network::forward(pruned.graph, pruned.layers, {{x}}, 1));
  }
}

std::string refusal(const network::Network& f, const network::Network& fq) {
  try {
    make_pair(f, fq);
  } catch (const core::InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Pair, RefusesWhatDoesNotFitAndNamesIt) {
  EXPECT_NE(refusal(chain({3, 4, 2}, 1), chain({2, 4, 2}, 1)).find("3 inputs, but 2"), std::string::npos);
  EXPECT_NE(refusal(chain({3, 4, 2}, 1), chain({3, 4, 4, 1}, 1)).find("2 outputs, but 1"), std::string::npos);
  EXPECT_NE(refusal(chain({3, 2}, 1), chain({3, 4, 2}, 1)).find("one layer"), std::string::npos);

  const auto with_tanh = [](network::ActivationKind kind) {
    NetworkBuilder builder({2});
    return builder.finish(builder.activation(builder.dense(0, {1, 2, 3, 4}, {0, 0}), kind));
  };
  const std::string message =
      refusal(with_tanh(network::ActivationKind::tanh), with_tanh(network::ActivationKind::relu));
  EXPECT_NE(message.find("node 2"), std::string::npos) << message;
  EXPECT_NE(message.find("ReLU chains"), std::string::npos) << message;
}

}  // namespace
}  // namespace quantbound::certify
