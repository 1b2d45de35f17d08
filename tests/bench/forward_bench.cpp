// Throughput of the float engine on a network file, against the peak of the machine measured in the same process.
//
//   forward_bench NETWORK [--batch=32] [--threads=1] [--capture=output|layers] [--seconds=3]
//       prints one JSON object: images per second (best and median run), GFLOP/s, percent of peak
//   forward_bench NETWORK --classes [--batch=32] [--seconds=3]
//       prints a table in Markdown: by class of layer the share of the time, percent of peak, and what limits it
//   forward_bench NETWORK --serve ...
//       reads a line, runs once, prints the seconds it took; so that a script can alternate it with another program
#include <algorithm>
#include <array>
#include <chrono>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <omp.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"
#include "quantbound/network/float_forward.hpp"
#include "quantbound/network/readers.hpp"

#include "layer_classes.hpp"
#include "peak.hpp"
#include "positive_option.hpp"

namespace quantbound {
namespace {

using network::FloatForward;
using network::Index;

struct Options {
  std::string file;
  Index batch = 32;
  int threads = 1;
  bool capture_layers = false;
  double seconds = 3.0;
  enum class Mode { measure, classes, serve } mode = Mode::measure;
};

Options parse(std::span<char*> arguments) {
  Options options;
  for (const std::string_view argument : arguments) {
    if (argument == "--serve") {
      options.mode = Options::Mode::serve;
    } else if (argument == "--classes") {
      options.mode = Options::Mode::classes;
    } else if (argument == "--capture=layers") {
      options.capture_layers = true;
    } else if (bench::take(argument, "--batch=", options.batch) ||
               bench::take(argument, "--threads=", options.threads) ||
               bench::take(argument, "--seconds=", options.seconds) || argument == "--capture=output") {
      continue;
    } else if (!argument.starts_with("--") && options.file.empty()) {
      options.file = argument;
    } else {
      throw core::InputError("unknown argument", std::string(argument));
    }
  }
  if (options.file.empty()) throw core::InputError("no network file given", "");
  if (options.mode == Options::Mode::classes && options.threads != 1)
    throw core::InputError("--classes measures one thread", "");
  if (options.threads < 1 || options.batch % options.threads != 0)
    throw core::InputError("the threads must divide the batch", "");
  return options;
}

/// One engine per thread, each with its part of the batch.
class Engines {
 public:
  Engines(const network::Network& net, const Options& options)
      : part_(static_cast<std::size_t>(options.batch / options.threads * tensor::elements(net.graph.input_shape()))),
        samples_(part_ * static_cast<std::size_t>(options.threads)) {
    const core::RandomStream random(1, "forward-bench");
    for (std::size_t i = 0; i < samples_.size(); ++i) samples_[i] = static_cast<float>(random.normal(i));
    std::vector<network::NodeId> captured;
    if (options.capture_layers)
      for (Index layer = 0; layer < std::ssize(net.layers); ++layer)
        captured.push_back(net.graph.measured_output(layer));
    for (int thread = 0; thread < options.threads; ++thread)
      engines_.emplace_back(net.graph, options.batch / options.threads, captured);
    const auto weights = engines_.front().make_weights(net.layers);
    for (FloatForward& engine : engines_) engine.use(weights);
  }

  /// Seconds of one run over the batch.
  double run() {
    const auto begin = std::chrono::steady_clock::now();
#pragma omp parallel for num_threads(static_cast <int>(engines_.size())) schedule(static, 1)
    for (std::size_t i = 0; i < engines_.size(); ++i) engines_[i].run(std::span(samples_).subspan(i * part_, part_));
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  /// Best times of the steps of the first engine.
  std::vector<tensor::StepProfile> profile(Index runs) {
    return engines_.front().profile(std::span(samples_).first(part_), runs);
  }

 private:
  std::size_t part_;
  std::vector<float> samples_;
  std::vector<FloatForward> engines_;
};

double gflop_per_sample(const network::Graph& graph) {
  Index multiply_adds = 0;
  for (const network::Node& node : graph.nodes) {
    if (const auto* c = std::get_if<network::Convolution>(&node.op)) multiply_adds += c->geometry.multiply_adds();
    if (const auto* d = std::get_if<network::Dense>(&node.op)) multiply_adds += d->inputs * d->outputs;
  }
  return 2e-9 * static_cast<double>(multiply_adds);
}

void serve(Engines& engines) {
  engines.run();
  fmt::print("ready\n");
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    fmt::print("{:.9f}\n", engines.run());
    std::fflush(stdout);
  }
}

void classes(Engines& engines, const network::Network& net, const Options& options) {
  const double one_run = std::max(engines.run(), 1e-6);
  const auto runs = static_cast<Index>(std::clamp(options.seconds / one_run, 5.0, 1000.0));
  fmt::print("{}, batch {}, one thread; {}", net.name, options.batch,
             bench::table_of_classes(engines.profile(runs), bench::Limits()));
}

void measure(Engines& engines, const network::Network& net, const Options& options) {
  std::vector<double> seconds;
  for (double total = -engines.run(); total < options.seconds || seconds.size() < 5;) {
    seconds.push_back(engines.run());
    total += seconds.back();
  }
  std::sort(seconds.begin(), seconds.end());
  const auto batch = static_cast<double>(options.batch);
  const double best = batch / seconds.front(), median = batch / seconds[seconds.size() / 2];
  const double gflop = gflop_per_sample(net.graph), peak = bench::peak_gflops(options.threads);
  fmt::print(
      R"({{"network": "{}", "batch": {}, "threads": {}, "best": {:.1f}, "median": {:.1f}, "gflops": {:.1f}, "peak": {:.1f}, "percent": {:.1f}}})"
      "\n",
      net.name, options.batch, options.threads, best, median, best * gflop, peak, 100.0 * best * gflop / peak);
}

}  // namespace
}  // namespace quantbound

int main(int argc, char** argv) {
  using namespace quantbound;
  try {
    const Options options = parse(std::span(argv + 1, static_cast<std::size_t>(argc - 1)));
    const network::Network net = network::read_network(options.file);
    Engines engines(net, options);
    switch (options.mode) {
      case Options::Mode::serve:
        serve(engines);
        break;
      case Options::Mode::classes:
        classes(engines, net, options);
        break;
      case Options::Mode::measure:
        measure(engines, net, options);
        break;
    }
    return 0;
  } catch (const core::Error& error) {
    fmt::print(stderr, "forward_bench: error: {}\n", error.what());
    return 2;
  }
}
