#include "quantbound/network/forward.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include <gtest/gtest.h>
#include <omp.h>

#include "random_graph.hpp"

namespace quantbound::network {
namespace {

using testing::Builder;
using testing::Draw;

/// f by a builder's network whose weights are replaced by the given ones.
std::vector<double> run(Network network, std::vector<LayerParameters> layers, std::vector<double> samples,
                        Index batch) {
  network.layers = std::move(layers);
  return forward(network.graph, network.layers, samples, batch);
}

TEST(Forward, MatchesAnMlpDoneByHand) {
  Draw draw(1);
  Builder b({2}, draw);
  b.dense(b.add(Activation{ActivationKind::relu}, {b.dense(0, 2)}), 1);

  const auto y = run(b.build(), {{{1, 2, -1, 1}, {0, -1}}, {{3, 5}, {7}}}, {1, 1, -1, 2}, 2);

  // relu(1*1 + 2*1, -1 + 1 - 1) = (3, 0) -> 16; relu(-1 + 4, 1 + 2 - 1) = (3, 2) -> 26.
  EXPECT_EQ(y, (std::vector<double>{16, 26}));
}

TEST(Forward, MatchesOperatorsDoneByHand) {
  Draw draw(2);
  const std::vector<double> x{1, 2, 3, 4, 5, 6, 7, 8};  // {2, 2, 2}
  const auto value = [&](Operator op, std::vector<NodeId> inputs) {
    Builder b({2, 2, 2}, draw);
    b.add(std::move(op), std::move(inputs));
    return forward(b.build().graph, {}, x, 1);
  };

  EXPECT_EQ(value(Add{}, {0, 0}), (std::vector<double>{2, 4, 6, 8, 10, 12, 14, 16}));
  EXPECT_EQ(value(Product{}, {0, 0}), (std::vector<double>{1, 4, 9, 16, 25, 36, 49, 64}));
  EXPECT_EQ(value(Permute{{1, 0, 2}}, {0}), (std::vector<double>{1, 2, 5, 6, 3, 4, 7, 8}));
  EXPECT_EQ(value(Slice{{1, 1, 0}, {-1, 1, 1}, {2, 1, 2}}, {0}), (std::vector<double>{7, 8, 3, 4}));
  EXPECT_EQ(value(Pad{{0, 0, 1}, {0, 0, 0}, 9}, {0}), (std::vector<double>{9, 1, 2, 9, 3, 4, 9, 5, 6, 9, 7, 8}));
  EXPECT_EQ(value(Concat{2}, {0, 0}), (std::vector<double>{1, 2, 1, 2, 3, 4, 3, 4, 5, 6, 5, 6, 7, 8, 7, 8}));
  EXPECT_EQ(value(GlobalAveragePool{}, {0}), (std::vector<double>{2.5, 6.5}));
  EXPECT_EQ(value(MaxPool{{.kernel_height = 2, .kernel_width = 1}}, {0}), (std::vector<double>{3, 4, 7, 8}));
  EXPECT_EQ(value(AveragePool{{.kernel_height = 1, .kernel_width = 2, .pad_right = 1}, true}, {0}),
            (std::vector<double>{1.5, 1, 3.5, 2, 5.5, 3, 7.5, 4}));
  EXPECT_EQ(value(AveragePool{{.kernel_height = 1, .kernel_width = 2, .pad_right = 1}, false}, {0}),
            (std::vector<double>{1.5, 2, 3.5, 4, 5.5, 6, 7.5, 8}));
  EXPECT_EQ(value(ScaleShift{{2, 3}, {0, 1}}, {0}), (std::vector<double>{2, 4, 6, 8, 16, 19, 22, 25}));
  EXPECT_EQ(value(Activation{ActivationKind::clip, 2, 5}, {0}), (std::vector<double>{2, 2, 3, 4, 5, 5, 5, 5}));
}

TEST(Forward, BroadcastsAProductOverPixelsOnEitherSide) {
  Draw draw(3);
  for (const bool gate_first : {false, true}) {
    Builder b({2, 1, 2}, draw);
    const NodeId gate = b.add(GlobalAveragePool{}, {0});
    b.add(Product{}, gate_first ? std::vector<NodeId>{gate, 0} : std::vector<NodeId>{0, gate});
    EXPECT_EQ(forward(b.build().graph, {}, std::vector<double>{1, 3, 2, 6, 10, 20, 1, 1}, 2),
              (std::vector<double>{2, 6, 8, 24, 150, 300, 1, 1}));
  }
}

TEST(Forward, VisitsEveryLayerOnceAtItsMeasuredOutput) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Network network = testing::random_network(seed);
    Draw draw(1000 + seed);
    const auto x = draw.normals(3 * tensor::elements(network.graph.input_shape()));
    std::map<Index, std::vector<double>> seen;

