// .nnet files: normalised units, exact numbers, the box of the header, and errors with their line.
#include <cmath>
#include <filesystem>
#include <string>

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

const std::string two_layers =
    "// a comment\n"
    "//another\n"
    "2,2,1,3,\n"
    "2,3,1,\n"
    "0,\n"
    "-1.0,0.0,\n"
    "3.0,10.0,\n"
    "1.0,5.0,0.25,\n"
    "2.0,10.0,4.0,\n"
    "1,2,\n"
    "-1,0.5,\n"
    "0.1,1e-3,\n"
    "0,\n"
    "1,\n"
    "-0.5,\n"
    "1,-1,2,\n"
    "0.25,\n";

Network read(const std::string& text) { return read_nnet(TemporaryFile(text, ".nnet").path()); }

std::string error_of(const std::string& text) {
  try {
    read(text);
  } catch (const core::InputError& error) {
    return error.what();
  }
  return {};
}

std::string replaced(const std::string& from, const std::string& to) {
  std::string text = two_layers;
  return text.replace(text.find(from), from.size(), to);
}

TEST(Nnet, IsTheBareNetworkWithItsNormalisedBox) {
  const Network network = read(two_layers);

  EXPECT_THAT(operators(network.graph), ElementsAre("Gemm", "Relu", "Gemm"));
  EXPECT_THAT(network.layers[0].weights, ElementsAre(1, 2, -1, 0.5, 0.1, 1e-3));
  EXPECT_THAT(network.layers[0].bias, ElementsAre(0, 1, -0.5));
  ASSERT_TRUE(network.domain.has_value());
  EXPECT_THAT(network.domain->low, ElementsAre(-1.0, -0.5));
  EXPECT_THAT(network.domain->high, ElementsAre(1.0, 0.5));
  const std::vector<double> x{1.0, 1.0};
  expect_near(forward(network.graph, network.layers, x, 1), {3.0 - 0.5 + 0.25});
  EXPECT_TRUE(network.graph.is_chain());
}

TEST(Nnet, NumbersKeepAllTheirDigits) {
  EXPECT_EQ(read(replaced("0.1,1e-3", "0.1234567890123456789,+1E-3")).layers[0].weights[4], 0.1234567890123456789);
}

TEST(Nnet, AnUnboundedRangeIsNoDomain) {
  const Network network = read(replaced("-1.0,0.0,\n3.0,10.0", "-3.40282e+38,0.0,\n3.40282e+38,10.0"));
  EXPECT_FALSE(network.domain.has_value());
  ASSERT_EQ(network.notes.size(), 1U);
  EXPECT_THAT(network.notes[0], HasSubstr("states no bounded input range"));
}

