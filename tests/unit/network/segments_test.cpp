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

/// The weights of the layers of a part, found by the names of their nodes.
std::vector<LayerParameters> layers_of(const Graph& part, const Network& network) {
  std::vector<LayerParameters> layers;
  const std::vector<NodeId> all = network.graph.weight_layers();
  for (const NodeId id : part.weight_layers()) {
    const std::string& name = part.nodes[static_cast<std::size_t>(id)].name;
    for (std::size_t layer = 0; layer < all.size(); ++layer)
      if (network.graph.nodes[static_cast<std::size_t>(all[layer])].name == name)
        layers.push_back(network.layers[layer]);
  }
  return layers;
}

/// Whether `to` still depends on the input of `graph` when `from` is taken away.
bool some_path_avoids(const Graph& graph, NodeId from, NodeId to) {
  Graph prefix = graph;
  prefix.output = to;
  return some_path_avoids(prefix, from);
}

TEST(Segments, TheGraphBetweenTwoNodesMakesTheSecondFromTheFirstBitForBit) {
  Index pieces = 0, ends_inside = 0;
  for (std::uint64_t seed = 0; seed < 25; ++seed) {
    const Network network = testing::random_network(seed);
    const Index batch = 2;
    Draw draw(500 + seed);
    const std::vector<double> x = draw.normals(batch * tensor::elements(network.graph.input_shape()));
    std::vector<std::vector<double>> values;
    for (NodeId id = 0; id < std::ssize(network.graph.nodes); ++id) {
      const Graph prefix{{network.graph.nodes.begin(), network.graph.nodes.begin() + id + 1}, id};
      values.push_back(forward(prefix, std::span(network.layers).first(prefix.weight_layers().size()), x, batch));
    }
    const std::vector<NodeId> cuts = cut_points(network.graph);
    for (NodeId from = 0; from < std::ssize(network.graph.nodes); ++from) {
      for (NodeId to = from + 1; to < std::ssize(network.graph.nodes); ++to) {
        if (some_path_avoids(network.graph, from, to)) continue;
        SCOPED_TRACE(::testing::Message() << "seed " << seed << " from " << from << " to " << to);
        const Graph part = between(network.graph, from, to);
        ASSERT_NO_THROW(validate(part, "between"));
        const std::vector<LayerParameters> layers = layers_of(part, network);
        EXPECT_EQ(forward(part, layers, values[static_cast<std::size_t>(from)], batch),
                  values[static_cast<std::size_t>(to)]);
        ++pieces;
        if (!std::binary_search(cuts.begin(), cuts.end(), to)) ++ends_inside;
      }
    }
  }
  EXPECT_GT(pieces, 500);
  EXPECT_GT(ends_inside, 50);
}

TEST(Segments, TheGraphBetweenHoldsOnlyWhatTheSecondNodeNeeds) {
  Draw draw(1);
  Builder b({4}, draw);
  const NodeId first = b.dense(0, 4);
  const NodeId other = b.dense(first, 5), third = b.dense(first, 5);
  b.add(Add{}, {other, third});
  const Graph part = between(b.build().graph, first, third);

  ASSERT_EQ(part.nodes.size(), 2U);
  EXPECT_EQ(part.output, 1);
  EXPECT_EQ(std::get<Dense>(part.nodes[1].op).layer, 0) << "counted anew";
  EXPECT_EQ(part.nodes[0].name, b.build().graph.nodes[static_cast<std::size_t>(first)].name);
}

}  // namespace
}  // namespace quantbound::network
