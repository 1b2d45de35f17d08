// Damaged files: whatever bytes come, the outcome is a network or a core::Error, in little time and memory.
#include <cstdint>
#include <string>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "quantbound/core/error.hpp"

#include "../../support/damage.hpp"
#include "onnx_model.hpp"

namespace quantbound::network {
namespace {

using namespace testing;  // NOLINT: the helpers of this directory

/// A network with most operators, constants of several kinds and a shape computed at load time.
std::string onnx_bytes() {
  OnnxModel model(11);
  model.input("x", {-1, 2, 6, 6}).tensor("w", {4, 1, 3, 3}, scattered(36)).tensor("b", {4}, scattered(4));
  model.tensor("s", {4}, ramp(4)).tensor("low", {}, {0}).tensor("high", {}, {6}).tensor("c", {4, 1, 1}, ramp(4));
  model.integer_list("pads", {0, 0, 1, 0, 0, 0, 0, 1}).integer_list("from", {0}).integer_list("to", {INT64_MAX});
  model.integer_list("axis", {2})
      .integer_list("step", {2})
      .tensor("m", {36, 5}, scattered(180))
      .tensor("n", {5}, ramp(5));
  model.node("Conv", {"x", "w", "b"}, "v1",
             {integers("pads", {1, 1, 1, 1}), integer("group", 2), integers("strides", {1, 1})});
  model.node("BatchNormalization", {"v1", "s", "s", "b", "s"}, "v2", {real("epsilon", 1e-3F)});
  model.node("Clip", {"v2", "low", "high"}, "v3").node("Mul", {"v3", "c"}, "v4").node("Add", {"v4", "v2"}, "v5");
  model.node("MaxPool", {"v5"}, "v6",
             {integers("kernel_shape", {2, 2}), integers("strides", {2, 2}), integer("ceil_mode", 1)});
  model.node("Pad", {"v6", "pads"}, "v7").node("Slice", {"v7", "from", "to", "axis", "step"}, "v8");
  model.node("GlobalAveragePool", {"v5"}, "g").node("Sigmoid", {"g"}, "h").node("Mul", {"v5", "h"}, "v9");
  model.node("AveragePool", {"v9"}, "v10",
             {integers("kernel_shape", {3, 3}), integers("strides", {2, 2}), integers("pads", {0, 0, 1, 1})});
  model.node("Concat", {"v10", "v10"}, "v11", {integer("axis", 1)})
      .node("ReduceMean", {"v11"}, "v12", {integers("axes", {2, 3}), integer("keepdims", 0)});
  model.node("Transpose", {"v10"}, "v13", {integers("perm", {0, 2, 3, 1})})
      .node("Shape", {"v13"}, "shape")
      .node("Constant", {}, "zero", {integer("value_int", 0)});
  model.node("Gather", {"shape", "zero"}, "batch")
      .node("Unsqueeze", {"batch"}, "first", {integers("axes", {0})})
      .node("Constant", {}, "rest", {integers("value_ints", {-1})});
  model.node("Concat", {"first", "rest"}, "target", {integer("axis", 0)}).node("Reshape", {"v13", "target"}, "v14");
  model.node("Gemm", {"v14", "m", "n"}, "v15", {real("alpha", 0.5F)})
      .node("HardSigmoid", {"v15"}, "v16")
      .node("LeakyRelu", {"v16"}, "v17");
  model.node("Softmax", {"v17"}, "y", {integer("axis", 1)}).output("y");
  return model.bytes();
}

/// Weights that are stored as integers of 4, 8 and 32 bits, by axis, in blocks and all alike, and one rounded while it
/// is read.
std::string integer_onnx_bytes() {
  OnnxModel model(21);
  const auto add = [&](const std::string& name, int type, const Integers& dims, const Integers& values) {
    auto& tensor = *model.graph().add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(type);
    for (const auto dim : dims) tensor.add_dims(dim);
    for (const auto value : values) tensor.add_int32_data(static_cast<std::int32_t>(value));
  };
  model.input("x", {-1, 4});
  add("w1", ::onnx::TensorProto::INT8, {3, 4}, {1, -2, 3, -128, 127, 0, 5, 6, 7, 8, 9, 10});
  add("z1", ::onnx::TensorProto::INT8, {3}, {0, 1, 2});
  add("b1", ::onnx::TensorProto::INT32, {3}, {1000, -1000, 0});
  add("w2", 21, {3, 3}, {0x21, 0x43, 0x65, 0x87, 0x09});
  add("z3", ::onnx::TensorProto::UINT8, {}, {128});
  model.tensor("s1", {3}, ramp(3)).tensor("s2", {3, 2}, ramp(6)).tensor("s", {}, {0.25});
  model.tensor("w3", {2, 3}, scattered(6));
  model.node("DequantizeLinear", {"w1", "s1", "z1"}, "W1", {integer("axis", 0)});
  model.node("DequantizeLinear", {"b1", "s1"}, "B1", {integer("axis", 0)});
  model.node("DequantizeLinear", {"w2", "s2"}, "W2", {integer("axis", 1), integer("block_size", 2)});
  model.node("QuantizeLinear", {"w3", "s", "z3"}, "q3").node("DequantizeLinear", {"q3", "s", "z3"}, "W3");
  model.node("Gemm", {"x", "W1", "B1"}, "v1", {integer("transB", 1)}).node("Relu", {"v1"}, "v2");
  model.node("Gemm", {"v2", "W2"}, "v3").node("Gemm", {"v3", "W3"}, "y", {integer("transB", 1)}).output("y");
  return model.bytes();
}

const std::string nnet_text =
    "// a network\n2,2,1,3,\n2,3,1,\n0,\n-1.0,0.0,\n3.0,10.0,\n1.0,5.0,0.25,\n2.0,10.0,4.0,\n"
    "1,2,\n-1,0.5,\n0.1,1e-3,\n0,\n1,\n-0.5,\n1,-1,2,\n0.25,\n";

const std::string vnnlib_text =
    "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)\n"
    "(assert (or (and (<= X_0 0.5) (>= X_0 -1e-1)) (and (<= X_0 2) (>= X_0 (- 1)))))\n"
    "(assert (<= X_1 1))(assert (>= X_1 0)) ; end\n(assert (>= Y_0 3.99))";

struct Outcomes {
  int loaded = 0, refused = 0;
};

/// Reads `rounds` damaged versions of `whole`.
template <class Read>
Outcomes fuzz(const std::string& whole, const std::string& extension, int rounds, Read read) {
  const TemporaryFile file("", extension);
  quantbound::testing::Damage damaged(extension);
  Outcomes outcomes;
  for (int round = 0; round < rounds; ++round) {
    file.write(damaged(whole));
    try {
      read(file.path());
      ++outcomes.loaded;
    } catch (const core::Error& error) {
      EXPECT_NE(std::string(error.what()), "");
      ++outcomes.refused;
    }
  }
  return outcomes;
}

/// Kilobytes that the process has needed at most so far.
std::int64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

TEST(DamagedFiles, OnnxEndsInANetworkOrAnError) {
  const std::string whole = onnx_bytes();
  ASSERT_EQ(read_onnx(TemporaryFile(whole, ".onnx").path()).layers.size(), 2U);
  const std::int64_t before = peak_memory();

  const Outcomes outcomes = fuzz(whole, ".onnx", 6000, [](const auto& path) { read_onnx(path); });

  EXPECT_GT(outcomes.loaded, 300) << "the damage is too heavy to test anything";
  EXPECT_GT(outcomes.refused, 2000) << "the damage is too light to test anything";
  EXPECT_LT(peak_memory() - before, 1000000) << "kilobytes";
}

TEST(DamagedFiles, OnnxWithIntegersEndsInANetworkOrAnError) {
  const std::string whole = integer_onnx_bytes();
  ASSERT_EQ(read_onnx(TemporaryFile(whole, ".onnx").path()).layers.size(), 3U);
  const Outcomes outcomes = fuzz(whole, ".onnx", 6000, [](const auto& path) { read_onnx(path); });
  EXPECT_GT(outcomes.loaded, 300) << "the damage is too heavy to test anything";
  EXPECT_GT(outcomes.refused, 2000) << "the damage is too light to test anything";
}

TEST(DamagedFiles, NnetEndsInANetworkOrAnError) {
  const Outcomes outcomes = fuzz(nnet_text, ".nnet", 4000, [](const auto& path) { read_nnet(path); });
  EXPECT_GT(outcomes.loaded, 300);
  EXPECT_GT(outcomes.refused, 1000);
}

TEST(DamagedFiles, VnnlibEndsInABoxOrAnError) {
  const Outcomes outcomes = fuzz(vnnlib_text, ".vnnlib", 12000, [](const auto& path) { read_vnnlib_box(path, 2); });
  EXPECT_GT(outcomes.loaded, 300);
  EXPECT_GT(outcomes.refused, 1000);
}

}  // namespace
}  // namespace quantbound::network
