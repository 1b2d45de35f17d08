// The price of quantizing MobileNetV2 (53 layers, 3.5 million weights, random) in nanoseconds per weight, on one
// thread, beside a copy of the weights and the plain loop over quantize_value:
//
//   quantize_bench [ROUNDS]
//       one line per quantizer and granularity; the smallest time of each column counts
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <malloc.h>
#include <omp.h>

#include "quantbound/network/families.hpp"
#include "quantbound/quantize/quantize.hpp"

namespace quantbound {
namespace {

using quantize::Configuration;
using quantize::LayerParameters;
using quantize::RowGrid;

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void plain_loop(const LayerParameters& layer, quantize::Index number, const Configuration& configuration,
                const std::vector<RowGrid>& grids, std::vector<double>& result) {
  const quantize::StochasticUniforms uniforms(configuration, number);
  const std::size_t columns = layer.weights.size() / grids.size();
  for (std::size_t i = 0; i < layer.weights.size(); ++i) {
    const bool random = configuration.quantizer == quantize::Quantizer::stochastic;
    const double uniform = random ? uniforms(static_cast<quantize::Index>(i)) : 0.0;
    result[i] = quantize::quantize_value(layer.weights[i], grids[i / columns], configuration.quantizer, uniform);
  }
}

/// What is timed, for all layers.
struct Column {
  const char* name;
  std::function<void()> work;
};

/// The columns of one configuration. `grids` and `result` hold what the work reads and writes.
std::vector<Column> columns_of(const network::Network& f, const Configuration& c,
                               std::vector<quantize::LayerGrids>& grids, std::vector<std::vector<double>>& result) {
  const auto each_layer = [&f](const auto& work) {
    return [&f, work] {
      for (std::size_t l = 0; l < f.layers.size(); ++l) work(l, static_cast<quantize::Index>(l), f.layers[l]);
    };
  };
  return {{"copy", each_layer([&](auto l, auto, auto& layer) { std::ranges::copy(layer.weights, result[l].begin()); })},
          {"plain", each_layer([&](auto l, auto number, auto& layer) {
             plain_loop(layer, number, c, grids[l].weights, result[l]);
           })},
          {"choose_grids", each_layer([&](auto l, auto, auto& layer) { grids[l] = quantize::choose_grids(layer, c); })},
          {"quantize_weights", each_layer([&](auto l, auto number, auto& layer) {
             quantize::quantize_weights(layer.weights, number, c, grids[l].weights, result[l]);
           })},
          {"quantize_layer", each_layer([&](auto, auto number, auto& layer) {
             const LayerParameters quantized = quantize::quantize_layer(layer, number, c);
           })},
          {"quantize_layers", [&] { const auto quantized = quantize::quantize_layers(f.layers, c); }}};
}

/// The smallest seconds of each column.
std::vector<double> times(const std::vector<Column>& columns, int rounds) {
  std::vector<double> least(columns.size(), std::numeric_limits<double>::infinity());
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t k = 0; k < columns.size(); ++k) least[k] = std::min(least[k], seconds(columns[k].work));
  }
  return least;
}

void run(int rounds) {
  const auto f = network::make_network(
      {.family = network::Family::mobilenet_v2, .depth = 53, .width = 32, .outputs = 1000, .resolution = 224});
  std::vector<std::vector<double>> result;
  std::size_t weights = 0;
  for (const auto& layer : f.layers) {
    weights += layer.weights.size();
    result.emplace_back(layer.weights.size());
  }
  fmt::print("{} layers, {} weights; ns per weight\n", f.layers.size(), weights);
  using quantize::Granularity, quantize::Quantizer, quantize::StepRule;
  bool first = true;
  for (const Configuration& c :
       {Configuration{.quantizer = Quantizer::floor}, Configuration{.quantizer = Quantizer::round},
        Configuration{.quantizer = Quantizer::truncate}, Configuration{.quantizer = Quantizer::stochastic},
        Configuration{.quantizer = Quantizer::round, .granularity = Granularity::channel},
        Configuration{.quantizer = Quantizer::round, .step_rule = StepRule::mse}}) {
    std::vector<quantize::LayerGrids> grids;
    for (const auto& layer : f.layers) grids.push_back(quantize::choose_grids(layer, c));
    const auto columns = columns_of(f, c, grids, result);
    if (std::exchange(first, false)) {
      fmt::print("{:<28}", "");
      for (const Column& column : columns) fmt::print("{:>17}", column.name);
      fmt::print("\n");
    }
    fmt::print("{:<28}", label(c) + (c.step_rule == StepRule::mse ? "/mse" : ""));
    for (const double time : times(columns, rounds)) fmt::print("{:>17.2f}", 1e9 * time / static_cast<double>(weights));
    fmt::print("\n");
  }
}

}  // namespace
}  // namespace quantbound

int main(int argc, char** argv) {
  omp_set_num_threads(1);
  mallopt(M_MMAP_THRESHOLD, 1 << 30);  // as the program does
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  quantbound::run(argc > 1 ? std::atoi(argv[1]) : 10);
  return 0;
}
