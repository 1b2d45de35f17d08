// Gradient passes of a network file in float, against the tape in double and against a forward pass in float.
//
//   gradient_bench NETWORK [--batch=1] [--seconds=3] [--tape]
//       prints one JSON object, for one thread: gradient passes per second (value and vector-Jacobian product of one
//       sample; best run), the same as a multiple of a forward pass, memory, and with --tape those of the double tape
#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <omp.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"
#include "quantbound/network/adjoint.hpp"
#include "quantbound/network/float_gradient.hpp"
#include "quantbound/network/readers.hpp"

#include "positive_option.hpp"

namespace quantbound {
namespace {

using network::Index;

struct Options {
  std::string file;
  Index batch = 1;
  double seconds = 3.0;
  bool tape = false;
};

Options parse(std::span<char*> arguments) {
  Options options;
  for (const std::string_view argument : arguments) {
    if (argument == "--tape") {
      options.tape = true;
    } else if (!argument.starts_with("--") && options.file.empty()) {
      options.file = argument;
    } else if (!bench::take(argument, "--batch=", options.batch) &&
               !bench::take(argument, "--seconds=", options.seconds)) {
      throw core::InputError("unknown argument", std::string(argument));
    }
  }
  if (options.file.empty()) throw core::InputError("no network file given", "");
  return options;
}

template <class T>
std::vector<T> normals(Index count) {
  const core::RandomStream random(1, "gradient-bench");
  std::vector<T> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(random.normal(i));
  return values;
}

/// Seconds of the fastest of many runs, at least three, the first left out.
template <class Run>
double best_seconds(double at_least, Run run) {
  double best = 1e300, total = 0.0;
  for (int count = -1; count < 3 || total < at_least; ++count) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (count < 0) continue;
    best = std::min(best, seconds);
    total += seconds;
  }
  return best;
}

void measure(const network::Network& net, const Options& options) {
  const Index inputs = tensor::elements(net.graph.input_shape()), outputs = tensor::elements(net.graph.output_shape());
  const auto batch = static_cast<double>(options.batch);
  const std::vector<float> x = normals<float>(options.batch * inputs), w = normals<float>(options.batch * outputs);

  network::FloatForward forward(net.graph, options.batch);
  forward.use(forward.make_weights(net.layers));
  const double there = best_seconds(options.seconds, [&] { forward.run(x); }) / batch;

  network::FloatGradient gradient(net.graph, options.batch);
  gradient.use(gradient.make_weights(net.layers));
  const double both = best_seconds(options.seconds,
                                   [&] {
                                     gradient.run(x);
                                     gradient.pull_back(w);
                                   }) /
                      batch;
  const auto memory = gradient.memory();
  fmt::print(R"({{"network": "{}", "batch": {}, "gradients_per_second": {:.2f}, "forwards_per_second": {:.2f}, )"
             R"("gradient_per_forward": {:.2f}, "activations_mb": {:.1f}, "weights_mb": {:.1f})",
             net.name, options.batch, 1.0 / both, 1.0 / there, both / there,
             1e-6 * static_cast<double>(memory.activations + memory.scratch),
             1e-6 * static_cast<double>(memory.weights));
  if (options.tape) {
    const std::vector<double> x1 = normals<double>(inputs), w1 = normals<double>(outputs);
    const double tape =
        best_seconds(options.seconds, [&] { network::Tape(net.graph, net.layers, x1, 1).pull_back(w1); });
    fmt::print(R"(, "tape_per_second": {:.3f}, "gradient_over_tape": {:.1f})", 1.0 / tape, tape / both);
  }
  fmt::print("}}\n");
}

}  // namespace
}  // namespace quantbound

int main(int argc, char** argv) {
  using namespace quantbound;
  try {
    const Options options = parse(std::span(argv + 1, static_cast<std::size_t>(argc - 1)));
    const network::Network net = network::read_network(options.file);
    omp_set_num_threads(1);
    measure(net, options);
    return 0;
  } catch (const core::Error& error) {
    fmt::print(stderr, "gradient_bench: error: {}\n", error.what());
    return 2;
  }
}
