// Weight layers of ONNX files: every form of Conv, Gemm and MatMul against loops over their definition, and folding.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"

#include "onnx_model.hpp"

namespace quantbound::network {
namespace {

using namespace testing;  // NOLINT: the helpers of this directory
using ::testing::ElementsAre;

// ---- Conv ----------------------------------------------------------------------------------------------------------

struct ConvolutionCase {
  std::string name;
  Integers input;    ///< channels, height, width
  Integers weights;  ///< channels out, channels in / groups, kernel
  Integers strides{1, 1}, dilations{1, 1}, pads{0, 0, 0, 0};
  std::int64_t groups = 1;
};

/// Loops over ONNX's definition of Conv.
Reals convolution(const ConvolutionCase& c, const Reals& x, const Reals& w, const Reals& bias) {
  const auto out_extent = [&](std::size_t axis) {
    const std::int64_t reach = c.dilations[axis] * (c.weights[axis + 2] - 1) + 1;
    return (c.input[axis + 1] + c.pads[axis] + c.pads[axis + 2] - reach) / c.strides[axis] + 1;
  };
  const std::int64_t rows = out_extent(0), columns = out_extent(1), group_in = c.weights[1],
                     group_out = c.weights[0] / c.groups;
  Reals out;
  for (std::int64_t o = 0; o < c.weights[0]; ++o) {
    for (std::int64_t i = 0; i < rows * columns; ++i) {
      double sum = bias[static_cast<std::size_t>(o)];
      for (std::int64_t k = 0; k < group_in * c.weights[2] * c.weights[3]; ++k) {
        const std::int64_t channel = k / (c.weights[2] * c.weights[3]) + o / group_out * group_in;
        const std::int64_t y =
            i / columns * c.strides[0] - c.pads[0] + k / c.weights[3] % c.weights[2] * c.dilations[0];
        const std::int64_t z = i % columns * c.strides[1] - c.pads[1] + k % c.weights[3] * c.dilations[1];
        if (y < 0 || y >= c.input[1] || z < 0 || z >= c.input[2]) continue;
        sum += w[static_cast<std::size_t>(o * group_in * c.weights[2] * c.weights[3] + k)] *
               x[static_cast<std::size_t>((channel * c.input[1] + y) * c.input[2] + z)];
      }
      out.push_back(sum);
    }
  }
  return out;
}

std::int64_t product(const Integers& dims) {
  return std::accumulate(dims.begin(), dims.end(), std::int64_t{1}, std::multiplies{});
}

TEST(OnnxConv, EveryGeometryFollowsTheDefinition) {
  const std::vector<ConvolutionCase> cases{
      {.name = "plain", .input = {2, 5, 6}, .weights = {3, 2, 3, 2}},
      {.name = "asymmetric pads", .input = {1, 4, 5}, .weights = {2, 1, 3, 3}, .pads = {1, 0, 2, 3}},
      {.name = "strides", .input = {2, 7, 8}, .weights = {2, 2, 3, 3}, .strides = {2, 3}, .pads = {1, 1, 1, 1}},
      {.name = "dilations", .input = {1, 9, 8}, .weights = {1, 1, 3, 2}, .dilations = {2, 3}},
      {.name = "groups", .input = {4, 5, 5}, .weights = {6, 2, 3, 3}, .pads = {1, 1, 1, 1}, .groups = 2},
      {.name = "depthwise",
       .input = {3, 5, 4},
       .weights = {3, 1, 3, 3},
       .strides = {2, 2},
       .pads = {1, 1, 1, 1},
       .groups = 3},
      {.name = "depthwise, two per channel", .input = {2, 4, 4}, .weights = {4, 1, 2, 2}, .groups = 2},
  };
  for (const ConvolutionCase& c : cases) {
    SCOPED_TRACE(c.name);
    const Reals x = scattered(product(c.input), 3), w = scattered(product(c.weights), 5),
                b = scattered(c.weights[0], 7);
    OnnxModel model;
    model.input("x", {1, c.input[0], c.input[1], c.input[2]}).tensor("w", c.weights, w).tensor("b", {c.weights[0]}, b);
    model.node("Conv", {"x", "w", "b"}, "y",
               {integers("strides", c.strides), integers("dilations", c.dilations), integers("pads", c.pads),
                integer("group", c.groups), integers("kernel_shape", {c.weights[2], c.weights[3]})});
    model.output("y");

    expect_near(evaluate(model, x), convolution(c, x, w, b));
  }
}

TEST(OnnxConv, AutoPadsKeepEveryStride) {
  const Reals x = scattered(1 * 5 * 6, 3), w = scattered(1 * 3 * 2, 5);
  // Height 5, stride 2, kernel 3: 3 rows need 7, so 2 pads; width 6, stride 1, kernel 2: 1 pad, whose side is the
  // difference.
  const std::vector<std::pair<std::string, Integers>> cases{
      {"SAME_UPPER", {1, 0, 1, 1}}, {"SAME_LOWER", {1, 1, 1, 0}}, {"VALID", {0, 0, 0, 0}}, {"NOTSET", {0, 0, 0, 0}}};
  for (const auto& [mode, pads] : cases) {
    SCOPED_TRACE(mode);
    OnnxModel model;
    model.input("x", {1, 1, 5, 6}).tensor("w", {1, 1, 3, 2}, w).output("y");
    model.node("Conv", {"x", "w"}, "y", {text("auto_pad", mode), integers("strides", {2, 1})});

    const ConvolutionCase same{
        .name = mode, .input = {1, 5, 6}, .weights = {1, 1, 3, 2}, .strides = {2, 1}, .pads = pads};
    expect_near(evaluate(model, x), convolution(same, x, w, {0.0}));
  }
}

TEST(OnnxConv, OneDimensionalIsHeightOne) {
  const Reals x = scattered(2 * 9, 3), w = scattered(3 * 2 * 3, 5);
  OnnxModel model;
  model.input("x", {1, 2, 9}).tensor("w", {3, 2, 3}, w).output("y");
  model.node("Conv", {"x", "w"}, "c", {integers("strides", {2}), integers("pads", {1, 2}), integers("dilations", {2})});
  model.node("Relu", {"c"}, "y");

  const ConvolutionCase flat{.name = "1-D",
                             .input = {2, 1, 9},
                             .weights = {3, 2, 1, 3},
                             .strides = {1, 2},
                             .dilations = {1, 2},
                             .pads = {0, 1, 0, 2}};
  Reals expected = convolution(flat, x, w, {0.0, 0.0, 0.0});
  for (double& value : expected) value = std::max(value, 0.0);
  expect_near(evaluate(model, x), expected);
  const Network network = load(model);
  EXPECT_THAT(operators(network.graph), ElementsAre("Reshape", "Conv", "Relu", "Reshape"));
  EXPECT_EQ(network.graph.output_shape(), (Shape{3, 4}));
  EXPECT_EQ(network.graph.measured_output(0), 3) << "no reshape stands between the layer and its activation";
}

// ---- Gemm and MatMul -----------------------------------------------------------------------------------------------

TEST(OnnxGemm, AlphaBetaAndBothTransposesFollowTheDefinition) {
  const Reals x{1, -2, 3}, by_input = scattered(3 * 2, 5), bias{0.5, -1.5};
  Reals by_output(6), expected(2);
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t o = 0; o < 2; ++o) by_output[o * 3 + i] = by_input[i * 2 + o];
  }
  for (std::size_t o = 0; o < 2; ++o) {
    expected[o] = 3.0 * bias[o];
    for (std::size_t i = 0; i < 3; ++i) expected[o] += 0.5 * by_output[o * 3 + i] * x[i];
  }
  for (const std::int64_t transposed : {0, 1}) {
    OnnxModel model;
    model.input("x", {1, 3})
        .tensor("w", transposed == 0 ? Integers{3, 2} : Integers{2, 3}, transposed == 0 ? by_input : by_output);
    model.tensor("b", {2}, bias).output("y");
    model.node("Gemm", {"x", "w", "b"}, "y", {real("alpha", 0.5F), real("beta", 3.0F), integer("transB", transposed)});
    expect_near(evaluate(model, x), expected);
  }
  for (const std::int64_t transposed : {0, 1}) {  // the matrix on the left of a column
    OnnxModel model;
    model.input("x", {3, 1})
        .tensor("w", transposed == 0 ? Integers{2, 3} : Integers{3, 2}, transposed == 0 ? by_output : by_input);
    model.tensor("b", {2, 1}, bias).output("y");
    model.node("Gemm", {"w", "x", "b"}, "y", {real("alpha", 0.5F), real("beta", 3.0F), integer("transA", transposed)});
    expect_near(evaluate(model, x), expected);
  }
}

