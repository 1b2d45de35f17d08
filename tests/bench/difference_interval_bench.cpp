// The price of certify::output_interval (difference_interval, of which only the output is kept) in forward passes of
// network::forward (double, batch 1, the same threads):
//
//   difference_interval_bench NETWORK... [--bits=8] [--radius=0.00392156862745098] [--threads=N] [--rounds=5]
//       one line per network: seconds of both, their ratio, the peak memory of the process, the width of the output
//
// Run it with GOMP_SPINCOUNT=1000, which the program sets for itself (apps/main.cpp). The two alternate, and the
// smallest time of each counts, so that a busy machine disturbs the ratio little. The centre of the ball is drawn from
// [0, 1] by element.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <iostream>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <malloc.h>
#include <omp.h>
#include <sys/resource.h>
#include <time.h>

#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/network/readers.hpp"

namespace quantbound {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::vector<std::string> files;
  int bits = 8, threads = omp_get_max_threads(), rounds = 5;
  double radius = 1.0 / 255.0;
};

template <class Number>
bool take(std::string_view argument, std::string_view name, Number& number) {
  if (!argument.starts_with(name)) return false;
  argument.remove_prefix(name.size());
  const auto [end, error] = std::from_chars(argument.data(), argument.data() + argument.size(), number);
  if (error != std::errc() || end != argument.data() + argument.size()) {
    throw core::InputError(fmt::format("'{}' is not a number", argument), std::string(name));
  }
  return true;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const bool known = take(argument, "--bits=", options.bits) || take(argument, "--threads=", options.threads) ||
                       take(argument, "--rounds=", options.rounds) || take(argument, "--radius=", options.radius);
    if (known) continue;
    if (argument.starts_with("--")) throw core::InputError("unknown option", std::string(argument));
    options.files.emplace_back(argument);
  }
  if (options.files.empty()) throw core::InputError("no network is given", "command line");
  return options;
}

/// Smallest times so far.
struct Times {
  double wall = std::numeric_limits<double>::infinity(), processor = std::numeric_limits<double>::infinity();

  template <class Function>
  void add(Function function) {
    const auto processor_now = [] {
      timespec now{};
      clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
      return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
    };
    const auto start = Clock::now();
    const double processor_start = processor_now();
    function();
    processor = std::min(processor, processor_now() - processor_start);
    wall = std::min(wall, std::chrono::duration<double>(Clock::now() - start).count());
  }
};

void measure(const std::string& file, const Options& options) {
  const network::Network network = network::read_network(file);
  const certify::Pair pair = certify::make_pair(network, quantize::Configuration{.bits = options.bits});
  const core::RandomStream stream(1, "difference_interval_bench");
  network::Box box;
  for (network::Index i = 0; i < tensor::elements(network.graph.input_shape()); ++i) {
    const double center = stream.uniform(static_cast<std::uint64_t>(i));
    box.low.push_back(center - options.radius);
    box.high.push_back(center + options.radius);
  }
  Times pass, interval;
  double deviation = 0.0;
  for (int round = 0; round < options.rounds; ++round) {
    for (int k = 0; k < 5; ++k) pass.add([&] { network::forward(pair.graph, pair.f, box.low, 1); });
    interval.add([&] { deviation = certify::largest_magnitude(certify::output_interval(pair, box).difference); });
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::cout
      << fmt::format(
             "{}: forward {:.3f} ms, difference_interval {:.3f} ms, ratio {:.2f} (processor {:.2f}), peak {:.0f} MiB, "
             "deviation <= {:.4g}\n",
             network.name, 1e3 * pass.wall, 1e3 * interval.wall, interval.wall / pass.wall,
             interval.processor / pass.processor, static_cast<double>(usage.ru_maxrss) / 1024.0, deviation)
      << std::flush;
}

}  // namespace
}  // namespace quantbound

int main(int argc, char** argv) {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);  // as the program does
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  try {
    const quantbound::Options options = quantbound::parse(argc, argv);
    omp_set_num_threads(options.threads);
    for (const std::string& file : options.files) quantbound::measure(file, options);
  } catch (const quantbound::core::Error& error) {
    std::cerr << "difference_interval_bench: " << error.what() << '\n';
    return 1;
  }
}
