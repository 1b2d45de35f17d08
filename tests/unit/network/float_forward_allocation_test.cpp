// What the float engine allocates while it runs.
#include <algorithm>
#include <array>
#include <vector>

#include <gtest/gtest.h>

#include "quantbound/network/float_forward.hpp"
#include "quantbound/network/float_gradient.hpp"

#include "../count_allocations.hpp"
#include "random_graph.hpp"

namespace quantbound::network {
namespace {

using quantbound::testing::counting;
using quantbound::testing::knows_onednn;
using quantbound::testing::largest;
using quantbound::testing::of_libraries;
using quantbound::testing::ours;

/// What run() and use() allocate once the engine has run.
void count_a_run(const Network& network, Index batch, std::span<const NodeId> captured) {
  FloatForward engine(network.graph, batch, captured);
  const std::array weights{engine.make_weights(network.layers), engine.make_weights(network.layers)};
  const std::vector<float> samples(static_cast<std::size_t>(batch * tensor::elements(network.graph.input_shape())),
                                   0.5F);
  engine.use(weights[0]);
  engine.run(samples);

  ours = of_libraries = largest = 0;
  counting = true;
  engine.use(weights[1]);
  engine.run(samples);
  counting = false;
}

TEST(FloatForwardAllocation, TheCounterSeesWhatWeAllocate) {
  ours = 0;
  counting = true;
  void* memory = ::operator new(100);  // a call: a new expression might be optimized away
  counting = false;
  ::operator delete(memory);
  EXPECT_EQ(ours, 1);
}

TEST(FloatForwardAllocation, NothingOfOursAfterTheFirstRun) {
  if (!knows_onednn()) GTEST_SKIP() << "oneDNN is linked statically: its allocations cannot be told from ours";
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    const Network network = testing::random_network(seed);
    const auto last = static_cast<NodeId>(seed % network.graph.nodes.size());
    const std::vector<NodeId> captured{std::max<NodeId>(last, 1)};
    count_a_run(network, static_cast<Index>(1 + seed % 8), captured);

    EXPECT_EQ(ours, 0);
    EXPECT_LE(largest, 1024) << "oneDNN's tables of arguments are small; a buffer would be larger";
  }
}

/// What fit() allocates, with weights from floats, once all has been used.
void count_a_fit(const Network& network, Index batch) {
  FloatGradient engine(network.graph, batch, Derivatives::weights);
  const auto weights = engine.make_weights();
  engine.use(weights);
  const std::vector<float> x(static_cast<std::size_t>(tensor::elements(network.graph.input_shape())), 0.5F),
      t(static_cast<std::size_t>(tensor::elements(network.graph.output_shape())), 0.25F);
  const std::vector<const float*> inputs(static_cast<std::size_t>(batch), x.data()),
      targets(static_cast<std::size_t>(batch), t.data());
  std::vector<std::vector<float>> values, biases;
  for (const LayerParameters& layer : network.layers) {
    values.emplace_back(layer.weights.size(), 0.1F);
    biases.emplace_back(layer.bias.size(), 0.2F);
  }
  const auto step = [&] {
    for (std::size_t layer = 0; layer < values.size(); ++layer)
      weights->set(static_cast<Index>(layer), values[layer], biases[layer]);
    engine.fit({inputs, targets, targets}, 1.0);
  };
  step();
  ours = of_libraries = largest = 0;
  counting = true;
  step();
  counting = false;
}

TEST(FloatGradientAllocation, NothingOfOursAfterTheFirstFit) {
  if (!knows_onednn()) GTEST_SKIP() << "oneDNN is linked statically: its allocations cannot be told from ours";
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    count_a_fit(testing::random_network(seed), static_cast<Index>(1 + seed % 8));
    EXPECT_EQ(ours, 0);
    EXPECT_LE(largest, 1024) << "oneDNN's tables of arguments are small; a buffer would be larger";
  }
}

}  // namespace
}  // namespace quantbound::network
