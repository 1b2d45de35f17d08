#include "quantbound/network/segments.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/network/forward.hpp"

#include "random_graph.hpp"

namespace quantbound::network {
namespace {

using testing::Builder;
using testing::Draw;

/// Whether the output still depends on the input when a node is taken away.
bool some_path_avoids(const Graph& graph, NodeId removed) {
  std::vector<bool> reached(graph.nodes.size(), false);
  reached[0] = removed != 0;
  for (std::size_t id = 1; id < graph.nodes.size(); ++id) {
    const auto& inputs = graph.nodes[id].inputs;
    reached[id] = static_cast<NodeId>(id) != removed && std::any_of(inputs.begin(), inputs.end(), [&](NodeId input) {
                    return reached[static_cast<std::size_t>(input)];
                  });
  }
  return reached[static_cast<std::size_t>(graph.output)];
}

TEST(Segments, CutPointsAreTheNodesOnEveryPath) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Graph graph = testing::random_network(seed).graph;
    std::vector<NodeId> expected;
    for (NodeId id = 0; id < std::ssize(graph.nodes); ++id)
      if (!some_path_avoids(graph, id)) expected.push_back(id);

    EXPECT_EQ(cut_points(graph), expected) << "seed " << seed;
  }
}

TEST(Segments, ANodeBehindWhichNothingEarlierIsReadIsNoCutIfADeadEndReadsPastIt) {
  Draw draw(1);
  Builder b({4}, draw);
  const NodeId first = b.dense(0, 4), second = b.dense(first, 3);
  b.dense(first, 2);  // leads nowhere
  Graph graph = b.build().graph;
  graph.output = second;

  EXPECT_THAT(cut_points(graph), ::testing::ElementsAre(0, first));
}

TEST(Segments, TheTailOfTheHeadIsTheGraphBitForBit) {
  Index cuts = 0;
  for (std::uint64_t seed = 0; seed < 25; ++seed) {
    const Network network = testing::random_network(seed);
    const Index batch = 2;
    Draw draw(900 + seed);
    const std::vector<double> x = draw.normals(batch * tensor::elements(network.graph.input_shape()));
    const std::vector<double> expected = forward(network.graph, network.layers, x, batch);
    for (const NodeId cut : cut_points(network.graph)) {
      SCOPED_TRACE(::testing::Message() << "seed " << seed << " cut " << cut);
      const Halves halves = split(network.graph, cut);
      ASSERT_NO_THROW(validate(halves.head, "head"));
      ASSERT_NO_THROW(validate(halves.tail, "tail"));
      const auto layers = std::span(network.layers), head_layers = layers.first(halves.head.weight_layers().size()),
                 tail_layers = layers.last(halves.tail.weight_layers().size());
      ASSERT_EQ(head_layers.size() + tail_layers.size(), layers.size());

      const std::vector<double> middle = forward(halves.head, head_layers, x, batch);

      EXPECT_EQ(forward(halves.tail, tail_layers, middle, batch), expected);
      ++cuts;
    }
  }
  EXPECT_GT(cuts, 100);
}

}  // namespace
}  // namespace quantbound::network
