// The memory that observe() states against what the process takes: the peak of its resident memory, which Linux counts
// anew from a write to /proc/self/clear_refs.
#include <malloc.h>

#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <omp.h>

#include "quantbound/network/families.hpp"
#include "quantbound/observe/deviation.hpp"
#include "quantbound/observe/samples.hpp"

namespace quantbound::observe {
namespace {

/// A line of /proc/self/status in bytes.
double status(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key + ":")) return 1024.0 * std::stod(line.substr(key.size() + 1));
  }
  return 0.0;
}

bool peak_starts_anew() { return static_cast<bool>(std::ofstream("/proc/self/clear_refs") << "5" << std::flush); }

struct Case {
  Precision precision;
  Index samples, layer_samples;
};

class Memory : public ::testing::TestWithParam<Case> {};

TEST_P(Memory, IsWhatIsStated) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer takes memory of its own";
#endif
  const auto network = network::make_network(
      {.family = network::Family::mobilenet_v2, .depth = 53, .width = 32, .outputs = 1000, .resolution = 160});
  const auto& [precision, samples, layer_samples] = GetParam();
  const auto size = static_cast<std::size_t>(tensor::elements(network.graph.input_shape()));
  const auto inputs = uniform_points({.low = std::vector<double>(size, -1.0), .high = std::vector<double>(size, 1.0)},
                                     1, 0, 0, samples);
  const std::vector<Configuration> configurations{{.bits = 4}, {.bits = 8}};
  const ObserveOptions options{.precision = precision, .layer_samples = layer_samples};
  const int before_threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const auto measure = [&] { observe(network.graph, network.layers, configurations, inputs, {}, options); };
  measure();  // brings the code of the kernels
  malloc_trim(0);
  if (!peak_starts_anew()) GTEST_SKIP() << "no /proc/self/clear_refs";
  const double before = status("VmRSS");

  measure();

  const double taken = status("VmHWM") - before;
  const auto stated = observe_memory(network.graph, std::ssize(configurations), samples, options);
  omp_set_num_threads(before_threads);
  const double total = static_cast<double>(stated.shared + stated.per_thread);
  std::cout << "taken " << taken / 0x1p20 << " MiB, stated " << total / 0x1p20 << " MiB\n";
  EXPECT_LT(taken, 1.25 * total);
  EXPECT_GT(taken, 0.8 * total);
}

INSTANTIATE_TEST_SUITE_P(MobileNetV2, Memory,
                         ::testing::Values(Case{Precision::float32, 48, 0}, Case{Precision::float32, 21, 0},
                                           Case{Precision::float32, 8, 8}, Case{Precision::float64, 8, 0}));

}  // namespace
}  // namespace quantbound::observe
