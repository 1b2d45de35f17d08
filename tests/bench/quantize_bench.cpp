// The price of quantizing MobileNetV2 (53 layers, 3.5 million weights, random) in nanoseconds per weight, on one
// thread, beside a copy of the weights and the plain loop over quantize_value:
//
//   quantize_bench [ROUNDS]
//       one line per quantizer and granularity; the smallest time of each column counts
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <limits>

#include <fmt/format.h>
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

void run(int rounds) {
  const auto f = network::make_network(
      {.family = network::Family::mobilenet_v2, .depth = 53, .width = 32, .outputs = 1000, .resolution = 224});
  std::size_t weights = 0;
  for (const auto& layer : f.layers) weights += layer.weights.size();
  fmt::print("{} layers, {} weights; ns per weight\n", f.layers.size(), weights);
  fmt::print("{:<28}{:>8}{:>10}{:>10}{:>16}{:>14}{:>12}\n", "configuration", "copy", "plain", "grids", "quantize_layer",
             "with grids", "into span");
  using quantize::Granularity, quantize::Quantizer, quantize::StepRule;
  for (const Configuration& c :
       {Configuration{.quantizer = Quantizer::floor}, Configuration{.quantizer = Quantizer::round},
        Configuration{.quantizer = Quantizer::truncate}, Configuration{.quantizer = Quantizer::stochastic},
        Configuration{.quantizer = Quantizer::round, .granularity = Granularity::channel},
        Configuration{.quantizer = Quantizer::round, .step_rule = StepRule::mse}}) {
    std::vector<quantize::LayerGrids> grids;
    std::vector<std::vector<double>> result;
    for (const auto& layer : f.layers) {
      grids.push_back(quantize::choose_grids(layer, c));
      result.emplace_back(layer.weights.size());
    }
    const auto each_layer = [&](const auto& work) {
      return std::function<void()>([&, work] {
        for (std::size_t l = 0; l < f.layers.size(); ++l) work(l, static_cast<quantize::Index>(l), f.layers[l]);
      });
    };
    const std::array columns{
        each_layer([&](auto l, auto, const auto& layer) { std::ranges::copy(layer.weights, result[l].begin()); }),
        each_layer([&](auto l, auto number, const auto& layer) {
          plain_loop(layer, number, c, grids[l].weights, result[l]);
        }),
        each_layer([&](auto l, auto, const auto& layer) { grids[l] = quantize::choose_grids(layer, c); }),
        each_layer([&](auto, auto number, const auto& layer) { quantize::quantize_layer(layer, number, c); }),
        each_layer([&](auto l, auto number, const auto& layer) {
          quantize::quantize_layer(layer, number, c, grids[l]);
        }),
        each_layer([&](auto l, auto number, const auto& layer) {
          quantize::quantize_weights(layer.weights, number, c, grids[l], result[l]);
        })};
    std::array<double, columns.size()> least;
    least.fill(std::numeric_limits<double>::infinity());
    for (int round = 0; round < rounds; ++round) {
      for (std::size_t k = 0; k < columns.size(); ++k) least[k] = std::min(least[k], seconds(columns[k]));
    }
    for (double& time : least) time *= 1e9 / static_cast<double>(weights);
    fmt::print("{:<28}{:>8.2f}{:>10.2f}{:>10.2f}{:>16.2f}{:>14.2f}{:>12.2f}\n",
               label(c) + (c.step_rule == StepRule::mse ? "/mse" : ""), least[0], least[1], least[2], least[3],
               least[4], least[5]);
  }
}

}  // namespace
}  // namespace quantbound

int main(int argc, char** argv) {
  omp_set_num_threads(1);
  quantbound::run(argc > 1 ? std::atoi(argv[1]) : 10);
  return 0;
}
