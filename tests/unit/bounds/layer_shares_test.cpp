#include "quantbound/bounds/layer_shares.hpp"

#include <gtest/gtest.h>

namespace quantbound::bounds {
namespace {

using network::Graph;

/// Input, two dense layers with a ReLU between them.
Graph two_layers() {
  return {.nodes = {{"x", network::Input{}, {}, {2}},
                    {"a", network::Dense{0, 2, 2}, {0}, {2}},
                    {"r", network::Activation{}, {1}, {2}},
                    {"y", network::Dense{1, 2, 1}, {2}, {1}}},
          .output = 3};
}

// r_1 = 4, r_2 = 1 and D = 1: the terms are n_1 d_1 r_2 = 2 * 0.5 * 1 and n_2 d_2 r_1 = 2 * 0.25 * 4.
TEST(LayerShares, AreTheTermsOfTheLayerwiseBoundOverTheirSum) {
  const Graph graph = two_layers();
  const Domain domain = make_domain(graph, {{-1.0, -1.0}, {1.0, 1.0}});
  std::vector<LayerNorms> layers(2);
  std::vector<QuantizedLayerNorms> quantized(2);
  for (auto& layer : layers) layer.fan_in = layer.inputs = 2.0;
  layers[0].augmented = 4.0;
  layers[1].augmented = 1.0;
  quantized[0].delta_max = 0.5;
  quantized[1].delta_max = 0.25;

  const auto shares = layer_shares({graph, domain, layers, quantized});

  ASSERT_TRUE(shares.has_value());
  EXPECT_NEAR((*shares)[0], 1.0 / 3.0, 1e-12);
  EXPECT_NEAR((*shares)[1], 2.0 / 3.0, 1e-12);
}

TEST(LayerShares, AreAbsentWhereNothingChanged) {
  const Graph graph = two_layers();
  const Domain domain = make_domain(graph, {{-1.0, -1.0}, {1.0, 1.0}});
  const std::vector<LayerNorms> layers(2);
  const std::vector<QuantizedLayerNorms> quantized(2);

  EXPECT_FALSE(layer_shares({graph, domain, layers, quantized}).has_value());
}

}  // namespace
}  // namespace quantbound::bounds