TEST(OnnxGemm, BiasComesInEveryShapeThatBroadcasts) {
  for (const Integers& dims : {Integers{2}, Integers{1, 2}, Integers{1}, Integers{}, Integers{1, 1}}) {
    const std::int64_t count = product(dims);
    OnnxModel model;
    model.input("x", {-1, 2}).tensor("w", {2, 2}, {1, 0, 0, 1}).tensor("b", dims, ramp(count)).output("y");
    model.node("Gemm", {"x", "w", "b"}, "y");
    expect_near(evaluate(model, {1, 1}), {1.25, count == 1 ? 1.25 : 1.5});
  }
}

TEST(OnnxMatMul, TakesTheMatrixOnEitherSideAndVectors) {
  const Reals w = scattered(2 * 3, 5), x{1, -2, 3};
  Reals expected(2), by_input(6);
  for (std::size_t o = 0; o < 2; ++o) {
    for (std::size_t i = 0; i < 3; ++i) {
      expected[o] += w[o * 3 + i] * x[i];
      by_input[i * 2 + o] = w[o * 3 + i];
    }
  }
  const auto right = [&](const Integers& input, const Integers& dims) {
    OnnxModel model;
    model.input("x", input).tensor("w", dims, by_input).node("MatMul", {"x", "w"}, "y").output("y");
    return evaluate(model, x);
  };
  const auto left = [&](const Integers& input, const Integers& dims) {
    OnnxModel model;
    model.input("x", input).tensor("w", dims, w).node("MatMul", {"w", "x"}, "y").output("y");
    return evaluate(model, x);
  };
  expect_near(right({1, 3}, {3, 2}), expected);
  expect_near(right({1, 1, 3}, {3, 2}), expected);
  expect_near(right({1, 1, 3}, {1, 3, 2}), expected);
  expect_near(right({3}, {3, 2}), expected);
  expect_near(left({3}, {2, 3}), expected);
  expect_near(left({3, 1}, {2, 3}), expected);
  expect_near(left({1, 3, 1}, {2, 3}), expected);

  OnnxModel dot;
  dot.input("x", {1, 3}).tensor("w", {3}, {4, 5, 6}).node("MatMul", {"x", "w"}, "y").output("y");
  expect_near(evaluate(dot, x), {4 - 10 + 18});
  EXPECT_EQ(load(dot).graph.output_shape(), Shape{1});
}