    const auto y = forward(network.graph, network.layers, x, 3, [&](Index layer, std::span<const double> values) {
      EXPECT_TRUE(seen.emplace(layer, std::vector<double>(values.begin(), values.end())).second) << "layer " << layer;
    });

    ASSERT_EQ(seen.size(), network.layers.size());
    EXPECT_EQ(y, forward(network.graph, network.layers, x, 3)) << "the visitor must not change f";
    for (const auto& [layer, values] : seen) {
      Graph truncated = network.graph;
      truncated.output = network.graph.measured_output(layer);
      EXPECT_EQ(values, forward(truncated, network.layers, x, 3)) << "seed " << seed << " layer " << layer;
    }
  }
}

TEST(Forward, BitsOfASampleDependNeitherOnItsBatchNorOnThreads) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const Network network = testing::random_network(seed);
    Draw draw(2000 + seed);
    const Index batch = 1030, in = tensor::elements(network.graph.input_shape());  // more than one block of samples
    const auto x = draw.normals(batch * in);
    const int threads = omp_get_max_threads();

    omp_set_num_threads(1);
    const auto one = forward(network.graph, network.layers, x, batch);
    omp_set_num_threads(2);
    const auto two = forward(network.graph, network.layers, x, batch);
    omp_set_num_threads(threads);

    EXPECT_EQ(one, two) << "seed " << seed;
    const Index out = std::ssize(one) / batch;
    for (const Index n : {Index{0}, Index{5}, Index{1029}}) {
      const auto alone =
          forward(network.graph, network.layers,
                  std::span(x).subspan(static_cast<std::size_t>(n * in), static_cast<std::size_t>(in)), 1);
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), one.begin() + n * out)) << "seed " << seed << " sample " << n;
    }
  }
}

TEST(RandomNetworks, UseEveryOperatorAndActivation) {
  std::set<std::string_view> names;
  for (std::uint64_t seed = 0; seed < 40; ++seed)
    for (const Node& node : testing::random_network(seed).graph.nodes) names.insert(operator_name(node.op));
  EXPECT_EQ(names.size(), std::variant_size_v<Operator> + 6) << "every operator, with seven kinds of activation";
}

