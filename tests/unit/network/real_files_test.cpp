// The real networks of ../shared/data: every ONNX file loads and agrees with the outputs that ONNX Runtime gave, except
// the integer network, which is refused by name.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/float_forward.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/network/readers.hpp"

namespace quantbound::network {
namespace {

namespace fs = std::filesystem;

const fs::path data = QUANTBOUND_SHARED_DATA;

std::vector<fs::path> files(const fs::path& directory, const std::string& extension) {
  std::set<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.path().extension() == extension) found.insert(entry.path());
  }
  return {found.begin(), found.end()};
}

/// The numbers behind `"key":` in a JSON text, nested lists flattened.
std::vector<double> json_numbers(const std::string& json, const std::string& key) {
  std::vector<double> numbers;
  std::size_t position = json.find('"' + key + '"');
  if (position == std::string::npos) return numbers;
  position = json.find('[', position);
  for (int depth = 0; position < json.size();) {
    const char c = json[position];
    depth += c == '[' ? 1 : (c == ']' ? -1 : 0);
    if (depth == 0) break;
    if (c == '[' || c == ']' || c == ',' || c == ' ') {
      ++position;
      continue;
    }
    std::size_t length = 0;
    numbers.push_back(std::stod(json.substr(position, 40), &length));
    position += length;
  }
  return numbers;
}

std::string text_of(const fs::path& path) {
  std::ifstream stream(path);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// The input of seed `seed` (reference/README.md).
std::vector<double> generated_input(std::uint32_t seed, Index count) {
  std::vector<double> values;
  std::uint32_t state = seed;
  for (Index i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    values.push_back(static_cast<double>(state >> 8) / 16777216.0 * 2.0 - 1.0);
  }
  return values;
}

std::vector<double> softmax(std::span<const double> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  std::vector<double> out;
  double sum = 0.0;
  for (const double x : logits) sum += out.emplace_back(std::exp(x - top));
  for (double& x : out) x /= sum;
  return out;
}

/// Largest differences to the reference, relative to its largest output.
struct Comparison {
  double in_double = 0.0, in_float = 0.0;
};

std::vector<double> float_outputs(const Network& network, const std::vector<double>& samples, Index batch) {
  FloatForward engine(network.graph, batch);
  engine.use(engine.make_weights(network.layers));
  const std::vector<float> inputs(samples.begin(), samples.end());
  const auto outputs = engine.run(inputs);
  return {outputs.begin(), outputs.end()};
}

double error_of(const Network& network, const std::vector<double>& values, const std::vector<double>& expected) {
  const auto outputs = static_cast<std::size_t>(tensor::elements(network.graph.output_shape()));
  const bool dropped_softmax = std::any_of(network.notes.begin(), network.notes.end(), [](const std::string& note) {
    return note.find("Softmax") != std::string::npos;
  });
  double difference = 0.0, largest = 0.0;
  for (std::size_t first = 0; first < expected.size(); first += outputs) {
    std::vector<double> sample(values.begin() + static_cast<Index>(first),
                               values.begin() + static_cast<Index>(first + outputs));
    if (dropped_softmax) sample = softmax(sample);
    for (std::size_t i = 0; i < outputs; ++i) {
      difference = std::max(difference, std::abs(sample[i] - expected[first + i]));
      largest = std::max(largest, std::abs(expected[first + i]));
    }
  }
  return difference / largest;
}

Comparison compare(const Network& network, const std::string& json) {
  const std::vector<double> expected = json_numbers(json, "outputs"), seeds = json_numbers(json, "seeds");
  const Index count = tensor::elements(network.graph.input_shape());
  const auto outputs = static_cast<std::size_t>(tensor::elements(network.graph.output_shape()));
  EXPECT_EQ(expected.size(), outputs * seeds.size());
  if (expected.size() != outputs * seeds.size()) return {1.0, 1.0};
  std::vector<double> samples;
  for (const double seed : seeds) {
    const std::vector<double> sample = generated_input(static_cast<std::uint32_t>(seed), count);
    samples.insert(samples.end(), sample.begin(), sample.end());
  }
  const Index batch = std::ssize(seeds);
  return {error_of(network, forward(network.graph, network.layers, samples, batch), expected),
          error_of(network, float_outputs(network, samples, batch), expected)};
}

ReadOptions options_for(const fs::path& path) {
  if (path.stem() == "ch_ppocr_mobile_v2.0_cls_infer") return {Shape{3, 48, 192}};
  return {};
}

TEST(RealOnnxFiles, LoadAndAgreeWithOnnxRuntime) {
  if (!fs::exists(data)) GTEST_SKIP() << "no " << data;
  int loaded = 0, compared = 0;
  for (const fs::path& path : files(data / "models", ".onnx")) {
    if (path.stem() == "mobilenetv2-12-int8") continue;
    SCOPED_TRACE(path.string());
    const std::string group = path.parent_path().filename().string();
    const Network network = read_onnx(path, options_for(path));
    ++loaded;
    const fs::path reference = data / "reference/outputs" / (group + "__" + path.stem().string() + ".json");
    if (!fs::exists(reference)) continue;
    const Comparison error = compare(network, text_of(reference));
    EXPECT_LE(error.in_double, 2e-5);
    EXPECT_LE(error.in_float, group == "imagenet" ? 1e-3 : 1e-4);
    std::ostringstream figure;
    figure << error.in_double << ' ' << error.in_float;
    RecordProperty(group + "__" + path.stem().string(), figure.str());
    ++compared;
  }
  EXPECT_GE(loaded, 74);
  EXPECT_GE(compared, 66);
}

TEST(RealOnnxFiles, FoldedAndUnfoldedTwinsAgree) {
  if (!fs::exists(data)) GTEST_SKIP() << "no " << data;
  for (const std::string& name : std::vector<std::string>{"cifar10/resnet20_cifar10", "cifar10/resnet32_cifar10",
                                                          "cifar10/resnet44_cifar10", "imagenet/mbv1_0.25_224_float"}) {
    SCOPED_TRACE(name);
    const Network folded = read_onnx(data / "models" / (name + "_folded.onnx")),
                  normalized = read_onnx(data / "models" / (name + "_bn.onnx"));
    ASSERT_EQ(folded.graph.nodes.size(), normalized.graph.nodes.size()) << "nothing is left of BatchNormalization";
    const std::vector<double> x = generated_input(3, tensor::elements(folded.graph.input_shape()));
    const std::vector<double> a = forward(folded.graph, folded.layers, x, 1),
                              b = forward(normalized.graph, normalized.layers, x, 1);
    double difference = 0.0, largest = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      difference = std::max(difference, std::abs(a[i] - b[i]));
      largest = std::max(largest, std::abs(a[i]));
    }
    EXPECT_LE(difference, 1e-5 * largest);
  }
}