TEST(OnnxMatMul, AConstantAddedAfterItIsItsBias) {
  for (const bool constant_first : {false, true}) {
    OnnxModel model;
    model.input("x", {-1, 2}).tensor("w", {2, 3}, ramp(6)).tensor("b", {3}, {1, 2, 3}).output("y");
    model.node("MatMul", {"x", "w"}, "m");
    model.node("Add", constant_first ? std::vector<std::string>{"b", "m"} : std::vector<std::string>{"m", "b"}, "a");
    model.node("Relu", {"a"}, "y");

    const Network network = load(model);
    EXPECT_THAT(operators(network.graph), ElementsAre("Gemm", "Relu"));
    EXPECT_THAT(network.layers[0].bias, ElementsAre(1, 2, 3));
    EXPECT_EQ(network.graph.nodes[1].name, "MatMul_m");
    EXPECT_TRUE(network.graph.is_chain());
  }
}

TEST(OnnxMatMul, AConstantIsNoBiasWhereTheLayerIsReadTwice) {
  OnnxModel model;
  model.input("x", {1, 2}).tensor("w", {2, 2}, {1, 2, 3, 4}).tensor("b", {2}, {10, 20}).output("y");
  model.node("MatMul", {"x", "w"}, "m").node("Add", {"m", "b"}, "a").node("Mul", {"m", "a"}, "y");

  EXPECT_THAT(operators(load(model).graph), ElementsAre("Gemm", "ScaleShift", "Mul"));
  expect_near(evaluate(model, {1, 1}), {4 * 14, 6 * 26});
}