TEST(Nnet, ErrorsNameTheLine) {
  EXPECT_THAT(error_of(""), AllOf(HasSubstr("cut off"), HasSubstr(".nnet:1)")));
  EXPECT_THAT(error_of(replaced("2,2,1,3", "2,2")), HasSubstr(".nnet:3)"));
  EXPECT_THAT(error_of(replaced("2,2,1,3", "-2,2,1,3")), AllOf(HasSubstr("not a size"), HasSubstr(".nnet:3)")));
  EXPECT_THAT(error_of(replaced("2,2,1,3", "2.5,2,1,3")), HasSubstr("not a size"));
  EXPECT_THAT(error_of(replaced("2,2,1,3", "0,2,1,3")), HasSubstr("at least one layer"));
  EXPECT_THAT(error_of(replaced("2,2,1,3", "9,2,1,3")),
              AllOf(HasSubstr("3 sizes for 9 layers"), HasSubstr(".nnet:4)")));
  EXPECT_THAT(error_of(replaced("2,3,1", "2,0,1")), HasSubstr("without neurons"));
  EXPECT_THAT(error_of(replaced("2,3,1", "4,3,1")), HasSubstr("from 4 to 1, the line before says 2 to 1"));
  EXPECT_THAT(error_of(replaced("-1.0,0.0", "-1.0")), AllOf(HasSubstr("input minima"), HasSubstr(".nnet:6)")));
  EXPECT_THAT(error_of(replaced("-1.0,0.0", "-1.0,11.0")), HasSubstr("minimum 11 above maximum 10"));
  EXPECT_THAT(error_of(replaced("2.0,10.0,4.0", "2.0,0.0,4.0")),
              AllOf(HasSubstr("range 0 of input 1"), HasSubstr(".nnet:9)")));
  EXPECT_THAT(error_of(replaced("2.0,10.0,4.0", "2.0,1e-308,4.0")), HasSubstr("infinite"));
  EXPECT_THAT(error_of(replaced("-1,0.5", "-1")),
              AllOf(HasSubstr("1 weights in row 1 of layer 0, 2 are needed"), HasSubstr(".nnet:11)")));
  EXPECT_THAT(error_of(replaced("-1,0.5", "-1,x")), AllOf(HasSubstr("'x' is not a number"), HasSubstr(".nnet:11)")));
  EXPECT_THAT(error_of(replaced("-1,0.5", "-1,nan")), HasSubstr("'nan' is not a number"));
  EXPECT_THAT(error_of(replaced("-1,0.5", "-1,,0.5")), HasSubstr("'' is not a number"));
  EXPECT_THAT(error_of(replaced("-0.5,\n", "-0.5,1,\n")),
              AllOf(HasSubstr("bias 2 of layer 0"), HasSubstr(".nnet:15)")));
  EXPECT_THAT(error_of(two_layers + "1.0,\n"), AllOf(HasSubstr("more in the file"), HasSubstr(".nnet:18)")));
  EXPECT_THAT(error_of(two_layers.substr(0, two_layers.size() - 6)),
              AllOf(HasSubstr("cut off"), HasSubstr("bias 0 of layer 1")));
}

TEST(Nnet, HugeSizesDoNotMakeHugeNetworks) {
  EXPECT_THAT(error_of(replaced("2,3,1", "2,1000000000,1")), HasSubstr(".nnet:"));
}

TEST(Nnet, RealFilesAgreeWithTheirOnnxTwins) {
  const std::filesystem::path directory = std::filesystem::path(QUANTBOUND_SHARED_DATA) / "models/acasxu";
  if (!std::filesystem::exists(directory)) GTEST_SKIP() << "no " << directory;
  int pairs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() != ".onnx") continue;
    SCOPED_TRACE(entry.path().string());
    const Network onnx = read_onnx(entry.path());
    const Network nnet = read_nnet(std::filesystem::path(entry.path()).replace_extension(".nnet"));
    ASSERT_TRUE(nnet.domain.has_value());
    std::vector<double> samples;
    for (int s = 0; s < 8; ++s) {
      for (std::size_t i = 0; i < 5; ++i) {
        const double share = scattered(40, 9)[static_cast<std::size_t>(s) * 5 + i] / 4.0 + 0.5;  // in [0, 1)
        samples.push_back(nnet.domain->low[i] + share * (nnet.domain->high[i] - nnet.domain->low[i]));
      }
    }
    const std::vector<double> a = forward(onnx.graph, onnx.layers, samples, 8),
                              b = forward(nnet.graph, nnet.layers, samples, 8);
    double difference = 0.0, largest = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      difference = std::max(difference, std::abs(a[i] - b[i]));
      largest = std::max(largest, std::abs(b[i]));
    }
    EXPECT_LE(difference, 1e-5 * largest);
    ++pairs;
  }
  EXPECT_EQ(pairs, 23);
}

TEST(Nnet, EveryRealFileLoads) {
  const std::filesystem::path models = std::filesystem::path(QUANTBOUND_SHARED_DATA) / "models";
  if (!std::filesystem::exists(models)) GTEST_SKIP() << "no " << models;
  int loaded = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(models)) {
    if (entry.path().extension() != ".nnet") continue;
    SCOPED_TRACE(entry.path().string());
    EXPECT_NO_THROW(read_network(entry.path()));
    ++loaded;
  }
  EXPECT_EQ(loaded, 37);
}

}  // namespace
}  // namespace quantbound::network
