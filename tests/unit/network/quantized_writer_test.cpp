// Networks with integer weights: the numbers they stand for, the files they are written to, and what is read back.
#include "quantbound/network/quantized_writer.hpp"

#include <array>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/network/readers.hpp"

#include "onnx_model.hpp"
#include "random_graph.hpp"

namespace quantbound::network {
namespace {

using testing::Builder;
using testing::Draw;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryFile;

constexpr std::array types{IntegerType::int4,  IntegerType::uint4, IntegerType::int8,
                           IntegerType::uint8, IntegerType::int16, IntegerType::uint16};

IntegerWeights random_integers(Draw& draw, IntegerType type, std::size_t weights, std::size_t groups) {
  IntegerWeights result{.type = type};
  for (std::size_t i = 0; i < weights; ++i) {
    result.codes.push_back(static_cast<std::int32_t>(draw.integer(lowest(type), highest(type))));
  }
  for (std::size_t row = 0; row < groups; ++row) {
    result.scales.push_back(static_cast<float>(std::exp(draw.normal())));
    const bool has_sign = lowest(type) < 0;
    result.zero_points.push_back(has_sign ? 0 : static_cast<std::int32_t>(draw.integer(0, highest(type))));
  }
  return result;
}

::onnx::ModelProto model_of(const TemporaryFile& file) {
  std::ifstream stream(file.path(), std::ios::binary);
  ::onnx::ModelProto model;
  EXPECT_TRUE(model.ParseFromString({std::istreambuf_iterator<char>(stream), {}}));
  return model;
}

const ::onnx::TensorProto& initializer(const ::onnx::ModelProto& model, const std::string& name) {
  for (const auto& tensor : model.graph().initializer()) {
    if (tensor.name() == name) return tensor;
  }
  ADD_FAILURE() << "no initializer " << name;
  return model.graph().initializer(0);
}

/// Attributes are float32 in ONNX. In a function: GCC 12 drops the conversions of neighbours that it takes together.
[[gnu::noinline]] double rounded_to_float(double value) { return static_cast<double>(static_cast<float>(value)); }

TEST(IntegerTypes, HoldWhatTheirNamesSay) {
  const std::array<std::int32_t, 6> low{-8, 0, -128, 0, -32768, 0}, high{7, 15, 127, 255, 32767, 65535};
  for (std::size_t t = 0; t < types.size(); ++t) {
    EXPECT_EQ(lowest(types[t]), low[t]) << to_string(types[t]);
    EXPECT_EQ(highest(types[t]), high[t]) << to_string(types[t]);
  }
  for (int bits = 1; bits <= 16; ++bits) {
    for (const Packing packing : {Packing::bytes, Packing::nibbles}) {
      const IntegerType with = smallest_type(bits, Sign::with_sign, packing);
      const IntegerType without = smallest_type(bits, Sign::without_sign, packing);
      EXPECT_LE(lowest(with), -(1 << (bits - 1)));
      EXPECT_EQ(lowest(without), 0);
      EXPECT_GE(highest(without), (1 << bits) - 1);
      const int expected = packing == Packing::nibbles && bits <= 4 ? 4 : (bits <= 8 ? 8 : 16);
      EXPECT_EQ(bits_of(with), expected);
      EXPECT_EQ(bits_of(without), expected);
    }
  }
}

TEST(IntegerWeights, AreMultipliedInFloat) {
  const IntegerWeights by_row{
      .type = IntegerType::uint8, .codes = {0, 3, 255, 7}, .scales = {0.1F, 3.0F}, .zero_points = {3, 250}};
  const auto tenth = static_cast<double>(-3.0F * 0.1F);  // not -3 * 0.1
  EXPECT_THAT(dequantized(by_row), ElementsAre(tenth, 0.0, 15.0, -729.0));
  EXPECT_NE(tenth, -3.0 * static_cast<double>(0.1F));
  EXPECT_EQ(stored_bytes(by_row), 4 + 2 + 8);
  const IntegerWeights nibbles{.type = IntegerType::int4, .codes = {1, 2, 3}, .scales = {1.0F}, .zero_points = {0}};
  EXPECT_EQ(stored_bytes(nibbles), 2 + 1 + 4);
}

TEST(IntegerWeights, TheOtherConstantsOfTheNetworkAreRounded) {
  Draw draw(1);
  Builder b({2}, draw);
  b.add(ScaleShift{{0.1}, {0.2}}, {b.add(Activation{ActivationKind::clip, -0.1, 0.3}, {b.dense(0, 2)})});
  Network network = b.build();
  network.layers[0].bias = {0.7, 1.0};
  const IntegerWeights weights{.codes = {1, 2, 3, 4}, .scales = {0.5F}, .zero_points = {0}};
  const Network deployed = dequantized(network, std::span(&weights, 1));
  EXPECT_THAT(deployed.layers[0].weights, ElementsAre(0.5, 1.0, 1.5, 2.0));
  EXPECT_THAT(deployed.layers[0].bias, ElementsAre(rounded_to_float(0.7), 1.0));
  const auto& clip = std::get<Activation>(deployed.graph.nodes[2].op);
  EXPECT_EQ(clip.alpha, rounded_to_float(-0.1));
  EXPECT_EQ(clip.beta, rounded_to_float(0.3));
  const auto& affine = std::get<ScaleShift>(deployed.graph.nodes[3].op);
  EXPECT_THAT(affine.scale, ElementsAre(rounded_to_float(0.1)));
  EXPECT_THAT(affine.shift, ElementsAre(rounded_to_float(0.2)));
}

TEST(QuantizedWriter, RandomGraphsComeBackWithTheBitsOfTheirWeightsAndOfTheirOutputs) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    Network network = testing::random_network(seed);
    for (Node& node : network.graph.nodes) {
      if (auto* op = std::get_if<Activation>(&node.op)) op->alpha = rounded_to_float(op->alpha);
      if (auto* op = std::get_if<Activation>(&node.op)) op->beta = rounded_to_float(op->beta);
    }
    Draw draw(100 + seed);
    std::vector<IntegerWeights> integers;
    for (const LayerParameters& layer : network.layers) {
      const IntegerType type = types[static_cast<std::size_t>(draw.integer(0, 5))];
      integers.push_back(
          random_integers(draw, type, layer.weights.size(), draw.integer(0, 1) == 0 ? 1 : layer.bias.size()));
    }
    const Network deployed = dequantized(network, integers);
    const TemporaryFile file("", ".onnx");
    write_quantized_onnx(deployed, integers, file.path());
    const Network once = read_onnx(file.path());

