// QuantizeLinear and DequantizeLinear of constants: weights that files store as integers.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"

#include "onnx_model.hpp"

namespace quantbound::network {
namespace {

using namespace testing;  // NOLINT: the helpers of this directory
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Type = ::onnx::TensorProto;

constexpr int uint4 = 21, int4 = 22;

/// An initializer of integers, in the typed field.
void add_integers(OnnxModel& model, const std::string& name, int type, const Integers& dims, const Integers& values) {
  auto& tensor = *model.graph().add_initializer();
  tensor.set_name(name);
  tensor.set_data_type(type);
  for (const auto dim : dims) tensor.add_dims(dim);
  for (const auto value : values) tensor.add_int32_data(static_cast<std::int32_t>(value));
}

/// y = x W^T with W = DequantizeLinear(w, s, z); `prepare` adds w, s and z.
template <class Prepare>
OnnxModel dense(std::int64_t inputs, std::int64_t opset, const std::vector<std::string>& names,
                const std::vector<Attribute>& attributes, Prepare prepare) {
  OnnxModel model(opset);
  model.input("x", {1, inputs});
  prepare(model);
  model.node("DequantizeLinear", names, "W", attributes).node("Gemm", {"x", "W"}, "y", {integer("transB", 1)});
  return model.output("y");
}

std::string error_of(const OnnxModel& model) {
  try {
    load(model);
  } catch (const core::Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(DequantizeLinear, OneScaleForAll) {
  for (const bool has_zero_point : {false, true}) {
    const auto model =
        dense(2, 10, has_zero_point ? std::vector<std::string>{"w", "s", "z"} : std::vector<std::string>{"w", "s"}, {},
              [](OnnxModel& m) {
                add_integers(m, "w", Type::INT8, {2, 2}, {-128, 127, 1, 0});
                m.tensor("s", {}, {0.5});
                add_integers(m, "z", Type::INT8, {}, {1});
              });
    const double z = has_zero_point ? 1.0 : 0.0;
    EXPECT_THAT(load(model).layers[0].weights, ElementsAre((-128 - z) / 2, (127 - z) / 2, (1 - z) / 2, (0 - z) / 2));
  }
}

TEST(DequantizeLinear, MultipliesInFloat) {
  const auto model = dense(2, 13, {"w", "s"}, {}, [](OnnxModel& m) {
    add_integers(m, "w", Type::INT32, {1, 2}, {16777217, -3});  // the first is no float32 number
    m.tensor("s", {1}, {static_cast<double>(0.1F)});
  });
  const auto weights = load(model).layers[0].weights;
  EXPECT_EQ(weights[0], static_cast<double>(16777216.0F * 0.1F));
  EXPECT_EQ(weights[1], static_cast<double>(-3.0F * 0.1F));
}

TEST(DequantizeLinear, AScaleForEachIndexOfAnAxis) {
  const auto model = [](const std::vector<Attribute>& attributes, const Integers& zeros) {
    return dense(3, 13, {"w", "s", "z"}, attributes, [&](OnnxModel& m) {
      add_integers(m, "w", Type::UINT8, {3, 3}, {0, 1, 2, 3, 4, 5, 253, 254, 255});
      m.tensor("s", {3}, {1.0, 10.0, 0.5});
      add_integers(m, "z", Type::UINT8, {std::ssize(zeros)}, zeros);
    });
  };
  EXPECT_THAT(load(model({integer("axis", 0)}, {0, 3, 253})).layers[0].weights,
              ElementsAre(0, 1, 2, 0, 10, 20, 0, 0.5, 1));
  const Reals by_column{0, 0, -125.5, 3, 30, -124, 253, 2530, 1};
  EXPECT_EQ(load(model({}, {0, 1, 253})).layers[0].weights,
            (Reals{0, 0, -125.5, 3, 30, -124, 253, 2530, 1}));  // axis 1 unless stated
  EXPECT_EQ(load(model({integer("axis", -1)}, {0, 1, 253})).layers[0].weights, by_column);
  EXPECT_THAT(error_of(model({integer("axis", 2)}, {0, 1, 2})), HasSubstr("axis 2 does not exist"));
  EXPECT_THAT(error_of(model({}, {0, 1})), HasSubstr("2 zero points for 3 scales"));
}

TEST(DequantizeLinear, AScaleForEachBlockOfAnAxis) {
  const auto model = [](std::int64_t axis, std::int64_t block, const Integers& dims) {
    return dense(3, 21, {"w", "s"}, {integer("axis", axis), integer("block_size", block)}, [&](OnnxModel& m) {
      add_integers(m, "w", Type::INT8, {2, 3}, {1, 1, 1, 1, 1, 1});
      m.tensor("s", dims, ramp(dims[0] * dims[1], 1, 1));
    });
  };
  EXPECT_THAT(load(model(1, 2, {2, 2})).layers[0].weights, ElementsAre(1, 1, 2, 3, 3, 4));
  EXPECT_THAT(load(model(0, 2, {1, 3})).layers[0].weights, ElementsAre(1, 2, 3, 1, 2, 3));
  EXPECT_THAT(error_of(model(1, 2, {2, 3})), HasSubstr("do not fit values of shape 2x3 along axis 1"));
  EXPECT_THAT(error_of(model(1, -1, {2, 2})), HasSubstr("do not fit"));
}

TEST(DequantizeLinear, FourBitsInHalvesOfBytes) {
  for (const bool raw : {false, true}) {
    for (const int type : {int4, uint4}) {
      auto model = dense(3, 21, {"w", "s"}, {}, [&](OnnxModel& m) {
        add_integers(m, "w", type, {1, 3}, {0x8F, 0x07});
        m.tensor("s", {}, {1.0});
      });
      auto& tensor = *model.graph().mutable_initializer(0);
      if (raw) {
        tensor.clear_int32_data();
        tensor.set_raw_data(std::string("\x8F\x07", 2));
      }
      const Reals expected = type == int4 ? Reals{-1, -8, 7} : Reals{15, 8, 7};
      EXPECT_EQ(load(model).layers[0].weights, expected) << raw;
      if (!raw) continue;
      tensor.set_raw_data("\x8F");
      EXPECT_THAT(error_of(model), HasSubstr("the file is damaged"));
    }
  }
}

TEST(DequantizeLinear, BiasesAndConvolutionsToo) {
  OnnxModel model(13);
  model.input("x", {1, 1, 1, 2});
  add_integers(model, "w", Type::INT8, {2, 1, 1, 1}, {2, -4});
  model.tensor("s", {2}, {0.5, 0.25}).tensor("t", {2}, {0.125, 0.0625});
  add_integers(model, "z", Type::INT8, {2}, {0, 0});
  add_integers(model, "b", Type::INT32, {2}, {1000, -16});
  model.node("DequantizeLinear", {"w", "s", "z"}, "W", {integer("axis", 0)});
  model.node("DequantizeLinear", {"b", "t"}, "B", {integer("axis", 0)});
  model.node("Conv", {"x", "W", "B"}, "y").output("y");
  const Network network = load(model);
  EXPECT_THAT(network.layers[0].weights, ElementsAre(1, -1));
  EXPECT_THAT(network.layers[0].bias, ElementsAre(125, -1));
}

TEST(QuantizeLinear, RoundsToEvenAndSaturatesOnTheWayToTheIntegers) {
  const auto weights = [](const Reals& values, int type, std::int64_t zero) {
    OnnxModel model(21);
    model.input("x", {1, std::ssize(values)}).tensor("v", {1, std::ssize(values)}, values).tensor("s", {}, {0.5});
    std::vector<std::string> names{"v", "s"}, back{"w", "s"};
    if (type != 0) {
      add_integers(model, "z", type, {}, {zero});
      names.emplace_back("z");
      back.emplace_back("z");
    }
    model.node("QuantizeLinear", names, "w").node("DequantizeLinear", back, "W");
    model.node("Gemm", {"x", "W"}, "y", {integer("transB", 1)}).output("y");
    return load(model).layers[0].weights;
  };
  EXPECT_THAT(weights({0.25, 0.75, 1.25, -0.25, -0.75}, Type::INT8, 0), ElementsAre(0, 1, 1, 0, -1));
  EXPECT_THAT(weights({1e30, -1e30, 63.75, -64}, Type::INT8, 0), ElementsAre(63.5, -64, 63.5, -64));
  EXPECT_THAT(weights({1e30, -1e30, 1}, Type::UINT8, 10), ElementsAre(122.5, -5, 1));
  EXPECT_THAT(weights({1e30, -1e30, 1}, Type::INT16, 0), ElementsAre(16383.5, -16384, 1));
  EXPECT_THAT(weights({1e30, -1e30, 1}, int4, 0), ElementsAre(3.5, -4, 1));
  EXPECT_THAT(weights({1e30, -1e30, 1}, 0, 0), ElementsAre(127.5, 0, 1));  // unsigned bytes unless stated
}

TEST(QuantizeLinear, OfValuesComputedAtRunTimeIsRefused) {
  OnnxModel model(13);
  model.input("x", {1, 2}).tensor("s", {}, {0.5});
  model.node("QuantizeLinear", {"x", "s"}, "q").node("DequantizeLinear", {"q", "s"}, "y").show("y", 2);
  EXPECT_THAT(error_of(model), HasSubstr("only weights may be integers"));
  OnnxModel other(13);
  other.input("x", {1, 2}).tensor("s", {}, {0.5}).node("DequantizeLinear", {"x", "s"}, "y").show("y", 2);
  EXPECT_THAT(error_of(other), HasSubstr("computed at run time"));
}

TEST(DequantizeLinear, WhatWouldBeRoundedOtherwiseIsRefused) {
  const auto with = [](int type, const auto& add_scale) {
    return dense(2, 21, {"w", "s"}, {}, [&](OnnxModel& m) {
      add_integers(m, "w", type, {1, 2}, {1, 2});
      add_scale(m);
    });
  };
  const auto one = [](OnnxModel& m) { m.tensor("s", {}, {1.0}); };
  EXPECT_EQ(error_of(with(Type::INT8, one)), "no error");
  const auto half = [](OnnxModel& m) { add_integers(m, "s", Type::FLOAT16, {}, {0x3C00}); };
  EXPECT_THAT(error_of(with(Type::INT8, half)), HasSubstr("scales are not float32"));
  EXPECT_THAT(error_of(with(Type::FLOAT16, one)), HasSubstr("not integers of 4, 8, 16 or 32 bits"));
  const auto eight = [](OnnxModel& m) { m.tensor("s", {3}, {1.0, 2.0, 3.0}); };
  EXPECT_THAT(error_of(with(Type::INT8, eight)), HasSubstr("do not fit values of shape 1x2 along axis 1"));
  const auto none = [](OnnxModel& m) { m.tensor("s", {}, {std::nan("")}); };
  EXPECT_THAT(error_of(with(Type::INT8, none)), HasSubstr("not float32 numbers"));
}

}  // namespace
}  // namespace quantbound::network
