// Iterations of learned rounding (AdaRound of a layer, BRECQ of a residual block) for tests/bench/reconstruct.py:
//
//   reconstruct_bench layer|block DATA --channels=64 --size=56 --samples=64 [--batch=32] [--threads=1]
//       DATA holds floats: weights and targets and inputs, as reconstruct.py writes them. Prints "ready"; then for
//       every line "N" runs N iterations and prints the seconds of one and the objective of the last batch.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <omp.h>

#include "quantbound/core/error.hpp"
#include "quantbound/reconstruct/module_objective.hpp"
#include "quantbound/reconstruct/soft_rounding.hpp"

#include "positive_option.hpp"

namespace quantbound {
namespace {

using network::Index;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

struct Options {
  std::string unit, file;
  Index channels = 64, size = 56, samples = 64, batch = 32;
  int threads = 1;
};

Options parse(std::span<char*> arguments) {
  if (arguments.size() < 2) throw core::InputError("usage: reconstruct_bench layer|block DATA ...", "");
  Options o{.unit = arguments[0], .file = arguments[1]};
  if (o.unit != "layer" && o.unit != "block") throw core::InputError("neither 'layer' nor 'block'", o.unit);
  for (const std::string_view argument : arguments.subspan(2))
    if (!bench::take(argument, "--channels=", o.channels) && !bench::take(argument, "--size=", o.size) &&
        !bench::take(argument, "--samples=", o.samples) && !bench::take(argument, "--batch=", o.batch) &&
        !bench::take(argument, "--threads=", o.threads))
      throw core::InputError("unknown argument", std::string(argument));
  return o;
}

std::vector<float> read_floats(std::ifstream& file, Index count) {
  std::vector<float> values(at(count));
  file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  if (!file) throw core::InputError("the file is too short", "data");
  return values;
}

/// One or two 3x3 convolutions with ReLU; the block adds its input before the last one.
network::Graph unit_graph(const Options& o) {
  const tensor::Shape shape{o.channels, o.size, o.size};
  const tensor::Window window{
      .kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  const tensor::Convolution geometry{o.channels, o.size, o.size, o.channels, 1, window};
  const network::Activation relu{network::ActivationKind::relu};
  network::Graph graph;
  graph.nodes.push_back({"in", network::Input{}, {}, shape});
  graph.nodes.push_back({"conv1", network::Convolution{0, geometry}, {0}, shape});
  if (o.unit == "block") {
    graph.nodes.push_back({"relu1", relu, {1}, shape});
    graph.nodes.push_back({"conv2", network::Convolution{1, geometry}, {2}, shape});
    graph.nodes.push_back({"add", network::Add{}, {3, 0}, shape});
  }
  graph.nodes.push_back({"relu", relu, {std::ssize(graph.nodes) - 1}, shape});
  graph.output = std::ssize(graph.nodes) - 1;
  return graph;
}

/// Affine, 4 bits, over the range of every channel.
std::vector<quantize::RowGrid> grids_of(std::span<const float> weights, Index rows) {
  std::vector<quantize::RowGrid> grids;
  const std::size_t columns = weights.size() / at(rows);
  for (std::size_t row = 0; row < at(rows); ++row) {
    const auto [low, high] = std::ranges::minmax(weights.subspan(row * columns, columns));
    const double step = (static_cast<double>(high) - static_cast<double>(low)) / 15.0;
    grids.push_back({step, std::nearbyint(-static_cast<double>(low) / step), 0.0, 15.0});
  }
  return grids;
}

class Training {
 public:
  explicit Training(const Options& o) : o_(o), objective_(unit_graph(o), o.batch), bias_(at(o.channels), 0.0F) {
    std::ifstream file(o.file, std::ios::binary);
    const Index weights = o.channels * o.channels * 9, elements = o.channels * o.size * o.size;
    for (Index layer = 0; layer < (o.unit == "block" ? 2 : 1); ++layer) {
      const std::vector<float> values = read_floats(file, weights);
      rounding_.emplace_back(std::vector<double>(values.begin(), values.end()), grids_of(values, o.channels),
                             reconstruct::SoftRoundingOptions{.iterations = 20000, .warm_up = 0.0});
    }
    targets_ = read_floats(file, o.samples * elements);
    inputs_ = read_floats(file, o.samples * elements);
    rows_.resize(at(o.batch));
    layers_.resize(rounding_.size());
  }

  double iterate() {
    for (Index s = 0; s < o_.batch; ++s) rows_[at(s)] = (iteration_ * 7 + s * 5) % o_.samples;
    for (std::size_t i = 0; i < layers_.size(); ++i) layers_[i] = {rounding_[i].weights(), bias_};
    const double loss = objective_.evaluate(layers_, {inputs_, targets_, {}, rows_});
    for (std::size_t i = 0; i < layers_.size(); ++i)
      rounding_[i].update(objective_.weight_gradient(static_cast<Index>(i)));
    ++iteration_;
    return loss;
  }

 private:
  Options o_;
  reconstruct::ModuleObjective objective_;
  std::vector<reconstruct::SoftRounding> rounding_;
  std::vector<float> bias_, targets_, inputs_;
  std::vector<Index> rows_;
  std::vector<reconstruct::FloatLayer> layers_;
  Index iteration_ = 0;
};

void serve(const Options& options) {
  omp_set_num_threads(options.threads);
  Training training(options);
  std::cout << "ready" << std::endl;
  for (int count = 0; std::cin >> count;) {
    double loss = 0.0;
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < count; ++i) loss = training.iterate();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::cout << fmt::format("{:.9f} {:.9g}", seconds / count, loss) << std::endl;
  }
}

}  // namespace
}  // namespace quantbound

int main(int argc, char** argv) {
  using namespace quantbound;
  try {
    serve(parse(std::span(argv + 1, static_cast<std::size_t>(argc - 1))));
    return 0;
  } catch (const core::Error& error) {
    fmt::print(stderr, "reconstruct_bench: error: {}\n", error.what());
    return 2;
  }
}