    ASSERT_EQ(once.layers.size(), deployed.layers.size());
    for (std::size_t l = 0; l < once.layers.size(); ++l) {
      EXPECT_EQ(once.layers[l].weights, deployed.layers[l].weights) << l;
      EXPECT_EQ(once.layers[l].bias, deployed.layers[l].bias) << l;
    }
    const auto x = draw.normals(2 * tensor::elements(network.graph.input_shape()));
    EXPECT_EQ(forward(once.graph, once.layers, x, 2), forward(deployed.graph, deployed.layers, x, 2));
  }
}

/// A dense layer of three weights in each of two rows.
struct Written {
  Written(const IntegerWeights& integers, bool swishes) {
    Draw draw(2);
    Builder b({3}, draw);
    const NodeId layer = b.dense(0, 2);
    if (swishes) b.add(Activation{ActivationKind::hard_swish}, {layer});
    const Network network = dequantized(b.build(), std::span(&integers, 1));
    write_quantized_onnx(network, std::span(&integers, 1), file.path());
    model = model_of(file);
  }
  TemporaryFile file{"", ".onnx"};
  ::onnx::ModelProto model;
};

TEST(QuantizedWriter, BytesStandInTheOrderOfOnnx) {
  const Written packed({IntegerType::int4, {1, -2, 3, -8, 7, 0}, {0.5F}, {0}}, false);
  const auto& nibbles = initializer(packed.model, "node1.weight.integers");
  EXPECT_EQ(nibbles.data_type(), 22);
  EXPECT_EQ(nibbles.raw_data(), std::string("\xE1\x83\x07", 3));
  EXPECT_EQ(initializer(packed.model, "node1.weight.zero_point").raw_data(), std::string(1, '\0'));
  EXPECT_EQ(initializer(packed.model, "node1.weight.scale").dims_size(), 0);
  EXPECT_EQ(packed.model.opset_import(0).version(), 21);
  EXPECT_EQ(packed.model.ir_version(), 10);

  const Written words({IntegerType::uint16, {1, 258, 65535, 0, 2, 3}, {1.0F, 2.0F}, {0, 258}}, true);
  const auto& codes = initializer(words.model, "node1.weight.integers");
  EXPECT_EQ(codes.data_type(), ::onnx::TensorProto::UINT16);
  EXPECT_EQ(codes.raw_data(), std::string("\x01\x00\x02\x01\xFF\xFF\x00\x00\x02\x00\x03\x00", 12));
  EXPECT_EQ(initializer(words.model, "node1.weight.zero_point").raw_data(), std::string("\x00\x00\x02\x01", 4));
  EXPECT_EQ(words.model.opset_import(0).version(), 21) << "HardSwish does not lower it";
}

