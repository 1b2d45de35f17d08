// The graph: activations, shape inference, what validate() refuses, and the questions that other rooms ask.
#include "quantbound/network/graph.hpp"

#include <cmath>
#include <functional>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/network.hpp"

namespace quantbound::network {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double infinity = std::numeric_limits<double>::infinity();

std::vector<Activation> every_activation() {
  return {{ActivationKind::relu, 0, 0},
          {ActivationKind::leaky_relu, 0.1, 0},
          {ActivationKind::leaky_relu, 3, 0},
          {ActivationKind::clip, 0, 6},
          {ActivationKind::clip, -1, 0.5},
          {ActivationKind::clip, 0.25, infinity},
          {ActivationKind::sigmoid, 0, 0},
          {ActivationKind::tanh, 0, 0},
          {ActivationKind::hard_swish, 0, 0},
          {ActivationKind::hard_sigmoid, 0.2, 0.5},
          {ActivationKind::hard_sigmoid, 2, -0.25}};
}

TEST(Activation, PropertiesHoldForItsValues) {
  for (const Activation& activation : every_activation()) {
    SCOPED_TRACE(to_string(activation.kind));
    EXPECT_EQ(activation.fixes_zero(), activation(0.0) == 0.0);
    double steepest = 0.0;
    for (int i = -4000; i < 4000; ++i) {
      const double a = i / 400.0, b = (i + 1) / 400.0;
      steepest = std::max(steepest, std::abs(activation(b) - activation(a)) / (b - a));
      if (activation.monotone()) {
        EXPECT_LE(activation(a), activation(b));
      }
      if (activation.magnitude()) {
        EXPECT_LE(std::abs(activation(a)), *activation.magnitude());
      }
    }
    EXPECT_LE(steepest, activation.lipschitz() * (1 + 1e-9));
    EXPECT_GE(steepest, 0.98 * activation.lipschitz()) << "the constant is not the smallest";
    EXPECT_TRUE(std::isnan(activation(std::nan(""))));
  }
}

TEST(Activation, ExtremeInputsStayFinite) {
  for (const double x : {-1e308, -800.0, 800.0, 1e308}) {
    EXPECT_NEAR((Activation{ActivationKind::sigmoid})(x), x > 0 ? 1.0 : 0.0, 1e-300);
    EXPECT_EQ((Activation{ActivationKind::hard_swish})(x), x > 0 ? x : 0.0);
  }
  EXPECT_FALSE((Activation{ActivationKind::clip, 0.0, infinity}).magnitude().has_value());
}

TEST(OperatorName, IsOnnxs) {
  EXPECT_EQ(operator_name(Convolution{}), "Conv");
  EXPECT_EQ(operator_name(Dense{}), "Gemm");
  EXPECT_EQ(operator_name(Activation{ActivationKind::hard_swish}), "HardSwish");
  EXPECT_EQ(operator_name(Product{}), "Mul");
  EXPECT_EQ(operator_name(Permute{}), "Transpose");
  EXPECT_EQ(operator_name(ScaleShift{}), "ScaleShift");
}

// ---- shapes --------------------------------------------------------------------------------------------------------

Shape infer(const Operator& op, const std::vector<Shape>& inputs) { return infer_shape(op, inputs, "node", "file"); }

tensor::Window window(Index kernel, Index stride, Index pad) {
  return {.kernel_height = kernel,
          .kernel_width = kernel,
          .stride_height = stride,
          .stride_width = stride,
          .pad_top = pad,
          .pad_left = pad,
          .pad_bottom = pad,
          .pad_right = pad};
}

tensor::Convolution convolution(Index in, Index out, Index groups) {
  tensor::Convolution geometry;
  geometry.channels_in = in;
  geometry.height = 8;
  geometry.width = 6;
  geometry.channels_out = out;
  geometry.groups = groups;
  geometry.window = window(3, 2, 1);
  return geometry;
}

TEST(InferShape, OfEveryOperator) {
  EXPECT_EQ(infer(Convolution{0, convolution(4, 6, 2)}, {{4, 8, 6}}), (Shape{6, 4, 3}));
  EXPECT_EQ(infer(Dense{0, 4, 7}, {{4}}), (Shape{7}));
  EXPECT_EQ(infer(Activation{}, {{4, 2}}), (Shape{4, 2}));
  EXPECT_EQ(infer(Add{}, {{4, 2}, {4, 2}}), (Shape{4, 2}));
  EXPECT_EQ(infer(Product{}, {{4, 2}, {4, 2}}), (Shape{4, 2}));
  EXPECT_EQ(infer(Product{}, {{4, 1, 1}, {4, 2, 3}}), (Shape{4, 2, 3}));
  EXPECT_EQ(infer(Product{}, {{4, 2, 3}, {4, 1, 1}}), (Shape{4, 2, 3}));
  EXPECT_EQ(infer(Concat{1}, {{4, 2}, {4, 3}, {4, 1}}), (Shape{4, 6}));
  EXPECT_EQ(infer(MaxPool{window(2, 2, 0)}, {{3, 5, 4}}), (Shape{3, 2, 2}));
  EXPECT_EQ(infer(AveragePool{window(3, 1, 1), true}, {{3, 5, 4}}), (Shape{3, 5, 4}));
  EXPECT_EQ(infer(GlobalAveragePool{}, {{3, 5, 4}}), (Shape{3, 1, 1}));
  EXPECT_EQ(infer(Pad{{1, 0}, {0, 2}, 0.0}, {{3, 5}}), (Shape{4, 7}));
  EXPECT_EQ(infer(Slice{{0, 4}, {1, -2}, {3, 3}}, {{3, 5}}), (Shape{3, 3}));
  EXPECT_EQ(infer(Permute{{2, 0, 1}}, {{3, 5, 4}}), (Shape{4, 3, 5}));
  EXPECT_EQ(infer(Reshape{}, {{3, 5, 4}}), (Shape{60}));
  EXPECT_EQ(infer(ScaleShift{{1, 2, 3}, {0, 0, 0}}, {{3, 5, 4}}), (Shape{3, 5, 4}));
}

TEST(InferShape, RefusesWhatDoesNotFit) {
  const double nan = std::nan("");
  const std::vector<std::pair<Operator, std::vector<Shape>>> wrong{
      {Convolution{0, convolution(4, 6, 2)}, {{4, 8, 7}}},
      {Convolution{0, convolution(4, 6, 4)}, {{4, 8, 6}}},
      {Convolution{0, convolution(4, 6, 0)}, {{4, 8, 6}}},
      {Convolution{0, convolution(4, 6, 2)}, {{4, 48}}},
      {Dense{0, 4, 7}, {{5}}},
      {Dense{0, 4, 7}, {{4, 1}}},
      {Dense{0, 4, 0}, {{4}}},
      {Activation{ActivationKind::clip, 1, 0}, {{4}}},
      {Activation{ActivationKind::clip, nan, 0}, {{4}}},
      {Activation{ActivationKind::leaky_relu, -0.1, 0}, {{4}}},
      {Activation{ActivationKind::hard_sigmoid, 1, nan}, {{4}}},
      {Activation{}, {{4}, {4}}},
      {Activation{}, {}},
      {Activation{}, {{}}},
      {Activation{}, {{4, 0}}},
      {Activation{}, {{Index{1} << 40, Index{1} << 40}}},
      {Add{}, {{4}, {5}}},
      {Add{}, {{4}}},
      {Product{}, {{4, 1, 1}, {5, 2, 2}}},
      {Product{}, {{1, 2, 2}, {4, 2, 2}}},
      {Concat{0}, {}},
      {Concat{2}, {{4, 2}}},
      {Concat{0}, {{4, 2}, {4, 3}}},
      {Concat{0}, {{4, 2}, {4}}},
      {MaxPool{window(2, 2, 2)}, {{3, 5, 4}}},
      {MaxPool{window(9, 1, 0)}, {{3, 5, 4}}},
      {AveragePool{window(2, 0, 0), false}, {{3, 5, 4}}},
      {GlobalAveragePool{}, {{3, 5}}},
      {Pad{{1}, {0}, 0.0}, {{3, 5}}},
      {Pad{{-1}, {0}, 0.0}, {{3}}},
      {Pad{{1}, {0}, nan}, {{3}}},
      {Slice{{0}, {1}, {4}}, {{3}}},
      {Slice{{3}, {1}, {1}}, {{3}}},
      {Slice{{0}, {-1}, {2}}, {{3}}},
      {Slice{{0}, {0}, {2}}, {{3}}},
      {Slice{{0}, {1}, {0}}, {{3}}},
      {Permute{{0, 0}}, {{3, 5}}},
      {Permute{{0}}, {{3, 5}}},
      {ScaleShift{{1, 2}, {1, 2}}, {{3, 5}}},
      {ScaleShift{{1}, {1, 2, 3}}, {{3, 5}}},
      {ScaleShift{{infinity}, {0}}, {{3, 5}}},
      {Input{}, {}},
  };
  for (std::size_t i = 0; i < wrong.size(); ++i) {
    EXPECT_THROW(infer(wrong[i].first, wrong[i].second), core::InputError) << "case " << i;
  }
}

TEST(InferShape, PoolWindowsThatDilationCarriesPastTheImageAreRefused) {
  tensor::Window dilated = window(2, 1, 1);
  dilated.dilation_height = dilated.dilation_width = 2;
  EXPECT_THROW(infer(MaxPool{dilated}, {{1, 1, 1}}), core::InputError) << "taps at -1 and 1 of an image of 1";
  EXPECT_EQ(infer(MaxPool{dilated}, {{1, 2, 2}}), (Shape{1, 2, 2}));
}

// ---- validation ----------------------------------------------------------------------------------------------------

/// input 4 -> Dense -> Relu -> Dense, and the sum of both layers.
Graph small_graph() {
  Graph graph;
  graph.nodes.push_back({"x", Input{}, {}, {4}});
  graph.nodes.push_back({"a", Dense{0, 4, 3}, {0}, {3}});
  graph.nodes.push_back({"r", Activation{}, {1}, {3}});
  graph.nodes.push_back({"b", Dense{1, 3, 3}, {2}, {3}});
  graph.nodes.push_back({"s", Add{}, {1, 3}, {3}});
  graph.output = 4;
  return graph;
}

std::string refusal(const std::function<void(Graph&)>& change) {
  Graph graph = small_graph();
  change(graph);
  try {
    validate(graph, "file.onnx");
  } catch (const core::InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("file.onnx"));
    return error.what();
  }
  return {};
}

