// ONNX files as a whole: element types, the batch axis, order and liveness of nodes, and one clear error for every way
// in which a file can be wrong.
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"

#include "onnx_model.hpp"

namespace quantbound::network {
namespace {

using namespace testing;  // NOLINT: the helpers of this directory
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// x of two numbers through a matrix.
OnnxModel small(std::int64_t opset = 13) {
  OnnxModel model(opset);
  return model.input("x", {1, 2}).tensor("w", {2, 2}, {1, 2, 3, 4}).node("MatMul", {"x", "w"}, "y").output("y");
}

/// The error that reading `model` ends in; empty where it loads.
std::string error_of(const OnnxModel& model, const ReadOptions& options = {}) {
  try {
    load(model, options);
  } catch (const core::InputError& error) {
    EXPECT_THAT(error.where(), HasSubstr(".onnx")) << "the error names the file";
    return error.what();
  }
  return {};
}

// ---- element types -------------------------------------------------------------------------------------------------

template <class Stored>
std::string raw(const std::vector<Stored>& values) {
  std::string bytes(values.size() * sizeof(Stored), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// Weights 1 0 / 0 1 times the constant, so that f(1, 1) shows the constant.
Reals shown(const ::onnx::TensorProto& constant) {
  OnnxModel model;
  model.input("x", {1, 2});
  *model.graph().add_initializer() = constant;
  model.graph().mutable_initializer(0)->set_name("c");
  model.node("Cast", {"c"}, "r", {integer("to", 1)}).node("Mul", {"x", "r"}, "y").show("y", 2);
  return evaluate(model, {1, 1});
}

::onnx::TensorProto typed(::onnx::TensorProto::DataType type, const std::function<void(::onnx::TensorProto&)>& fill) {
  ::onnx::TensorProto tensor;
  tensor.set_data_type(type);
  tensor.add_dims(2);
  fill(tensor);
  return tensor;
}

TEST(OnnxTensors, EveryElementTypeIsReadExactly) {
  using Type = ::onnx::TensorProto;
  const auto with_raw = [](Type::DataType type, const std::string& bytes) {
    return shown(typed(type, [&](Type& t) { t.set_raw_data(bytes); }));
  };
  EXPECT_THAT(with_raw(Type::FLOAT, raw<float>({0.1F, -3.5F})), ElementsAre(static_cast<double>(0.1F), -3.5));
  EXPECT_THAT(with_raw(Type::DOUBLE, raw<double>({0.1, 1e300})), ElementsAre(0.1, 1e300));
  EXPECT_THAT(with_raw(Type::FLOAT16, raw<std::uint16_t>({0x3C01, 0x8001})), ElementsAre(1.0 + 0x1p-10, -0x1p-24));
  EXPECT_THAT(with_raw(Type::BFLOAT16, raw<std::uint16_t>({0x3F81, 0xC000})), ElementsAre(1.0 + 0x1p-7, -2.0));
  EXPECT_THAT(with_raw(Type::INT64, raw<std::int64_t>({-5, 7})), ElementsAre(-5.0, 7.0));
  EXPECT_THAT(with_raw(Type::INT32, raw<std::int32_t>({-5, 7})), ElementsAre(-5.0, 7.0));
  EXPECT_THAT(with_raw(Type::INT16, raw<std::int16_t>({-5, 7})), ElementsAre(-5.0, 7.0));
  EXPECT_THAT(with_raw(Type::INT8, raw<std::int8_t>({-5, 7})), ElementsAre(-5.0, 7.0));
  EXPECT_THAT(with_raw(Type::UINT8, raw<std::uint8_t>({5, 250})), ElementsAre(5.0, 250.0));
  EXPECT_THAT(with_raw(Type::UINT16, raw<std::uint16_t>({5, 65000})), ElementsAre(5.0, 65000.0));
  EXPECT_THAT(with_raw(Type::UINT32, raw<std::uint32_t>({5, 4000000000U})), ElementsAre(5.0, 4e9));
  EXPECT_THAT(with_raw(Type::UINT64, raw<std::uint64_t>({5, 7})), ElementsAre(5.0, 7.0));

  const auto fields = [](Type::DataType type, const std::function<void(Type&)>& fill) {
    return shown(typed(type, fill));
  };
  const auto int32 = [](std::int32_t a, std::int32_t b) {
    return [=](Type& t) {
      t.add_int32_data(a);
      t.add_int32_data(b);
    };
  };
  EXPECT_THAT(fields(Type::FLOAT16, int32(0x3C01, 0x4000)), ElementsAre(1.0 + 0x1p-10, 2.0));
  EXPECT_THAT(fields(Type::BFLOAT16, int32(0x3F81, 0x4000)), ElementsAre(1.0 + 0x1p-7, 2.0));
  EXPECT_THAT(fields(Type::INT8, int32(-5, 7)), ElementsAre(-5.0, 7.0));
  EXPECT_THAT(fields(Type::DOUBLE, [](Type& t) { t.add_double_data(0.1), t.add_double_data(2); }),
              ElementsAre(0.1, 2.0));
  EXPECT_THAT(fields(Type::UINT64, [](Type& t) { t.add_uint64_data(3), t.add_uint64_data(2); }), ElementsAre(3.0, 2.0));
}

TEST(OnnxTensors, HalfPrecisionMatchesItsDefinitionEverywhere) {
  for (int bits = 0; bits < 0x7C00; bits += 97) {
    const auto half = static_cast<std::uint16_t>(bits);
    const int exponent = bits >> 10, mantissa = bits & 0x3FF;
    const double expected = exponent == 0 ? mantissa * 0x1p-24 : std::ldexp(1.0 + mantissa / 1024.0, exponent - 15);
    const auto tensor = typed(::onnx::TensorProto::FLOAT16, [&](auto& t) {
      t.set_raw_data(raw<std::uint16_t>({half, 0x3C00}));
    });
    EXPECT_EQ(shown(tensor)[0], expected) << bits;
  }
}

TEST(OnnxTensors, DamageIsAnError) {
  using Type = ::onnx::TensorProto;
  const auto with = [](const std::function<void(Type&)>& change) {
    OnnxModel model = small();
    change(*model.graph().mutable_initializer(0));
    return error_of(model);
  };
  EXPECT_THAT(with([](Type& t) { t.clear_float_data(); }), HasSubstr("initializer 'w': 0 values for 4 elements"));
  EXPECT_THAT(with([](Type& t) { t.set_raw_data("abc"); }), HasSubstr("3 bytes of data for 4 elements"));
  EXPECT_THAT(with([](Type& t) { t.set_dims(0, -2); }), HasSubstr("negative"));
  EXPECT_THAT(with([](Type& t) { t.set_dims(0, INT64_MAX); }), HasSubstr("more than"));
  EXPECT_THAT(with([](Type& t) { t.set_dims(0, 3); }), HasSubstr("6 elements"));
  EXPECT_THAT(with([](Type& t) { t.set_data_type(Type::STRING); }), HasSubstr("not a number"));
  EXPECT_THAT(with([](Type& t) { t.set_data_type(99); }), HasSubstr("element type 99"));
  EXPECT_THAT(with([](Type& t) { t.set_data_location(Type::EXTERNAL); }), HasSubstr("save the model in one file"));
}

TEST(OnnxTensors, WeightsThatAreNoNumbersAreNamed) {
  OnnxModel nan = small();
  nan.graph().mutable_initializer(0)->set_float_data(2, std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(error_of(nan), AllOf(HasSubstr("layer 0 'MatMul_y', weights: value 1 is nan")));  // transposed: (1, 0)
  OnnxModel infinite = small();
  infinite.tensor("b", {2}, {0, std::numeric_limits<double>::infinity()});
  infinite.graph().mutable_node(0)->set_op_type("Gemm");
  infinite.graph().mutable_node(0)->add_input("b");
  EXPECT_THAT(error_of(infinite), HasSubstr("layer 0 'MatMul_y', bias: value 1 is inf"));
}

// ---- inputs and outputs --------------------------------------------------------------------------------------------

TEST(OnnxInputs, TheBatchAxisIsOneOrOpenOrMissing) {
  const auto with = [](const Integers& dims) {
    OnnxModel model;
    return model.input("x", dims).tensor("w", {3, 2}, ramp(6)).node("MatMul", {"x", "w"}, "y").output("y");
  };
  for (const Integers& dims : {Integers{1, 3}, Integers{-1, 3}, Integers{3}, Integers{0, 3}}) {
    const Network network = load(with(dims));
    EXPECT_EQ(network.graph.input_shape(), Shape{3});
    EXPECT_EQ(network.graph.output_shape(), Shape{2});
  }
  EXPECT_THAT(error_of(with({4, 3})), HasSubstr("only one row per sample"));
}

TEST(OnnxInputs, WithoutABatchAxisOneMayBeAdded) {
  OnnxModel model;
  model.input("x", {2, 2})
      .integer_list("axes", {0, 1})
      .node("Unsqueeze", {"x", "axes"}, "u")
      .tensor("w", {1, 1, 2, 2}, {1, 2, 3, 4});
  model.node("Conv", {"u", "w"}, "c").integer_list("flat", {-1}).node("Reshape", {"c", "flat"}, "y").output("y");
  expect_near(evaluate(model, {1, 1, 1, 1}), {10});

  OnnxModel transposed;
  transposed.input("x", {3})
      .integer_list("axes", {0})
      .node("Unsqueeze", {"x", "axes"}, "u")
      .node("Transpose", {"u"}, "t");
  transposed.tensor("w", {2, 3}, ramp(6)).node("MatMul", {"w", "t"}, "m").node("Squeeze", {"m"}, "y").output("y");
  expect_near(evaluate(transposed, {1, 1, 1}), {1.5, 3.75});
}

TEST(OnnxInputs, OpenShapesAskForOneAndTakeIt) {
  const auto with = [](const Integers& dims) {
    OnnxModel model;
    model.input("x", dims).tensor("w", {1, 2, 1, 1}, {1, 2}).node("Conv", {"x", "w"}, "y").output("y");
    return model;
  };
  EXPECT_THAT(error_of(with({-1, 2, -1, -1})),
              AllOf(HasSubstr("2x?x?"), HasSubstr("input_shape"), HasSubstr("--input-shape")));
  EXPECT_EQ(load(with({-1, 2, -1, -1}), {Shape{2, 3, 4}}).graph.output_shape(), (Shape{1, 3, 4}));
  EXPECT_EQ(load(with({1, 2, 3, 4}), {Shape{2, 3, 4}}).graph.output_shape(), (Shape{1, 3, 4}));
  EXPECT_THAT(error_of(with({-1, 2, -1, -1}), {Shape{3, 3, 4}}), HasSubstr("does not fit"));
  EXPECT_THAT(error_of(with({-1, 2, -1, -1}), {Shape{2, 12}}), HasSubstr("does not fit"));
  EXPECT_THAT(error_of(with({-1, 2, -1, -1}), {Shape{2, INT64_MAX, 4}}), HasSubstr("more than"));
  EXPECT_THAT(error_of(with({-1, 2, -1, -1}), {Shape{2, 0, 4}}), HasSubstr("no elements"));

  OnnxModel bare = with({1});
  bare.graph().mutable_input(0)->mutable_type()->mutable_tensor_type()->clear_shape();
  EXPECT_THAT(error_of(bare), HasSubstr("input_shape"));
  EXPECT_EQ(load(bare, {Shape{2, 3, 4}}).graph.output_shape(), (Shape{1, 3, 4}));
}

TEST(OnnxInputs, ThereIsOneInputAndOneOutput) {
  OnnxModel two = small();
  two.input("z", {1, 2});
  EXPECT_THAT(error_of(two), HasSubstr("2 inputs ('x', 'z')"));
  OnnxModel none = small();
  none.graph().clear_input();
  EXPECT_THAT(error_of(none), HasSubstr("0 inputs"));
  OnnxModel outputs = small();
  outputs.output("x");
  EXPECT_THAT(error_of(outputs), HasSubstr("2 outputs ('y', 'x')"));
  OnnxModel mute = small();
  mute.graph().clear_output();
  EXPECT_THAT(error_of(mute), HasSubstr("0 outputs"));

  OnnxModel listed = small();  // IR version 3: initializers are inputs too
  listed.input("w", {2, 2});
  EXPECT_EQ(load(listed).layers.size(), 1U);
}

// ---- the graph -----------------------------------------------------------------------------------------------------

TEST(OnnxGraph, NodesThatNothingReadsAreDroppedUnseen) {
  OnnxModel model = small();
  model.node("QLinearConv", {"x"}, "dead").node("MatMul", {"x", "w"}, "unused");
  EXPECT_THAT(operators(load(model).graph), ElementsAre("Gemm"));
}

TEST(OnnxGraph, ALayerReadForItsShapeAloneIsDropped) {
  OnnxModel model;
  model.input("x", {1, 6}).tensor("w", {6, 6}, ramp(36)).node("MatMul", {"x", "w"}, "m").node("Shape", {"m"}, "s");
  model.node("Reshape", {"x", "s"}, "r").show("r", 6);
  const Network network = load(model);
  EXPECT_THAT(operators(network.graph), ElementsAre("Gemm"));
  EXPECT_EQ(network.graph.nodes[1].name, "Gemm_show");
  EXPECT_EQ(network.layers.size(), 1U);
}

TEST(OnnxGraph, ReadingAShapeDoesNotPreventFolding) {
  OnnxModel model;
  model.input("x", {1, 2}).tensor("w", {2, 2}, {1, 2, 3, 4}).tensor("b", {2}, {1, 1}).node("MatMul", {"x", "w"}, "m");
  model.node("Shape", {"m"}, "s").node("Add", {"m", "b"}, "a").node("Reshape", {"a", "s"}, "y").output("y");
  EXPECT_THAT(operators(load(model).graph), ElementsAre("Gemm"));
}

TEST(OnnxGraph, NodesMayComeInAnyOrder) {
  OnnxModel model;
  model.input("x", {1, 2})
      .tensor("w", {2, 2}, {1, 2, 3, 4})
      .node("Relu", {"m"}, "y")
      .node("MatMul", {"x", "w"}, "m")
      .output("y");
  EXPECT_THAT(operators(load(model).graph), ElementsAre("Gemm", "Relu"));
}

TEST(OnnxGraph, NamesAreUniqueAndLayersNumberedInOrder) {
  OnnxModel model = small();
  model.graph().clear_output();
  model.node("MatMul", {"y", "w"}, "z").node("MatMul", {"z", "w"}, "last").output("last");
  for (int v = 0; v < 3; ++v) model.graph().mutable_node(v)->set_name("same");
  const Network network = load(model);
  EXPECT_EQ(network.graph.nodes[1].name, "same");
  EXPECT_EQ(network.graph.nodes[2].name, "same#2");
  EXPECT_EQ(network.graph.nodes[3].name, "same#3");
  for (Index l = 0; l < 3; ++l)
    EXPECT_EQ(std::get<Dense>(network.graph.nodes[static_cast<std::size_t>(l + 1)].op).layer, l);
  EXPECT_TRUE(network.graph.is_chain());
}

TEST(OnnxGraph, CyclesAndMissingAndDoubleNamesAreErrors) {
  OnnxModel cycle;
  cycle.input("x", {1, 2}).node("Add", {"x", "b"}, "a").node("Relu", {"a"}, "b").output("b");
  EXPECT_THAT(error_of(cycle), AllOf(HasSubstr("cycle"), HasSubstr("'Add_a' (Add)")));
  OnnxModel missing;
  missing.input("x", {1, 2}).node("MatMul", {"x", "w"}, "y").output("y");
  EXPECT_THAT(error_of(missing), AllOf(HasSubstr("node 'MatMul_y' (MatMul) reads 'w'"), HasSubstr("incomplete")));
  OnnxModel twice = small();
  twice.node("Relu", {"x"}, "y");
  EXPECT_THAT(error_of(twice), HasSubstr("'y' is produced twice"));
  OnnxModel lost = small();
  lost.graph().mutable_output(0)->set_name("z");
  EXPECT_THAT(error_of(lost), HasSubstr("the graph output reads 'z'"));
  OnnxModel omitted = small();
  omitted.graph().mutable_node(0)->mutable_input()->RemoveLast();
  EXPECT_THAT(error_of(omitted), HasSubstr("1 inputs, needs 2"));
  OnnxModel empty = small();
  empty.graph().mutable_node(0)->set_input(1, "");
  EXPECT_THAT(error_of(empty), HasSubstr("input 1 is missing"));
}

TEST(OnnxGraph, OnlyFirstOutputsAreRead) {
  OnnxModel indices;
  indices.input("x", {1, 1, 2, 2}).node("MaxPool", {"x"}, "m", {integers("kernel_shape", {1, 1})});
  indices.graph().mutable_node(0)->add_output("i");
  OnnxModel reshaped = indices;
  indices.node("Add", {"m", "i"}, "y").show("y", 4);
  EXPECT_THAT(error_of(indices), HasSubstr("'i', a second output"));
  reshaped.node("Reshape", {"m", "i"}, "y").show("y", 4);
  EXPECT_THAT(error_of(reshaped), HasSubstr("'i', a second output"));
  OnnxModel output = small();
  output.graph().mutable_node(0)->add_output("z");
  output.graph().mutable_output(0)->set_name("z");
  EXPECT_THAT(error_of(output), HasSubstr("second output"));
}

TEST(OnnxGraph, ANetworkHasAWeightLayerAndDependsOnItsInput) {
  OnnxModel bare;
  bare.input("x", {1, 2}).node("Relu", {"x"}, "y").output("y");
  EXPECT_THAT(error_of(bare), HasSubstr("no weight layer"));
  OnnxModel constant;
  constant.input("x", {1, 2}).tensor("c", {2}, {1, 2}).node("Add", {"c", "c"}, "y").output("y");
  EXPECT_THAT(error_of(constant), HasSubstr("'y' is a constant"));
  OnnxModel output;
  output.input("x", {1, 2}).tensor("c", {2}, {1, 2}).output("c");
  EXPECT_THAT(error_of(output), HasSubstr("'c' is a constant"));
  OnnxModel through;
  through.input("x", {1, 2}).output("x");
  EXPECT_THAT(error_of(through), HasSubstr("no weight layer"));
}

TEST(OnnxGraph, DeepNetworksAreRead) {
  OnnxModel model;
  model.input("x", {1, 2}).tensor("w", {2, 2}, {1, 0, 0, 1});
  std::string last = "x";
  for (int l = 0; l < 3000; ++l) {
    const std::string next = fmt::format("v{}", l);
    model.node(l % 2 == 0 ? "MatMul" : "Relu",
               l % 2 == 0 ? std::vector<std::string>{last, "w"} : std::vector<std::string>{last}, next);
    last = next;
  }
  model.output(last);
  EXPECT_EQ(load(model).layers.size(), 1500U);
}

// ---- operators and shapes that do not fit --------------------------------------------------------------------------

TEST(OnnxRefusals, NameOperatorNodeFileAndRemedy) {
  OnnxModel model;
  model.input("x", {1, 2}).node("LSTM", {"x"}, "y").output("y");
  const TemporaryFile file(model.bytes(), ".onnx");
  try {
    read_onnx(file.path());
    FAIL() << "it loaded";
  } catch (const core::UnsupportedOperator& error) {
    EXPECT_EQ(error.op(), "LSTM");
    EXPECT_EQ(error.node(), "LSTM_y");
    EXPECT_EQ(error.where(), file.path().string());
    EXPECT_THAT(error.what(), HasSubstr("export the network for inference with Add, AveragePool"));
  }
}

TEST(OnnxRefusals, OtherDomainsAndUnknownAttributesAreNotIgnored) {
  OnnxModel domain = small();
  domain.graph().mutable_node(0)->set_domain("com.microsoft");
  EXPECT_THAT(error_of(domain), HasSubstr("com.microsoft::MatMul"));
  OnnxModel attribute = small();
  auto* added = attribute.graph().mutable_node(0)->add_attribute();
  added->set_name("transposed");
  added->set_i(1);
  EXPECT_THAT(error_of(attribute), HasSubstr("its attribute 'transposed' is unknown"));
  OnnxModel type;
  type.input("x", {1, 2}).node("LeakyRelu", {"x"}, "a", {text("alpha", "1")}).show("a", 2);
  EXPECT_THAT(error_of(type), HasSubstr("attribute 'alpha' is not a number"));
}

TEST(OnnxRefusals, ShapesThatDoNotFitNameTheNode) {
  OnnxModel matrix;
  matrix.input("x", {1, 3}).tensor("w", {2, 2}, ramp(4)).node("MatMul", {"x", "w"}, "y").output("y");
  EXPECT_THAT(error_of(matrix), AllOf(HasSubstr("'MatMul_y'"), HasSubstr("made for 2 inputs"), HasSubstr("1x3")));
  OnnxModel channels;
  channels.input("x", {1, 3, 4, 4}).tensor("w", {2, 2, 3, 3}, ramp(36)).node("Conv", {"x", "w"}, "y").output("y");
  EXPECT_THAT(error_of(channels), AllOf(HasSubstr("'Conv_y'"), HasSubstr("3 input channels")));
  OnnxModel window;
  window.input("x", {1, 2, 2, 2}).tensor("w", {2, 2, 3, 3}, ramp(36)).node("Conv", {"x", "w"}, "y").output("y");
  EXPECT_THAT(error_of(window), AllOf(HasSubstr("'Conv_y'"), HasSubstr("2x0x0")));
  OnnxModel kernel;
  kernel.input("x", {1, 2, 5, 5})
      .tensor("w", {2, 2, 3, 3}, ramp(36))
      .node("Conv", {"x", "w"}, "y", {integers("kernel_shape", {5, 5})})
      .output("y");
  EXPECT_THAT(error_of(kernel), HasSubstr("kernel_shape 5x5"));
  OnnxModel groups;
  groups.input("x", {1, 2, 5, 5})
      .tensor("w", {2, 2, 3, 3}, ramp(36))
      .node("Conv", {"x", "w"}, "y", {integer("group", 0)})
      .output("y");
  EXPECT_THAT(error_of(groups), HasSubstr("0 groups"));
  OnnxModel bias;
  bias.input("x", {1, 2, 5, 5})
      .tensor("w", {2, 2, 3, 3}, ramp(36))
      .tensor("b", {3}, ramp(3))
      .node("Conv", {"x", "w", "b"}, "y")
      .output("y");
  EXPECT_THAT(error_of(bias), HasSubstr("3 biases for 2 output channels"));
  OnnxModel sum;
  sum.input("x", {1, 2, 4})
      .node("ReduceMean", {"x"}, "m", {integers("axes", {2})})
      .node("Add", {"x", "m"}, "y")
      .output("y");
  EXPECT_THAT(error_of(sum), AllOf(HasSubstr("1x2x4"), HasSubstr("1x2x1")));
  OnnxModel cube;
  cube.input("x", {1, 1, 2, 2, 2}).tensor("w", {1, 1, 1, 1, 1}, {1}).node("Conv", {"x", "w"}, "y").output("y");
  EXPECT_THAT(error_of(cube), HasSubstr("only 1-D and 2-D convolutions"));
  OnnxModel runtime;
  runtime.input("x", {1, 2}).node("Reshape", {"x", "x"}, "y").output("y");
  EXPECT_THAT(error_of(runtime), HasSubstr("input 1 'x' is computed at run time"));
}

TEST(OnnxRefusals, HugePadsDoNotMakeHugeNetworks) {
  OnnxModel pad;
  pad.input("x", {1, 2}).integer_list("p", {0, INT64_MAX, 0, INT64_MIN}).node("Pad", {"x", "p"}, "y").show("y", 2);
  EXPECT_THAT(error_of(pad), HasSubstr("out of range"));
  OnnxModel large;
  large.input("x", {1, 2}).integer_list("p", {0, 1 << 30, 0, 1 << 30}).node("Pad", {"x", "p"}, "y").show("y", 2);
  EXPECT_THAT(error_of(large), HasSubstr("more than 2^30"));
  OnnxModel window;
  window.input("x", {1, 1, 2, 2}).tensor("w", {1, 1, 1, 1}, {1});
  window.node("Conv", {"x", "w"}, "y", {integers("pads", {INT64_MAX, 1, 1, INT64_MAX})}).output("y");
  EXPECT_THAT(error_of(window), HasSubstr("'pads'"));
  OnnxModel constant;
  constant.input("x", {1, 2})
      .integer_list("s", {1 << 20, 1 << 20})
      .node("ConstantOfShape", {"s"}, "c")
      .node("Add", {"x", "c"}, "y")
      .show("y", 2);
  EXPECT_THAT(error_of(constant), HasSubstr("more than"));
}

// ---- the file ------------------------------------------------------------------------------------------------------

TEST(OnnxFile, OpsetsSevenToTwentyOneAreRead) {
  for (std::int64_t opset = 7; opset <= 21; ++opset) EXPECT_NO_THROW(load(small(opset))) << opset;
  for (const std::int64_t opset : {-1, 0, 6, 22, 100})
    EXPECT_THAT(error_of(small(opset)), HasSubstr("opset 7 to 21")) << opset;
  OnnxModel unnamed = small();
  unnamed.proto().clear_opset_import();
  EXPECT_THAT(error_of(unnamed), HasSubstr("names no opset"));
}

TEST(OnnxFile, WhatIsNotThereOrNotOnnxIsAnError) {
  const auto message = [](const std::string& bytes) -> std::string {
    try {
      read_onnx(TemporaryFile(bytes, ".onnx").path());
    } catch (const core::InputError& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_THAT(message(""), HasSubstr("no graph"));
  EXPECT_THAT(message("this is a text, not a network"), HasSubstr("not an ONNX file"));
  const std::string whole = small().bytes();
  EXPECT_THAT(message(whole.substr(0, whole.size() / 2)), HasSubstr("cut off"));
  EXPECT_THROW(read_onnx("/nonexistent/network.onnx"), core::InputError);
  EXPECT_THROW(read_onnx(::testing::TempDir()), core::InputError);
}

TEST(ReadNetwork, GoesByTheExtension) {
  EXPECT_EQ(read_network(TemporaryFile(small().bytes(), ".onnx").path()).layers.size(), 1U);
  EXPECT_THROW(read_network(TemporaryFile(small().bytes(), ".pb").path()), core::InputError);
  EXPECT_THROW(read_network(TemporaryFile("", ".nnet").path(), {Shape{2}}), core::InputError);
}

}  // namespace
}  // namespace quantbound::network