TEST(OnnxMatMul, OneMatrixForManyRowsIsRefused) {
  OnnxModel model;
  model.input("x", {1, 4, 3}).tensor("w", {3, 2}, ramp(6)).node("MatMul", {"x", "w"}, "y").output("y");
  EXPECT_THROW(load(model), core::UnsupportedOperator);
}

TEST(OnnxMatMul, TwoComputedOperandsAreRefused) {
  OnnxModel model;
  model.input("x", {1, 3}).node("MatMul", {"x", "x"}, "y").output("y");
  EXPECT_THROW(load(model), core::UnsupportedOperator);
}

// ---- BatchNormalization --------------------------------------------------------------------------------------------

/// Adds `y = BatchNormalization(x)` over two channels.
OnnxModel& normalize(OnnxModel& model, const std::string& x, const std::string& y) {
  model.tensor("scale", {2}, {2.0, -0.5}).tensor("shift", {2}, {0.25, 1.0}).tensor("mean", {2}, {0.5, -1.0});
  model.tensor("variance", {2}, {3.0, 0.125});
  return model.node("BatchNormalization", {x, "scale", "shift", "mean", "variance"}, y, {real("epsilon", 0.0625F)});
}

Reals normalized(const Reals& x, std::size_t channel_size) {
  const Reals scale{2.0, -0.5}, shift{0.25, 1.0}, mean{0.5, -1.0}, variance{3.0, 0.125};
  Reals out;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i / channel_size;
    out.push_back((x[i] - mean[c]) / std::sqrt(variance[c] + 0.0625) * scale[c] + shift[c]);
  }
  return out;
}

TEST(OnnxBatchNormalization, IsFoldedIntoTheConvolutionBeforeIt) {
  const Reals x = scattered(3 * 4 * 4, 3), w = scattered(2 * 3 * 3 * 3, 5), b{0.5, -1.0};
  OnnxModel model;
  model.input("x", {1, 3, 4, 4}).tensor("w", {2, 3, 3, 3}, w).tensor("b", {2}, b).output("y");
  model.node("Conv", {"x", "w", "b"}, "c", {integers("pads", {1, 1, 1, 1})});
  normalize(model, "c", "n").node("Relu", {"n"}, "y");

  const Network network = load(model);
  EXPECT_THAT(operators(network.graph), ElementsAre("Conv", "Relu"));
  const ConvolutionCase geometry{.name = "", .input = {3, 4, 4}, .weights = {2, 3, 3, 3}, .pads = {1, 1, 1, 1}};
  Reals expected = normalized(convolution(geometry, x, w, b), 16);
  for (double& value : expected) value = std::max(value, 0.0);
  expect_near(evaluate(model, x), expected);
}

TEST(OnnxBatchNormalization, IsFoldedIntoTheMatrixBeforeItEvenBehindAFlatten) {
  const Reals w = scattered(3 * 2, 5), x{1, 2, 3};
  OnnxModel model;
  model.input("x", {1, 3}).tensor("w", {3, 2}, w).node("MatMul", {"x", "w"}, "m").output("y");
  model.node("Unsqueeze", {"m"}, "u", {}).integer_list("axes", {2, 3});
  model.graph().mutable_node(1)->add_input("axes");
  normalize(model, "u", "n").node("Flatten", {"n"}, "y");

  EXPECT_THAT(operators(load(model).graph), ElementsAre("Gemm"));
  Reals sums(2);
  for (std::size_t o = 0; o < 2; ++o) {
    for (std::size_t i = 0; i < 3; ++i) sums[o] += w[i * 2 + o] * x[i];
  }
  expect_near(evaluate(model, x), normalized(sums, 1));
}

