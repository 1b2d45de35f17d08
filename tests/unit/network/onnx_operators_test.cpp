// Every ONNX operator besides the weight layers: its values, its forms in the opsets 7 to 18, and what is left of it in
// the graph.
#include <algorithm>
#include <cmath>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"

#include "onnx_model.hpp"

namespace quantbound::network {
namespace {

using namespace testing;  // NOLINT: the helpers of this directory
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Reals mapped(Reals values, const std::function<double(double)>& function) {
  std::transform(values.begin(), values.end(), values.begin(), function);
  return values;
}

/// f(x) of one operator on a flat input of 8 numbers from -2 to 2.
const Reals eight{-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 1.5, 2.0};
OnnxModel on_eight(const std::string& op, const std::vector<Attribute>& attributes, std::int64_t opset = 13) {
  OnnxModel model(opset);
  return model.input("x", {1, 8}).node(op, {"x"}, "y", attributes).show("y", 8);
}

// ---- activations ---------------------------------------------------------------------------------------------------

TEST(OnnxActivations, FollowTheirDefinitions) {
  const auto logistic = [](double x) { return 1.0 / (1.0 + std::exp(-x)); };
  const auto hard = [](double alpha, double beta) {
    return [=](double x) { return std::clamp(alpha * x + beta, 0.0, 1.0); };
  };
  const double tenth = static_cast<double>(0.01F), fifth = static_cast<double>(0.2F);
  expect_near(evaluate(on_eight("Relu", {}), eight), mapped(eight, [](double x) { return std::max(x, 0.0); }));
  expect_near(evaluate(on_eight("Sigmoid", {}), eight), mapped(eight, logistic));
  expect_near(evaluate(on_eight("Tanh", {}), eight), mapped(eight, [](double x) { return std::tanh(x); }));
  expect_near(evaluate(on_eight("LeakyRelu", {real("alpha", 0.125F)}), eight),
              mapped(eight, [](double x) { return x < 0 ? 0.125 * x : x; }));
  expect_near(evaluate(on_eight("LeakyRelu", {}), eight),
              mapped(eight, [&](double x) { return x < 0 ? tenth * x : x; }));
  expect_near(evaluate(on_eight("HardSigmoid", {real("alpha", 0.5F), real("beta", 0.25F)}), eight),
              mapped(eight, hard(0.5, 0.25)));
  expect_near(evaluate(on_eight("HardSigmoid", {}), eight), mapped(eight, hard(fifth, 0.5)));
  expect_near(evaluate(on_eight("HardSwish", {}, 14), eight),
              mapped(eight, [](double x) { return x * std::clamp(x / 6.0 + 0.5, 0.0, 1.0); }));
}

TEST(OnnxActivations, SlopesThatBreakMonotonyAreRefused) {
  EXPECT_THROW(load(on_eight("LeakyRelu", {real("alpha", -0.5F)})), core::InputError);
  EXPECT_THROW(load(on_eight("HardSigmoid", {real("alpha", -0.5F)})), core::InputError);
}

TEST(OnnxClip, BoundsAreAttributesUpToOpset10) {
  for (const std::int64_t opset : {7, 10}) {
    const auto both = on_eight("Clip", {real("min", -0.75F), real("max", 1.25F)}, opset);
    expect_near(evaluate(both, eight), mapped(eight, [](double x) { return std::clamp(x, -0.75, 1.25); }));
    const auto high = on_eight("Clip", {real("max", 1.25F)}, opset);
    expect_near(evaluate(high, eight), mapped(eight, [](double x) { return std::min(x, 1.25); }));
  }
  EXPECT_THROW(load(on_eight("Clip", {real("min", 0.0F)}, 11)), core::InputError);
}

TEST(OnnxClip, BoundsAreOptionalInputsSinceOpset11) {
  const auto with = [](const std::vector<std::string>& inputs) {
    OnnxModel model(11);
    return model.input("x", {1, 8})
        .tensor("low", {}, {-0.75})
        .tensor("high", {1}, {1.25})
        .node("Clip", inputs, "y")
        .show("y", 8);
  };
  expect_near(evaluate(with({"x", "low", "high"}), eight),
              mapped(eight, [](double x) { return std::clamp(x, -0.75, 1.25); }));
  expect_near(evaluate(with({"x", "", "high"}), eight), mapped(eight, [](double x) { return std::min(x, 1.25); }));
  expect_near(evaluate(with({"x", "low"}), eight), mapped(eight, [](double x) { return std::max(x, -0.75); }));
  EXPECT_THAT(operators(load(with({"x"})).graph), ElementsAre("Gemm")) << "no bounds: nothing is left";
  OnnxModel old(9);
  old.input("x", {1, 8}).tensor("low", {}, {-0.75}).node("Clip", {"x", "low"}, "y").show("y", 8);
  EXPECT_THROW(load(old), core::InputError);
}

TEST(OnnxClip, BelowAtZeroAloneIsRelu) {
  EXPECT_THAT(operators(load(on_eight("Clip", {real("min", 0.0F)}, 9)).graph), ElementsAre("Relu", "Gemm"));
  EXPECT_THROW(load(on_eight("Clip", {real("min", 1.0F), real("max", 0.0F)}, 9)), core::InputError);
}

// ---- arithmetic ----------------------------------------------------------------------------------------------------

TEST(OnnxArithmetic, WithConstantsIsAScaleShiftInEitherOrder) {
  const Reals x{1, 2, 3, 4};
  const auto with = [](const std::string& op, const std::vector<std::string>& inputs) {
    OnnxModel model;
    return model.input("x", {1, 2, 2}).tensor("c", {2, 1}, {2, 4}).node(op, inputs, "y").show("y", 4);
  };
  expect_near(evaluate(with("Add", {"x", "c"}), x), {3, 4, 7, 8});
  expect_near(evaluate(with("Add", {"c", "x"}), x), {3, 4, 7, 8});
  expect_near(evaluate(with("Sub", {"x", "c"}), x), {-1, 0, -1, 0});
  expect_near(evaluate(with("Sub", {"c", "x"}), x), {1, 0, 1, 0});
  expect_near(evaluate(with("Mul", {"x", "c"}), x), {2, 4, 12, 16});
  expect_near(evaluate(with("Mul", {"c", "x"}), x), {2, 4, 12, 16});
  expect_near(evaluate(with("Div", {"x", "c"}), x), {0.5, 1, 0.75, 1});
  EXPECT_THROW(load(with("Div", {"c", "x"})), core::UnsupportedOperator);
  for (const std::string& op : std::vector<std::string>{"Add", "Sub", "Mul", "Div"}) {
    EXPECT_THAT(operators(load(with(op, {"x", "c"})).graph), ElementsAre("ScaleShift", "Reshape", "Gemm")) << op;
  }
}

TEST(OnnxArithmetic, ConstantsAreStoredAsShortAsTheyCanBe) {
  const auto size_of = [](const Integers& dims, const Reals& values) {
    OnnxModel model;
    model.input("x", {1, 2, 2, 3}).tensor("c", dims, values).node("Add", {"x", "c"}, "y").show("y", 12);
    return std::get<ScaleShift>(load(model).graph.nodes[1].op).shift.size();
  };
  EXPECT_EQ(size_of({}, {2}), 1U);
  EXPECT_EQ(size_of({2, 1, 1}, {2, 2}), 1U);
  EXPECT_EQ(size_of({2, 1, 1}, {2, 3}), 2U);
  EXPECT_EQ(size_of({1, 2, 1, 1}, {2, 3}), 2U);
  EXPECT_EQ(size_of({3}, {2, 3, 4}), 12U);
  EXPECT_EQ(size_of({2, 2, 3}, {2, 2, 2, 2, 2, 2, 5, 5, 5, 5, 5, 5}), 2U);
}

TEST(OnnxArithmetic, WhatChangesNothingLeavesNothing) {
  OnnxModel model;
  model.input("x", {1, 2}).tensor("zero", {2}, {0, 0}).tensor("one", {}, {1});
  model.node("Sub", {"x", "zero"}, "a").node("Div", {"a", "one"}, "b").node("Identity", {"b"}, "c").show("c", 2);
  EXPECT_THAT(operators(load(model).graph), ElementsAre("Gemm"));
}

TEST(OnnxArithmetic, ConstantsThatEnlargeOrDivideByZeroAreRefused) {
  const auto with = [](const std::string& op, const Integers& dims, const Reals& values) {
    OnnxModel model;
    return model.input("x", {1, 2}).tensor("c", dims, values).node(op, {"x", "c"}, "y").show("y", 2);
  };
  EXPECT_THROW(load(with("Add", {3, 2}, ramp(6))), core::UnsupportedOperator);
  EXPECT_THROW(load(with("Add", {1, 1, 2}, ramp(2))), core::UnsupportedOperator);
  EXPECT_THROW(load(with("Add", {3}, ramp(3))), core::UnsupportedOperator);
  EXPECT_THROW(load(with("Div", {2}, {1, 0})), core::InputError);
  EXPECT_THROW(load(with("Mul", {2}, {1, std::nan("")})), core::InputError);
}

TEST(OnnxArithmetic, ValuesAddSubtractAndMultiply) {
  const Reals x{1, 2, 3, 4};
  const auto with = [](const std::string& op) {
    OnnxModel model;
    model.input("x", {1, 4}).node("Tanh", {"x"}, "t");
    return model.node(op, {"x", "t"}, "y").show("y", 4);
  };
  expect_near(evaluate(with("Add"), x), mapped(x, [](double v) { return v + std::tanh(v); }));
  expect_near(evaluate(with("Sub"), x), mapped(x, [](double v) { return v - std::tanh(v); }));
  expect_near(evaluate(with("Mul"), x), mapped(x, [](double v) { return v * std::tanh(v); }));
  EXPECT_THROW(load(with("Div")), core::UnsupportedOperator);
}

TEST(OnnxArithmetic, OneFactorPerChannelIsBroadcastInEitherOrder) {
  const Reals x = scattered(2 * 2 * 3, 3);
  for (const bool gate_first : {false, true}) {
    OnnxModel model;
    model.input("x", {1, 2, 2, 3}).node("GlobalAveragePool", {"x"}, "g");
    model.node("Mul", gate_first ? std::vector<std::string>{"g", "x"} : std::vector<std::string>{"x", "g"}, "y")
        .show("y", 12);
    Reals expected = x;
    for (std::size_t c = 0; c < 2; ++c) {
      double mean = 0.0;
      for (std::size_t i = 0; i < 6; ++i) mean += x[c * 6 + i] / 6.0;
      for (std::size_t i = 0; i < 6; ++i) expected[c * 6 + i] *= mean;
    }
    expect_near(evaluate(model, x), expected);
  }
}

TEST(OnnxArithmetic, OneFactorPerChannelOfASequence) {
  OnnxModel model;
  model.input("x", {1, 2, 3}).node("GlobalAveragePool", {"x"}, "g").node("Mul", {"x", "g"}, "y").show("y", 6);
  expect_near(evaluate(model, {1, 2, 3, 4, 5, 6}), {2, 4, 6, 20, 25, 30});
}

TEST(OnnxArithmetic, OtherBroadcastsOfValuesAreRefused) {
  const auto with = [](const std::string& op) {
    OnnxModel model;
    model.input("x", {1, 2, 2, 3}).node("ReduceMean", {"x"}, "g", {integers("axes", {1})});
    return model.node(op, {"x", "g"}, "y").show("y", 12);
  };
  EXPECT_THROW(load(with("Add")), core::UnsupportedOperator);
  EXPECT_THROW(load(with("Mul")), core::UnsupportedOperator);
}

TEST(OnnxArithmetic, HardSwishWrittenOutIsTheOperator) {
  OnnxModel model(9);
  model.input("x", {1, 8}).tensor("three", {}, {3}).tensor("six", {}, {6});
  model.node("Add", {"x", "three"}, "a").node("Clip", {"a"}, "c", {real("min", 0.0F), real("max", 6.0F)});
  model.node("Mul", {"x", "c"}, "m").node("Div", {"m", "six"}, "y").show("y", 8);
  const Reals x{-4, -3, -2, -0.5, 0.5, 2, 3, 5};
  expect_near(evaluate(model, x), evaluate(on_eight("HardSwish", {}, 14), x));
  EXPECT_THAT(operators(load(model).graph), ElementsAre("ScaleShift", "Clip", "Mul", "ScaleShift", "Gemm"));
}

// ---- pools ---------------------------------------------------------------------------------------------------------

struct PoolCase {
  std::string name;
  std::vector<Attribute> attributes = {};
  Integers kernel{2, 2}, strides{1, 1}, dilations{1, 1}, pads{0, 0, 0, 0};
  Integers out;  ///< rows, columns
};

/// Loops over the definition on one channel of 4 x 5; `combine` gets what lies inside a window.
Reals pooled(const PoolCase& c, const Reals& x, const std::function<double(const Reals&)>& combine) {
  Reals out;
  for (std::int64_t i = 0; i < c.out[0] * c.out[1]; ++i) {
    Reals inside;
    for (std::int64_t k = 0; k < c.kernel[0] * c.kernel[1]; ++k) {
      const std::int64_t y = i / c.out[1] * c.strides[0] - c.pads[0] + k / c.kernel[1] * c.dilations[0];
      const std::int64_t z = i % c.out[1] * c.strides[1] - c.pads[1] + k % c.kernel[1] * c.dilations[1];
      if (y >= 0 && y < 4 && z >= 0 && z < 5) inside.push_back(x[static_cast<std::size_t>(y * 5 + z)]);
    }
    out.push_back(combine(inside));
  }
  return out;
}

double largest(const Reals& values) { return *std::max_element(values.begin(), values.end()); }
double sum(const Reals& values) {
  double total = 0.0;
  for (const double value : values) total += value;
  return total;
}
double mean(const Reals& values) { return sum(values) / static_cast<double>(values.size()); }

OnnxModel pool_model(const std::string& op, PoolCase c) {
  c.attributes.push_back(integers("kernel_shape", c.kernel));
  OnnxModel model;
  return model.input("x", {1, 1, 4, 5}).node(op, {"x"}, "y", c.attributes).show("y", c.out[0] * c.out[1]);
}

TEST(OnnxPools, FollowTheirDefinitions) {
  const Reals x = scattered(20, 3);
  const std::vector<PoolCase> cases{
      {.name = "plain", .out = {3, 4}},
      {.name = "strides", .attributes = {integers("strides", {2, 3})}, .strides = {2, 3}, .out = {2, 2}},
      {.name = "pads", .attributes = {integers("pads", {1, 0, 0, 1})}, .pads = {1, 0, 0, 1}, .out = {4, 5}},
      {.name = "ceil_mode",
       .attributes = {integers("strides", {2, 2}), integer("ceil_mode", 1)},
       .strides = {2, 2},
       .out = {2, 3}},
      {.name = "auto_pad", .attributes = {text("auto_pad", "SAME_UPPER")}, .out = {4, 5}},
      {.name = "auto_pad below", .attributes = {text("auto_pad", "SAME_LOWER")}, .pads = {1, 1, 0, 0}, .out = {4, 5}},
  };
  for (const PoolCase& c : cases) {
    SCOPED_TRACE(c.name);
    expect_near(evaluate(pool_model("MaxPool", c), x), pooled(c, x, largest));
    expect_near(evaluate(pool_model("AveragePool", c), x), pooled(c, x, mean));
  }
  const PoolCase dilated{
      .name = "dilated", .attributes = {integers("dilations", {2, 3})}, .dilations = {2, 3}, .out = {2, 2}};
  expect_near(evaluate(pool_model("MaxPool", dilated), x), pooled(dilated, x, largest));
}

TEST(OnnxPools, PadsCountInTheAverageWhereAsked) {
  const Reals x = scattered(20, 3);
  const PoolCase c{.name = "",
                   .attributes = {integers("pads", {1, 1, 1, 1}), integer("count_include_pad", 1)},
                   .pads = {1, 1, 1, 1},
                   .out = {5, 6}};
  expect_near(evaluate(pool_model("AveragePool", c), x), pooled(c, x, [](const Reals& v) { return sum(v) / 4.0; }));
}

TEST(OnnxPools, SequencesAreImagesOfHeightOne) {
  OnnxModel model;
  model.input("x", {1, 2, 4}).node("MaxPool", {"x"}, "m", {integers("kernel_shape", {2}), integers("strides", {2})});
  model.node("GlobalAveragePool", {"m"}, "y").show("y", 2);
  expect_near(evaluate(model, {1, 3, 2, 4, 8, 5, 6, 7}), {3.5, 7.5});
}

TEST(OnnxPools, FormsWithoutAMeaningHereAreRefused) {
  const auto with = [](const std::string& op, const std::vector<Attribute>& attributes) {
    return pool_model(op, {.name = "", .attributes = attributes, .out = {1, 1}});
  };
  EXPECT_THROW(load(with("MaxPool", {integers("pads", {2, 0, 0, 0})})), core::InputError) << "a window of pads alone";
  EXPECT_THROW(load(with("MaxPool", {integers("strides", {0, 1})})), core::InputError);
  EXPECT_THROW(load(with("MaxPool", {integers("strides", {1})})), core::InputError);
  EXPECT_THROW(load(with("MaxPool", {text("auto_pad", "SAME")})), core::InputError);
  EXPECT_THROW(load(with("MaxPool", {text("auto_pad", "VALID"), integers("pads", {1, 0, 0, 0})})), core::InputError);
  EXPECT_THROW(load(with("AveragePool", {integer("p", 2)})), core::UnsupportedOperator);
  EXPECT_THROW(load(with("AveragePool",
                         {integers("strides", {2, 2}), integer("ceil_mode", 1), integer("count_include_pad", 1)})),
               core::UnsupportedOperator);
}

TEST(OnnxReduceMean, AveragesOverAnyAxesButTheBatch) {
  const Reals x = ramp(2 * 2 * 3, 1, 1);
  const auto with = [](std::int64_t opset, const Integers& axes, std::int64_t keeps, std::int64_t left) {
    OnnxModel model(opset);
    model.input("x", {1, 2, 2, 3});
    const Attribute keep = integer("keepdims", keeps);
    if (opset < 18) model.node("ReduceMean", {"x"}, "y", {keep, integers("axes", axes)});
    if (opset >= 18) model.integer_list("axes", axes).node("ReduceMean", {"x", "axes"}, "y", {keep});
    return model.show("y", left);
  };
  for (const std::int64_t opset : {9, 18}) {
    for (const std::int64_t keeps : {0, 1}) {
      expect_near(evaluate(with(opset, {2, 3}, keeps, 2), x), {3.5, 9.5});
      expect_near(evaluate(with(opset, {-1, -2}, keeps, 2), x), {3.5, 9.5});
      expect_near(evaluate(with(opset, {3}, keeps, 4), x), {2, 5, 8, 11});
      expect_near(evaluate(with(opset, {1, 2}, keeps, 3), x), {5.5, 6.5, 7.5});  // channels last
    }
  }
  EXPECT_THAT(operators(load(with(13, {2, 3}, 0, 2)).graph), ElementsAre("GlobalAveragePool", "Reshape", "Gemm"));
  EXPECT_THROW(load(with(13, {0, 1}, 1, 6)), core::UnsupportedOperator);
}

// ---- layout --------------------------------------------------------------------------------------------------------

TEST(OnnxLayout, ReshapesLeaveOneNodeWhereItIsNeeded) {
  OnnxModel model;
  model.input("x", {-1, 2, 3}).integer_list("a", {0, 3, -1}).integer_list("b", {-1, 6}).integer_list("axes", {1});
  model.node("Reshape", {"x", "a"}, "r").node("Unsqueeze", {"r", "axes"}, "u").node("Squeeze", {"u", "axes"}, "s");
  model.node("Reshape", {"s", "b"}, "f").tensor("w", {6, 1}, ramp(6)).node("MatMul", {"f", "w"}, "y").output("y");

  EXPECT_THAT(operators(load(model).graph), ElementsAre("Reshape", "Gemm"));
  EXPECT_EQ(load(model).graph.output_shape(), Shape{1});
}

TEST(OnnxLayout, AxesOfSqueezeAndUnsqueezeAreAttributesUpToOpset12) {
  OnnxModel model(11);
  model.input("x", {1, 1, 4}).node("Squeeze", {"x"}, "s", {integers("axes", {1})});
  model.node("Unsqueeze", {"s"}, "u", {integers("axes", {1, -1})}).node("GlobalAveragePool", {"u"}, "g").show("g", 1);
  expect_near(evaluate(model, {1, 2, 3, 6}), {3});

  OnnxModel modern(13);
  modern.input("x", {1, 1, 4}).node("Squeeze", {"x"}, "s", {integers("axes", {1})}).show("s", 4);
  EXPECT_THROW(load(modern), core::InputError);
}

TEST(OnnxLayout, FlattenTakesAnyAxisThatKeepsTheBatch) {
  for (const std::int64_t axis : {1, -2}) {
    OnnxModel model(11);
    model.input("x", {-1, 2, 3}).node("Flatten", {"x"}, "y", {integer("axis", axis)}).show("y", 6);
    expect_near(evaluate(model, ramp(6)), ramp(6));
  }
}

TEST(OnnxLayout, TransposeMovesElementsOnlyWhereItMust) {
  OnnxModel model;
  model.input("x", {-1, 2, 3}).node("Transpose", {"x"}, "y", {integers("perm", {0, 2, 1})}).show("y", 6);
  expect_near(evaluate(model, {1, 2, 3, 4, 5, 6}), {1, 4, 2, 5, 3, 6});

  OnnxModel free;
  free.input("x", {-1, 1, 1, 6}).node("Transpose", {"x"}, "y", {integers("perm", {0, 3, 1, 2})}).show("y", 6);
  EXPECT_THAT(operators(load(free).graph), ElementsAre("Reshape", "Gemm"));
}

TEST(OnnxLayout, MovingTheBatchAxisIsRefused) {
  const auto with = [](const std::string& op, const std::vector<Attribute>& attributes, std::int64_t batch) {
    OnnxModel model(11);
    return model.input("x", {batch, 1, 4}).node(op, {"x"}, "y", attributes).show("y", 4);
  };
  for (const std::int64_t batch : {-1, 1}) {
    EXPECT_THROW(load(with("Transpose", {integers("perm", {1, 0, 2})}, batch)), core::UnsupportedOperator);
    EXPECT_THROW(load(with("Transpose", {}, batch)), core::UnsupportedOperator);
    EXPECT_THROW(load(with("Flatten", {integer("axis", 0)}, batch)), core::UnsupportedOperator);
    EXPECT_THROW(load(with("Squeeze", {integers("axes", {0})}, batch)), core::UnsupportedOperator);
    EXPECT_THROW(load(with("Squeeze", {}, batch)), core::UnsupportedOperator);
    EXPECT_THROW(load(with("Unsqueeze", {integers("axes", {0})}, batch)), core::UnsupportedOperator);
    EXPECT_THROW(load(with("ReduceMean", {integers("axes", {0})}, batch)), core::UnsupportedOperator);
    OnnxModel reshape;
    reshape.input("x", {batch, 1, 4}).integer_list("s", {4, 1}).node("Reshape", {"x", "s"}, "y").show("y", 4);
    EXPECT_THROW(load(reshape), core::UnsupportedOperator);
  }
}

TEST(OnnxLayout, ReshapesThatDoNotFitAreErrors) {
  const auto with = [](const Integers& shape) {
    OnnxModel model;
    return model.input("x", {1, 6}).integer_list("s", shape).node("Reshape", {"x", "s"}, "y").show("y", 6);
  };
  for (const Integers& shape :
       {Integers{1, 5}, Integers{1, -1, -1}, Integers{1, -1, 4}, Integers{1, -2}, Integers{0, 0, 0}, Integers{1, 0, 6},
        Integers{1, INT64_MAX, INT64_MAX}, Integers{1, 0}}) {
    if (shape == Integers{1, 0}) {
      EXPECT_NO_THROW(load(with(shape))) << "0 copies";
    } else {
      EXPECT_THROW(load(with(shape)), core::InputError);
    }
  }
}

TEST(OnnxConcat, JoinsAlongAnyAxisButTheBatch) {
  const auto with = [](std::int64_t axis, std::int64_t elements) {
    OnnxModel model;
    model.input("x", {1, 2, 2}).node("Tanh", {"x"}, "t");
    return model.node("Concat", {"x", "t"}, "y", {integer("axis", axis)}).show("y", elements);
  };
  const auto t = [](double x) { return std::tanh(x); };
  expect_near(evaluate(with(1, 8), {1, 2, 3, 4}), {1, 2, 3, 4, t(1), t(2), t(3), t(4)});
  expect_near(evaluate(with(2, 8), {1, 2, 3, 4}), {1, 2, t(1), t(2), 3, 4, t(3), t(4)});
  expect_near(evaluate(with(-1, 8), {1, 2, 3, 4}), {1, 2, t(1), t(2), 3, 4, t(3), t(4)});
  EXPECT_THROW(load(with(0, 8)), core::UnsupportedOperator);
  EXPECT_THROW(load(with(3, 8)), core::InputError);
}

TEST(OnnxPad, PadsAreAnAttributeThenInputs) {
  const auto check = [&](OnnxModel model, double value) {
    Reals wanted{value, value, value, 1, 2, value, 3, 4, value};
    expect_near(evaluate(model.show("y", 9), {1, 2, 3, 4}), wanted);
  };
  OnnxModel old(10);
  check(old.input("x", {1, 2, 2}).node("Pad", {"x"}, "y", {integers("pads", {0, 1, 0, 0, 0, 1}), real("value", 7.0F)}),
        7);
  OnnxModel modern(13);
  check(modern.input("x", {1, 2, 2})
            .integer_list("p", {0, 1, 0, 0, 0, 1})
            .tensor("v", {}, {7})
            .node("Pad", {"x", "p", "v"}, "y", {text("mode", "constant")}),
        7);
  OnnxModel plain(13);
  check(plain.input("x", {1, 2, 2}).integer_list("p", {0, 1, 0, 0, 0, 1}).node("Pad", {"x", "p"}, "y"), 0);
  OnnxModel axes(18);
  check(axes.input("x", {1, 2, 2})
            .integer_list("p", {1, 0, 0, 1})
            .integer_list("a", {1, -1})
            .node("Pad", {"x", "p", "", "a"}, "y"),
        0);
}

TEST(OnnxPad, NegativePadsCutOff) {
  OnnxModel model;
  model.input("x", {1, 2, 3}).integer_list("p", {0, 0, -1, 0, 1, 0}).node("Pad", {"x", "p"}, "y").show("y", 6);
  expect_near(evaluate(model, {1, 2, 3, 4, 5, 6}), {2, 3, 5, 6, 0, 0});
}

TEST(OnnxPad, OtherModesAndTheBatchAreRefused) {
  const auto with = [](const Integers& pads, const std::string& mode) {
    OnnxModel model;
    return model.input("x", {1, 2, 3})
        .integer_list("p", pads)
        .node("Pad", {"x", "p"}, "y", {text("mode", mode)})
        .show("y", 6);
  };
  EXPECT_THROW(load(with({0, 0, 1, 0, 0, 0}, "reflect")), core::UnsupportedOperator);
  EXPECT_THROW(load(with({1, 0, 0, 0, 0, 0}, "constant")), core::UnsupportedOperator);
  EXPECT_THROW(load(with({0, 0, 1}, "constant")), core::InputError);
  EXPECT_THROW(load(with({0, 0, -3, 0, 0, 0}, "constant")), core::InputError);
  EXPECT_THAT(operators(load(with({0, 0, 0, 0, 0, 0}, "constant")).graph), ElementsAre("Reshape", "Gemm"));
}

TEST(OnnxSlice, BoundsAreAttributesThenInputs) {
  OnnxModel old(9);
  old.input("x", {1, 2, 4})
      .node("Slice", {"x"}, "y", {integers("starts", {1}), integers("ends", {3}), integers("axes", {2})})
      .show("y", 4);
  expect_near(evaluate(old, ramp(8, 1, 1)), {2, 3, 6, 7});

  OnnxModel modern(13);
  modern.input("x", {1, 2, 4}).integer_list("s", {1}).integer_list("e", {3}).integer_list("a", {2});
  modern.node("Slice", {"x", "s", "e", "a"}, "y").show("y", 4);
  expect_near(evaluate(modern, ramp(8, 1, 1)), {2, 3, 6, 7});
}

TEST(OnnxSlice, StepsAndBoundsBeyondTheEndsFollowNumpy) {
  struct Case {
    std::int64_t start, end, step;
    Reals expected;  // of 1 2 3 4 5
  };
  const std::vector<Case> cases{{0, INT64_MAX, 2, {1, 3, 5}}, {-2, INT64_MAX, 1, {4, 5}},
                                {1, -1, 1, {2, 3, 4}},        {INT64_MAX, INT64_MIN, -1, {5, 4, 3, 2, 1}},
                                {-1, -4, -2, {5, 3}},         {3, 0, -1, {4, 3, 2}},
                                {INT64_MIN, 2, 1, {1, 2}},    {4, 99, 3, {5}}};
  for (const Case& c : cases) {
    OnnxModel model;
    model.input("x", {1, 5})
        .integer_list("s", {c.start})
        .integer_list("e", {c.end})
        .integer_list("a", {1})
        .integer_list("t", {c.step});
    model.node("Slice", {"x", "s", "e", "a", "t"}, "y").show("y", std::ssize(c.expected));
    expect_near(evaluate(model, {1, 2, 3, 4, 5}), c.expected);
  }
}

TEST(OnnxSlice, NothingLeftOrTheBatchCutIsAnError) {
  const auto with = [](std::int64_t axis, std::int64_t start, std::int64_t step) {
    OnnxModel model;
    model.input("x", {1, 5})
        .integer_list("s", {start})
        .integer_list("e", {INT64_MAX})
        .integer_list("a", {axis})
        .integer_list("t", {step});
    return model.node("Slice", {"x", "s", "e", "a", "t"}, "y").show("y", 5);
  };
  EXPECT_THROW(load(with(1, 5, 1)), core::InputError);
  EXPECT_THROW(load(with(1, 0, 0)), core::InputError);
  EXPECT_THROW(load(with(0, 1, 1)), core::UnsupportedOperator);
  EXPECT_THAT(operators(load(with(0, 0, 1)).graph), ElementsAre("Gemm")) << "all of the batch";
}

TEST(OnnxPassing, DropoutIdentityAndCastLeaveNothing) {
  OnnxModel model(12);
  model.input("x", {1, 3}).tensor("ratio", {}, {0.5}).node("Dropout", {"x", "ratio"}, "d").node("Identity", {"d"}, "i");
  model.node("Cast", {"i"}, "c", {integer("to", ::onnx::TensorProto::DOUBLE)}).show("c", 3);
  EXPECT_THAT(operators(load(model).graph), ElementsAre("Gemm"));

  OnnxModel cut;
  cut.input("x", {1, 3}).node("Cast", {"x"}, "c", {integer("to", ::onnx::TensorProto::INT64)}).show("c", 3);
  EXPECT_THROW(load(cut), core::UnsupportedOperator);
}

// ---- constants -----------------------------------------------------------------------------------------------------

TEST(OnnxConstants, ComeFromNodesToo) {
  OnnxModel model;
  model.input("x", {1, 2}).node("Constant", {}, "c", {real("value_float", 2.5F)});
  model.node("Constant", {}, "s", {integers("value_ints", {1, 2})}).node("Mul", {"x", "c"}, "m");
  model.node("Reshape", {"m", "s"}, "y").show("y", 2);
  expect_near(evaluate(model, {1, 2}), {2.5, 5});

  OnnxModel list;
  list.input("x", {1, 2})
      .node("Constant", {}, "c", {integer("value_int", 3)})
      .node("Mul", {"x", "c"}, "y")
      .show("y", 2);
  expect_near(evaluate(list, {1, 2}), {3, 6});
}

TEST(OnnxConstants, ShapesAreComputedWhenTheFileIsRead) {
  // What PyTorch writes for x.view(x.size(0), -1): Shape, Gather, Unsqueeze, Concat.
  OnnxModel model(11);
  model.input("x", {-1, 2, 3})
      .node("Tanh", {"x"}, "t")
      .node("Shape", {"t"}, "s")
      .node("Constant", {}, "zero", {integer("value_int", 0)});
  model.node("Gather", {"s", "zero"}, "n").node("Unsqueeze", {"n"}, "u", {integers("axes", {0})});
  model.node("Constant", {}, "rest", {integers("value_ints", {-1})})
      .node("Concat", {"u", "rest"}, "shape", {integer("axis", 0)});
  model.node("Reshape", {"t", "shape"}, "y").show("y", 6);
  expect_near(evaluate(model, ramp(6)), mapped(ramp(6), [](double x) { return std::tanh(x); }));
}

TEST(OnnxConstants, PadsOfPyTorchAreComputedWhenTheFileIsRead) {
  // torch.nn.functional.pad: zeros appended to the pads, reshaped, reversed, transposed, flattened, cast.
  OnnxModel model(11);
  model.input("x", {1, 1, 2, 2})
      .integer_list("pads", {1, 0, 0, 1})
      .integer_list("four", {4})
      .integer_list("shape", {-1, 2});
  model.integer_list("start", {-1})
      .integer_list("end", {INT64_MIN})
      .integer_list("axis", {0})
      .integer_list("step", {-1})
      .integer_list("flat", {-1});
  model.node("ConstantOfShape", {"four"}, "zeros").node("Cast", {"zeros"}, "zero", {integer("to", 7)});
  model.node("Concat", {"pads", "zero"}, "all", {integer("axis", 0)}).node("Reshape", {"all", "shape"}, "pairs");
  model.node("Slice", {"pairs", "start", "end", "axis", "step"}, "reversed")
      .node("Transpose", {"reversed"}, "t", {integers("perm", {1, 0})});
  model.node("Reshape", {"t", "flat"}, "list")
      .node("Cast", {"list"}, "p", {integer("to", 7)})
      .node("Pad", {"x", "p"}, "y")
      .show("y", 9);
  expect_near(evaluate(model, {1, 2, 3, 4}), {0, 1, 2, 0, 3, 4, 0, 0, 0});
}

TEST(OnnxConstants, WeightsMayBeComputedFromConstants) {
  OnnxModel model;
  model.input("x", {1, 2}).tensor("w", {3, 2}, {1, 2, 3, 4, 5, 6}).tensor("two", {1}, {2}).tensor("c", {2, 1}, {1, 1});
  model.node("Transpose", {"w"}, "t").node("Div", {"t", "two"}, "h").node("Sub", {"h", "c"}, "v");
  model.node("MatMul", {"x", "v"}, "y").output("y");
  expect_near(evaluate(model, {2, 4}), {2 * -0.5 + 4 * 0, 2 * 0.5 + 4 * 1, 2 * 1.5 + 4 * 2});
}

TEST(OnnxConstants, IntegerArithmeticIsIntegerArithmetic) {
  OnnxModel model;
  model.input("x", {1, 6}).node("Shape", {"x"}, "s", {}).integer_list("four", {4}).integer_list("one", {1});
  model.node("Gather", {"s", "one"}, "six")
      .node("Div", {"six", "four"}, "rows")
      .node("Concat", {"one", "rows", "six"}, "shape", {integer("axis", 0)});
  model.node("Reshape", {"x", "shape"}, "y").show("y", 6);
  expect_near(evaluate(model, ramp(6)), ramp(6));

  OnnxModel zero;
  zero.input("x", {1, 6})
      .integer_list("a", {4})
      .integer_list("b", {0})
      .node("Div", {"a", "b"}, "c")
      .node("Reshape", {"x", "c"}, "y")
      .show("y", 6);
  EXPECT_THROW(load(zero), core::InputError);
}

TEST(OnnxConstants, ShapeTakesAPartSinceOpset15) {
  OnnxModel model(15);
  model.input("x", {1, 2, 3})
      .node("Shape", {"x"}, "s", {integer("start", -1)})
      .node("Shape", {"x"}, "n", {integer("end", 1)});
  model.integer_list("two", {2}).node("Concat", {"n", "s", "two"}, "shape", {integer("axis", 0)});
  model.node("Reshape", {"x", "shape"}, "y").show("y", 6);
  EXPECT_EQ(load(model).graph.output_shape(), Shape{6});
}

// ---- Softmax -------------------------------------------------------------------------------------------------------

TEST(OnnxSoftmax, IsLeftOutAtTheEndAndNoted) {
  for (const std::string& op : std::vector<std::string>{"Softmax", "LogSoftmax"}) {
    OnnxModel model;
    model.input("x", {1, 2})
        .tensor("w", {2, 2}, {1, 2, 3, 4})
        .node("Gemm", {"x", "w"}, "g")
        .node(op, {"g"}, "p", {integer("axis", 1)});
    model.integer_list("s", {-1, 2}).node("Reshape", {"p", "s"}, "y").output("y");
    const Network network = load(model);
    EXPECT_THAT(operators(network.graph), ElementsAre("Gemm"));
    ASSERT_EQ(network.notes.size(), 1U);
    EXPECT_THAT(network.notes[0], HasSubstr("final " + op + " '" + op + "_p' ignored"));
  }
}

TEST(OnnxSoftmax, AnywhereElseItIsRefused) {
  OnnxModel inside;
  inside.input("x", {1, 2}).node("Softmax", {"x"}, "p").show("p", 2);
  EXPECT_THROW(load(inside), core::UnsupportedOperator);

  OnnxModel twice;
  twice.input("x", {1, 2}).tensor("w", {2, 2}, {1, 2, 3, 4}).node("Gemm", {"x", "w"}, "g").node("Softmax", {"g"}, "p");
  twice.node("Mul", {"p", "p"}, "y").output("y");
  EXPECT_THROW(load(twice), core::UnsupportedOperator);
}

}  // namespace
}  // namespace quantbound::network
