// Networks written as ONNX and read back.
#include "quantbound/network/writer.hpp"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>
#include <sys/resource.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/families.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/network/readers.hpp"

#include "onnx_model.hpp"
#include "random_graph.hpp"

namespace quantbound::network {
namespace {

namespace fs = std::filesystem;
using testing::Builder;
using testing::Draw;
using ::testing::HasSubstr;
using testing::TemporaryFile;

Network written_and_read(const Network& network) {
  const TemporaryFile file("", ".onnx");
  write_onnx(network, file.path());
  EXPECT_FALSE(fs::exists(file.path().string() + ".partial"));
  return read_onnx(file.path());
}

bool is_double(const Network& network) {
  const TemporaryFile file("", ".onnx");
  write_onnx(network, file.path());
  std::ifstream stream(file.path(), std::ios::binary);
  ::onnx::ModelProto model;
  EXPECT_TRUE(model.ParseFromString({std::istreambuf_iterator<char>(stream), {}}));
  return model.graph().input(0).type().tensor_type().elem_type() == ::onnx::TensorProto::DOUBLE;
}

void expect_same_layers(const Network& a, const Network& b, const std::string& what) {
  ASSERT_EQ(a.layers.size(), b.layers.size()) << what;
  for (std::size_t l = 0; l < a.layers.size(); ++l) {
    EXPECT_EQ(a.layers[l].weights, b.layers[l].weights) << what << " layer " << l;
    EXPECT_EQ(a.layers[l].bias, b.layers[l].bias) << what << " layer " << l;
  }
}

std::string describe(const Operator& op) {
  std::string text(operator_name(op));
  const auto list = [&](const auto& values) {
    for (const auto value : values) text += ' ' + std::to_string(value);
  };
  if (const auto* slice = std::get_if<Slice>(&op)) list(slice->start), list(slice->step), list(slice->count);
  if (const auto* pad = std::get_if<Pad>(&op)) list(pad->before), list(pad->after), list(std::vector{pad->value});
  if (const auto* permute = std::get_if<Permute>(&op)) list(permute->axes);
  if (const auto* concat = std::get_if<Concat>(&op)) list(std::vector{concat->axis});
  if (const auto* affine = std::get_if<ScaleShift>(&op)) list(affine->scale), list(affine->shift);
  if (const auto* activation = std::get_if<Activation>(&op)) list(std::vector{activation->alpha, activation->beta});
  if (const auto* pool = std::get_if<AveragePool>(&op)) list(std::vector<int>{pool->divisor_includes_pads});
  return text;
}

bool same_window(const Operator& a, const Operator& b) {
  if (const auto* left = std::get_if<Convolution>(&a)) return left->geometry == std::get<Convolution>(b).geometry;
  if (const auto* left = std::get_if<MaxPool>(&a)) return left->window == std::get<MaxPool>(b).window;
  if (const auto* left = std::get_if<AveragePool>(&a)) return left->window == std::get<AveragePool>(b).window;
  return true;
}

/// Node for node, names included.
void expect_identical(const Network& a, const Network& b, const std::string& what) {
  ASSERT_EQ(a.graph.nodes.size(), b.graph.nodes.size()) << what;
  for (std::size_t v = 0; v < a.graph.nodes.size(); ++v) {
    const Node &left = a.graph.nodes[v], &right = b.graph.nodes[v];
    EXPECT_EQ(left.name, right.name) << what;
    EXPECT_EQ(left.shape, right.shape) << what << ' ' << left.name;
    EXPECT_EQ(left.inputs, right.inputs) << what << ' ' << left.name;
    ASSERT_EQ(left.op.index(), right.op.index()) << what << ' ' << left.name;
    EXPECT_EQ(describe(left.op), describe(right.op)) << what << ' ' << left.name;
    EXPECT_TRUE(same_window(left.op, right.op)) << what << ' ' << left.name;
  }
  EXPECT_EQ(a.graph.output, b.graph.output);
  expect_same_layers(a, b, what);
}

/// GCC 12 drops the conversion to float and back of two neighbours that it takes together; not that of one in a call.
[[gnu::noinline]] double rounded_to_float(double value) { return static_cast<double>(static_cast<float>(value)); }

/// Attributes are float32 in ONNX.
void round_attributes(Network& network) {
  for (Node& node : network.graph.nodes) {
    if (auto* op = std::get_if<Activation>(&node.op)) {
      op->alpha = rounded_to_float(op->alpha);
      op->beta = rounded_to_float(op->beta);
    }
  }
}

TEST(Writer, EveryFamilyComesBackIdentical) {
  for (const Family family : {Family::mlp, Family::cnn, Family::resnet, Family::mobilenet_v2}) {
    const Network network = make_network({.family = family, .depth = 8, .width = 8, .inputs = 12, .resolution = 16});
    const Network once = written_and_read(network);
    const std::string what(to_string(family));

    expect_same_layers(network, once, what);
    EXPECT_EQ(once.graph.nodes.size(), network.graph.nodes.size()) << what;
    Draw draw(1);
    const auto x = draw.normals(2 * tensor::elements(network.graph.input_shape()));
    EXPECT_EQ(forward(once.graph, once.layers, x, 2), forward(network.graph, network.layers, x, 2)) << what;
    expect_identical(once, written_and_read(once), what);
  }
}

TEST(Writer, RandomGraphsComeBackWithTheBitsOfTheirWeightsAndOfTheirOutputs) {
  std::set<std::string_view> seen;
  for (std::uint64_t seed = 0; seed < 120; ++seed) {
    Network network = testing::random_network(seed);
    round_attributes(network);
    for (const Node& node : network.graph.nodes) seen.insert(operator_name(node.op));
    const Network once = written_and_read(network);
    const std::string what = "seed " + std::to_string(seed);

    expect_same_layers(network, once, what);
    EXPECT_EQ(once.graph.input_shape(), network.graph.input_shape()) << what;
    EXPECT_EQ(once.graph.output_shape(), network.graph.output_shape()) << what;
    Draw draw(50 + seed);
    const auto x = draw.normals(2 * tensor::elements(network.graph.input_shape()));
    EXPECT_EQ(forward(once.graph, once.layers, x, 2), forward(network.graph, network.layers, x, 2)) << what;
    expect_identical(once, written_and_read(once), what);
  }
  EXPECT_EQ(seen.size(), std::variant_size_v<Operator> + 6) << "every operator, with seven kinds of activation";
}

TEST(Writer, RealNetworksComeBackIdentical) {
  const fs::path models = fs::path(QUANTBOUND_SHARED_DATA) / "models";
  if (!fs::exists(models)) GTEST_SKIP() << "no " << models;
  int count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(models)) {
    const bool is_network = entry.path().extension() == ".onnx" || entry.path().extension() == ".nnet";
    if (!is_network || entry.file_size() > 4000000 ||
        entry.path().filename().string().find("int8") != std::string::npos)
      continue;
    ReadOptions options;
    if (entry.path().filename().string().starts_with("ch_ppocr")) options.input_shape = Shape{3, 48, 192};
    const Network network = read_network(entry.path(), options);
    expect_identical(network, written_and_read(network), entry.path().filename().string());
    ++count;
  }
  EXPECT_GT(count, 40);
}

TEST(Writer, WeightsThatAreNoFloatsMakeAFloat64File) {
  Draw draw(3);
  Builder b({2}, draw);
  b.dense(0, 1);
  Network network = b.build();
  network.layers[0] = {{0.5, -3.25}, {0.0}};
  EXPECT_FALSE(is_double(network));
  network.layers[0].weights[1] = 0.1;
  EXPECT_TRUE(is_double(network));
  network.layers[0] = {{0.5, -0.0}, {0.1}};
  EXPECT_TRUE(is_double(network));
  expect_same_layers(network, written_and_read(network), "0.1");
  network.layers[0] = {{1e300, 0x1p-149}, {0.0}};
  EXPECT_TRUE(is_double(network));
  network.layers[0].weights[0] = 0x1p-149;
  EXPECT_FALSE(is_double(network));
}

std::string error_of(const Network& network, const fs::path& path) {
  try {
    write_onnx(network, path);
  } catch (const core::Error& error) {
    return error.what();
  }
  return {};
}

TEST(Writer, WhatOnnxCannotHoldIsAnError) {
  Draw draw(4);
  Builder leaky({3}, draw);
  leaky.add(Activation{ActivationKind::leaky_relu, 0.1}, {leaky.dense(0, 2)});
  const fs::path path = fs::path(::testing::TempDir()) / "quantbound_writer_refused.onnx";
  EXPECT_THAT(error_of(leaky.build(), path), HasSubstr("alpha 0.1 is no float32 number"));
  Builder dilated({2, 5, 5}, draw);
  tensor::Window window{.kernel_height = 2, .kernel_width = 2};
  window.dilation_height = 2;
  dilated.add(AveragePool{window, false}, {dilated.convolution(0, 2, 1, {})});
  EXPECT_THAT(error_of(dilated.build(), path), HasSubstr("AveragePool has no dilations"));
  EXPECT_FALSE(fs::exists(path));
}

TEST(Writer, AFailingWriteLeavesTheOldFileAndNoOther) {
  const Network network = make_network({.depth = 3, .width = 200, .inputs = 200});  // 600 KB
  const TemporaryFile file("the old bytes", ".onnx");
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  ASSERT_NE(std::signal(SIGXFSZ, SIG_IGN), SIG_ERR);
  const rlimit small{4096, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message = error_of(network, file.path());
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);

  EXPECT_THAT(message, HasSubstr("cannot write: File too large; raise the limit on file sizes"));
  EXPECT_THAT(message, HasSubstr(file.path().string()));
  EXPECT_FALSE(fs::exists(file.path().string() + ".partial"));
  std::ifstream stream(file.path());
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(stream), {}), "the old bytes");
}

TEST(Writer, PlacesThatCannotBeWrittenAreErrorsWithARemedy) {
  const Network network = make_network({.depth = 2, .width = 3, .inputs = 2});
  EXPECT_THAT(error_of(network, "/nowhere/at/all.onnx"),
              HasSubstr("create the directory first (/nowhere/at/all.onnx)"));
  EXPECT_THAT(error_of(network, ::testing::TempDir()), HasSubstr("not a regular file"));
  EXPECT_THAT(error_of(network, "/dev/null"), HasSubstr("not a regular file"));
}

TEST(Writer, ASymbolicLinkStaysOne) {
  const Network network = make_network({.depth = 2, .width = 3, .inputs = 2});
  const TemporaryFile file("old", ".onnx");
  const fs::path link = file.path().string() + ".link.onnx";
  fs::create_symlink(file.path(), link);
  write_onnx(network, link);
  EXPECT_TRUE(fs::is_symlink(link));
  expect_same_layers(read_onnx(file.path()), network, "behind the link");
  fs::remove(link);
}

}  // namespace
}  // namespace quantbound::network