TEST(Validate, RefusesWhatNoReaderMayDeliver) {
  EXPECT_EQ(refusal([](Graph&) {}), "");
  EXPECT_THAT(refusal([](Graph& g) { g.nodes.clear(); }), HasSubstr("no nodes"));
  EXPECT_THAT(refusal([](Graph& g) { g.output = 5; }), HasSubstr("does not exist"));
  EXPECT_THAT(refusal([](Graph& g) { g.output = -1; }), HasSubstr("does not exist"));
  EXPECT_THAT(refusal([](Graph& g) { g.nodes[1].inputs = {2}; }), HasSubstr("'a' (Gemm): reads node 2"));
  EXPECT_THAT(refusal([](Graph& g) { g.nodes[1].inputs = {-1}; }), HasSubstr("reads node -1"));
  EXPECT_THAT(refusal([](Graph& g) { g.nodes[1].inputs = {}; }), HasSubstr("has 0 inputs, needs 1"));
  EXPECT_THAT(refusal([](Graph& g) { g.nodes[4].inputs = {1}; }), HasSubstr("has 1 inputs, needs 2"));
  EXPECT_THAT(refusal([](Graph& g) { g.nodes[2].shape = {4}; }), HasSubstr("has shape 4, should have 3"));
  EXPECT_THAT(refusal([](Graph& g) { g.nodes[2].shape = {}; }), HasSubstr("no shape"));
  EXPECT_THAT(refusal([](Graph& g) { g.nodes[0].shape = {0}; }), HasSubstr("below 1"));
  EXPECT_THAT(refusal([](Graph& g) { g.nodes[0].op = Activation{}; }), HasSubstr("'x' (Relu): the first node"));
  EXPECT_THAT(refusal([](Graph& g) { g.nodes[2].op = Input{}; }), HasSubstr("the first node, and no other"));
  EXPECT_THAT(refusal([](Graph& g) { std::get<Dense>(g.nodes[3].op).layer = 0; }),
              HasSubstr("numbered as layer 0, but is layer 1"));
  EXPECT_THAT(refusal([](Graph& g) { g.nodes[2] = {"r", Reshape{}, {1}, {2, 2}}; }), HasSubstr("'r' (Reshape)"));
}

