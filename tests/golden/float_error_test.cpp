// The stated error of float deviations, on every network of the shared data: at 2, 4, 8 and 12 bits a deviation in
// float and one in double differ by no more. QUANTBOUND_LONG=1 takes ten times as many samples and prints, for every
// network, how much of the stated error was used up: 0.03 to 0.2 as a rule, 0.44 at most.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <set>

#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/readers.hpp"
#include "quantbound/observe/deviation.hpp"

namespace quantbound {
namespace {

namespace fs = std::filesystem;
using observe::BlockObservation;
using observe::Index;
using observe::Precision;
using quantize::Configuration;

const fs::path models = fs::path(QUANTBOUND_SHARED_DATA) / "models";

bool long_run() { return std::getenv("QUANTBOUND_LONG") != nullptr; }

/// Pseudo-random inputs in [-1, 1) as those of reference/README.md: seeds 1, 2, ...
std::vector<double> generated_inputs(Index samples, Index size) {
  std::vector<double> values;
  for (Index sample = 0; sample < samples; ++sample) {
    auto state = static_cast<std::uint32_t>(sample + 1);
    for (Index i = 0; i < size; ++i) {
      state = state * 1664525U + 1013904223U;
      values.push_back(static_cast<double>(state >> 8) / 16777216.0 * 2.0 - 1.0);
    }
  }
  return values;
}

/// One file leaves the size of its images open: the one that MANIFEST.md gives.
network::ReadOptions read_options(const fs::path& file) {
  if (file.stem() == "ch_ppocr_mobile_v2.0_cls_infer") return {.input_shape = network::Shape{3, 48, 192}};
  return {};
}

Index samples_for(Index input_size) {
  const Index few = input_size < 100 ? 100 : (input_size < 4000 ? 12 : 2);
  return long_run() ? 10 * few : few;
}

std::vector<Configuration> configurations() {
  std::vector<Configuration> result;
  for (const int bits : {2, 4, 8, 12}) {
    result.push_back({.quantizer = quantize::Quantizer::floor, .bits = bits});
    result.push_back({.granularity = quantize::Granularity::channel, .bits = bits});
  }
  return result;
}

/// Largest difference to the deviations in double, in units of the stated error. Deviations without an error must be
/// equal.
double used_up(const BlockObservation& block, const BlockObservation& in_double) {
  double worst = 0.0;
  for (std::size_t i = 0; i < block.deviation.size(); ++i) {
    const double difference = std::abs(block.deviation[i] - in_double.deviation[i]);
    const double error = block.error[i / static_cast<std::size_t>(block.samples)];
    if (difference > 0.0) worst = std::max(worst, difference / error);
  }
  return worst;
}

TEST(FloatError, IsWithinWhatIsStatedOnEveryNetwork) {
  if (!fs::exists(models)) GTEST_SKIP() << "no shared data at " << models;
  std::set<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(models)) {
    if (entry.path().extension() == ".onnx" || entry.path().extension() == ".nnet") files.insert(entry.path());
  }
  int networks = 0;
  for (const fs::path& file : files) {
    network::Network network;
    try {
      network = network::read_network(file, read_options(file));
    } catch (const core::UnsupportedOperator&) {
      continue;  // the integer network
    }
    const Index size = tensor::elements(network.graph.input_shape());
    const auto inputs = generated_inputs(samples_for(size), size);
    const auto measure = [&](Precision precision) {
      return observe::observe(network.graph, network.layers, configurations(), inputs, {}, {.precision = precision});
    };
    const auto in_double = measure(Precision::float64);
    const double in_float = used_up(measure(Precision::float32), in_double);
    EXPECT_LE(in_float, 1.0) << file;
    EXPECT_LE(used_up(measure(Precision::automatic), in_double), 1.0) << file;
    if (long_run()) std::cout << file.lexically_relative(models).string() << ": " << in_float << '\n';
    ++networks;
  }
  EXPECT_GE(networks, 74);
}

}  // namespace
}  // namespace quantbound