TEST(RealOnnxFiles, NetworksWithoutABatchAxisAreTheSameFunction) {
  if (!fs::exists(data)) GTEST_SKIP() << "no " << data;
  // The isomorphic originals are the ACAS Xu networks rewritten as W x + b without a batch axis.
  for (const std::string& name : std::vector<std::string>{"1_1", "1_5", "1_9", "2_6"}) {
    SCOPED_TRACE(name);
    const std::string file = "ACASXU_run2a_" + name + "_batch_2000.onnx";
    const Network a = read_onnx(data / "models/isomorphic" / file), b = read_onnx(data / "models/acasxu" / file);
    const std::vector<double> x = generated_input(3, 5);
    const std::vector<double> at_a = forward(a.graph, a.layers, x, 1), at_b = forward(b.graph, b.layers, x, 1);
    for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(at_a[i], at_b[i], 1e-5 * (1.0 + std::abs(at_b[i])));
  }
}

TEST(RealOnnxFiles, TheIntegerNetworkIsRefusedByOperatorAndNode) {
  if (!fs::exists(data)) GTEST_SKIP() << "no " << data;

  try {
    read_network(data / "models/imagenet/mobilenetv2-12-int8.onnx");
    FAIL() << "it loaded";
  } catch (const core::UnsupportedOperator& error) {
    EXPECT_EQ(error.op(), "QuantizeLinear");
    EXPECT_NE(error.node(), "");
    EXPECT_NE(std::string(error.what()).find("give the float network"), std::string::npos) << error.what();
  }
}

TEST(RealOnnxFiles, AnOpenInputShapeMustBeGivenAndMustFit) {
  if (!fs::exists(data)) GTEST_SKIP() << "no " << data;
  const fs::path path = data / "models/npm/ch_ppocr_mobile_v2.0_cls_infer.onnx";

  EXPECT_THROW(read_onnx(path), core::InputError);
  EXPECT_THROW(read_onnx(path, {Shape{1, 48, 192}}), core::InputError);
  EXPECT_EQ(read_onnx(path, {Shape{3, 48, 192}}).graph.output_shape(), Shape{2});
}

}  // namespace
}  // namespace quantbound::network