TEST(QuantizedWriter, EightBitsNeedOnlyOpset13AndScalesByRowAnAxis) {
  const Written bytes({IntegerType::int8, {1, -128, 127, -1, 5, 0}, {0.5F, 2.0F}, {0, 0}}, false);
  EXPECT_EQ(bytes.model.opset_import(0).version(), 13);
  EXPECT_EQ(bytes.model.ir_version(), 7);
  const auto& codes = initializer(bytes.model, "node1.weight.integers");
  EXPECT_EQ(codes.data_type(), ::onnx::TensorProto::INT8);
  EXPECT_EQ(codes.raw_data(), std::string("\x01\x80\x7F\xFF\x05\x00", 6));
  const auto& node = bytes.model.graph().node(0);
  EXPECT_EQ(node.op_type(), "DequantizeLinear");
  ASSERT_EQ(node.attribute_size(), 1);
  EXPECT_EQ(node.attribute(0).name(), "axis");
  EXPECT_EQ(node.attribute(0).i(), 0);
  EXPECT_EQ(bytes.model.graph().node(1).input(1), node.output(0));
}

TEST(QuantizedWriter, PlacesThatCannotBeWrittenAreErrors) {
  Draw draw(3);
  Builder b({3}, draw);
  b.dense(0, 2);
  const IntegerWeights integers{.codes = {1, 2, 3, 4, 5, 6}, .scales = {1.0F}, .zero_points = {0}};
  const Network network = dequantized(b.build(), std::span(&integers, 1));
  EXPECT_THROW(write_quantized_onnx(network, std::span(&integers, 1), "/nowhere/at/all.onnx"), core::IoError);
}

TEST(QuantizedWriterDeathTest, WeightsAreThoseOfTheIntegers) {
  Draw draw(4);
  Builder b({3}, draw);
  b.dense(0, 2);
  const IntegerWeights integers{.codes = {1, 2, 3, 4, 5, 6}, .scales = {1.0F}, .zero_points = {0}};
  const IntegerWeights too_large{.codes = {1, 2, 3, 4, 5, 128}, .scales = {1.0F}, .zero_points = {0}};
  const Network other = b.build();
  EXPECT_DEATH(write_quantized_onnx(other, std::span(&integers, 1), "/tmp/never.onnx"), "dequantized");
  const Network network = dequantized(other, std::span(&too_large, 1));
  EXPECT_DEATH(write_quantized_onnx(network, std::span(&too_large, 1), "/tmp/never.onnx"), "highest");
}

}  // namespace
}  // namespace quantbound::network