TEST(OnnxBatchNormalization, IsAScaleShiftWhereNoLayerCanTakeIt) {
  const Reals x = scattered(2 * 2 * 2, 3);
  OnnxModel first;
  first.input("x", {1, 2, 2, 2});
  normalize(first, "x", "n").show("n", 8);
  EXPECT_THAT(operators(load(first).graph), ElementsAre("ScaleShift", "Reshape", "Gemm"));
  expect_near(evaluate(first, x), normalized(x, 4));

  OnnxModel shared;  // the convolution's value is read twice
  shared.input("x", {1, 2, 2, 2}).tensor("w", {2, 2, 1, 1}, {1, 0, 0, 1}).node("Conv", {"x", "w"}, "c").output("y");
  normalize(shared, "c", "n").node("Add", {"n", "c"}, "y");
  EXPECT_THAT(operators(load(shared).graph), ElementsAre("Conv", "ScaleShift", "Add"));
  Reals expected = normalized(x, 4);
  for (std::size_t i = 0; i < x.size(); ++i) expected[i] += x[i];
  expect_near(evaluate(shared, x), expected);
}

TEST(OnnxBatchNormalization, WrongFormsAreRefused) {
  const auto with = [](const Attribute& attribute, const Reals& variance) {
    OnnxModel model(9);
    model.input("x", {1, 2, 2, 2}).tensor("s", {2}, {1, 1}).tensor("v", {std::ssize(variance)}, variance);
    model.node("BatchNormalization", {"x", "s", "s", "s", "v"}, "n", {attribute}).show("n", 8);
    return model;
  };
  EXPECT_THROW(load(with(integer("training_mode", 1), {1, 1})), core::UnsupportedOperator);
  EXPECT_THROW(load(with(integer("spatial", 0), {1, 1})), core::UnsupportedOperator);
  EXPECT_THROW(load(with(real("epsilon", 0.5F), {1, -1})), core::InputError);
  EXPECT_THROW(load(with(real("epsilon", 0.5F), {1, 1, 1})), core::InputError);
  EXPECT_NO_THROW(load(with(real("momentum", 0.5F), {1, 1})));
  OnnxModel statistics = with(real("momentum", 0.5F), {1, 1});
  statistics.graph().mutable_node(0)->add_output("running_mean");
  EXPECT_THROW(load(statistics), core::UnsupportedOperator) << "training mode before opset 14";
}

// ---- folding beyond BatchNormalization -----------------------------------------------------------------------------

TEST(OnnxFolding, AScaleAfterALayerLeavesItsWeightsAlone) {
  OnnxModel model;
  model.input("x", {1, 2}).tensor("w", {2, 2}, {1, 2, 3, 4}).tensor("s", {1}, {-2}).output("y");
  model.node("MatMul", {"x", "w"}, "m").node("Mul", {"m", "s"}, "y");

  EXPECT_THAT(operators(load(model).graph), ElementsAre("Gemm", "ScaleShift"));
  EXPECT_THAT(load(model).layers[0].weights, ElementsAre(1, 3, 2, 4));
  expect_near(evaluate(model, {1, 1}), {-8, -12});
}

TEST(OnnxFolding, AConvolutionTakesScalarsAndChannelsButNotElements) {
  const auto with = [](const Integers& dims) {
    OnnxModel model;
    model.input("x", {1, 1, 2, 2}).tensor("w", {2, 1, 1, 1}, {1, 2}).tensor("b", dims, ramp(product(dims)));
    return model.node("Conv", {"x", "w"}, "c").node("Add", {"c", "b"}, "y").output("y");
  };
  EXPECT_THAT(operators(load(with({2, 1, 1})).graph), ElementsAre("Conv"));
  EXPECT_THAT(operators(load(with({1})).graph), ElementsAre("Conv"));
  EXPECT_THAT(operators(load(with({2})).graph), ElementsAre("Conv", "ScaleShift")) << "two columns, not two channels";
  EXPECT_THAT(operators(load(with({2, 2, 2})).graph), ElementsAre("Conv", "ScaleShift"));
  expect_near(evaluate(with({2}), {1, 2, 3, 4}), {1.25, 2.5, 3.25, 4.5, 2.25, 4.5, 6.25, 8.5});
  expect_near(evaluate(with({2, 1, 1}), {1, 2, 3, 4}), {1.25, 2.25, 3.25, 4.25, 2.5, 4.5, 6.5, 8.5});
}

}  // namespace
}  // namespace quantbound::network