// ---- questions -----------------------------------------------------------------------------------------------------

TEST(Graph, KnowsLayersConsumersAndWhereToMeasure) {
  Graph graph = small_graph();
  EXPECT_THAT(graph.weight_layers(), ElementsAre(1, 3));
  EXPECT_THAT(graph.consumers(),
              ElementsAre(ElementsAre(1), ElementsAre(2, 4), ElementsAre(3), ElementsAre(4), ElementsAre()));
  EXPECT_EQ(graph.measured_output(0), 1) << "the activation is not its only reader";
  EXPECT_EQ(graph.measured_output(1), 3) << "no activation follows";
  EXPECT_FALSE(graph.is_chain());

  graph.nodes.pop_back();
  graph.output = 3;
  EXPECT_EQ(graph.measured_output(0), 2);
  EXPECT_TRUE(graph.is_chain());
  graph.output = 1;
  EXPECT_EQ(graph.measured_output(0), 1) << "the layer's own value is the output";
}

TEST(Graph, ANodeThatReadsAValueTwiceIsOneConsumer) {
  Graph graph = small_graph();
  graph.nodes[4].inputs = {3, 3};
  EXPECT_THAT(graph.consumers()[3], ElementsAre(4));
}

TEST(NetworkValues, AreCountedAndChecked) {
  Network network{"small",
                  small_graph(),
                  {{std::vector<double>(12, 1.0), std::vector<double>(3, 0.0)},
                   {std::vector<double>(9, 1.0), std::vector<double>(3, 0.0)}},
                  {},
                  {}};
  EXPECT_EQ(parameter_count(network), 27);
  EXPECT_EQ(width(network.graph), 4);
  EXPECT_NO_THROW(validate(network, "file"));

  const auto refusal_of = [&](const std::function<void(Network&)>& change) -> std::string {
    Network changed = network;
    change(changed);
    try {
      validate(changed, "file");
    } catch (const core::InputError& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_THAT(refusal_of([](Network& n) { n.layers[1].weights[7] = std::nan(""); }),
              HasSubstr("layer 1 'b', weights: value 7 is nan"));
  EXPECT_THAT(refusal_of([](Network& n) { n.layers[0].bias[2] = -infinity; }),
              HasSubstr("layer 0 'a', bias: value 2 is -inf"));
  EXPECT_THAT(refusal_of([](Network& n) { n.layers[0].weights.pop_back(); }),
              HasSubstr("11 values where 12 are needed"));
  EXPECT_THAT(refusal_of([](Network& n) { n.layers.pop_back(); }),
              HasSubstr("weights for 1 layers where the graph has 2"));
}

}  // namespace
}  // namespace quantbound::network