TEST(PrefixBoxes, HoldTheValuesOfEveryNodeBeforeAWeightLayerAndOfNoOther) {
  std::size_t nodes_held = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Draw draw(3000 + seed);
    Builder b({draw.integer(1, 3), draw.integer(4, 7), draw.integer(4, 7)}, draw);
    NodeId at = 0;
    for (Index step = 0; step < 5; ++step) at = testing::random_image_step(b, draw, at);
    const Network network = b.build();
    Box box{draw.normals(tensor::elements(network.graph.input_shape())), {}};
    box.high = box.low;
    for (double& value : box.high) value += std::abs(draw.normal());

    const std::vector<Box> boxes = prefix_boxes(network.graph, box);

    ASSERT_EQ(boxes.size(), network.graph.nodes.size());
    std::vector<bool> behind(boxes.size());
    for (std::size_t id = 0; id < boxes.size(); ++id) {
      const Node& node = network.graph.nodes[id];
      behind[id] = std::holds_alternative<Convolution>(node.op) ||
                   std::any_of(node.inputs.begin(), node.inputs.end(),
                               [&](NodeId i) { return behind[static_cast<std::size_t>(i)]; });
      ASSERT_EQ(boxes[id].low.empty(), behind[id]) << "seed " << seed << " node " << id;
      if (behind[id]) continue;
      ++nodes_held;
      Graph truncated = network.graph;
      truncated.output = static_cast<NodeId>(id);
      for (int corner = 0; corner < 20; ++corner) {
        std::vector<double> x = box.low;
        for (std::size_t i = 0; i < x.size(); ++i) {
          const double choice =
              corner < 10 ? static_cast<double>(draw.integer(0, 1)) : static_cast<double>(draw.integer(0, 8)) / 8;
          x[i] = choice == 1.0 ? box.high[i] : x[i] + choice * (box.high[i] - box.low[i]);
        }
        const std::vector<double> value = forward(truncated, network.layers, x, 1);
        for (std::size_t i = 0; i < value.size(); ++i) {
          const double slack = 1e-14 * std::abs(value[i]);  // the value itself is rounded to nearest
          ASSERT_LE(boxes[id].low[i], value[i] + slack) << "seed " << seed << ' ' << operator_name(node.op);
          ASSERT_GE(boxes[id].high[i], value[i] - slack) << "seed " << seed << ' ' << operator_name(node.op);
        }
      }
    }
  }
  EXPECT_GT(nodes_held, 400U);
}

TEST(PrefixBoxes, AreExactWhereTheArithmeticIs) {
  Draw draw(4);
  Builder b({1, 2, 2}, draw);
  const NodeId scaled = b.add(ScaleShift{{-2}, {1}}, {0});
  const NodeId pooled = b.add(MaxPool{{.kernel_height = 2, .kernel_width = 2}}, {scaled});
  const NodeId average = b.add(GlobalAveragePool{}, {scaled});
  const NodeId rectified = b.add(Activation{ActivationKind::relu}, {scaled});
  const auto boxes = prefix_boxes(b.build().graph, {{0, 0, 1, 1}, {1, 2, 3, 4}});

  EXPECT_EQ(boxes[static_cast<std::size_t>(scaled)].low, (std::vector<double>{-1, -3, -5, -7}));
  EXPECT_EQ(boxes[static_cast<std::size_t>(scaled)].high, (std::vector<double>{1, 1, -1, -1}));
  EXPECT_EQ(boxes[static_cast<std::size_t>(pooled)].low, (std::vector<double>{-1}));
  EXPECT_EQ(boxes[static_cast<std::size_t>(pooled)].high, (std::vector<double>{1}));
  EXPECT_LE(boxes[static_cast<std::size_t>(average)].low[0], -4.0);
  EXPECT_NEAR(boxes[static_cast<std::size_t>(average)].low[0], -4.0, 1e-15);
  EXPECT_EQ(boxes[static_cast<std::size_t>(rectified)].high, (std::vector<double>{1, 1, 0, 0}));
}

TEST(PrefixBoxes, HardSwishFindsItsMinimumInside) {
  Draw draw(5);
  Builder b({3}, draw);
  b.add(Activation{ActivationKind::hard_swish}, {0});

  const Box box = prefix_boxes(b.build().graph, {{-4, -1, -3}, {1, 4, -2}}).back();

  EXPECT_EQ(box.low[0], -0.375);
  EXPECT_NEAR(box.high[0], 4.0 / 6.0, 1e-14);
  EXPECT_NEAR(box.low[1], -1.0 / 3.0, 1e-14);
  EXPECT_NEAR(box.high[1], 4.0, 1e-14);
  EXPECT_NEAR(box.low[2], -1.0 / 3.0, 1e-14);
  EXPECT_NEAR(box.high[2], 0.0, 1e-14);
}

}  // namespace
}  // namespace quantbound::network
