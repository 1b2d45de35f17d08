/// Branch and bound on pairs of real networks: one line per search, and how the gap falls. Run it on a quiet machine:
///   GOMP_SPINCOUNT=1000 branch_bench [threads] [filter]   (which the program sets for itself)
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <omp.h>
#include <sys/resource.h>

#include "quantbound/certify/branch_and_bound.hpp"
#include "quantbound/network/readers.hpp"

namespace {

namespace certify = quantbound::certify;
namespace network = quantbound::network;
namespace quantize = quantbound::quantize;

const std::string data = std::string(QUANTBOUND_SHARED_DATA);

double user_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec) + 1e-6 * static_cast<double>(usage.ru_utime.tv_usec);
}

struct Case {
  std::string name;
  std::function<certify::Pair()> pair;
  std::function<network::Box(const certify::Pair&)> region;
  certify::BranchOptions options;
  double seconds = 60.0;
  std::vector<std::int64_t> checkpoints = {};  ///< numbers of boxes at which the gap is printed
};

void run(const Case& each) {
  const certify::Pair pair = each.pair();
  const network::Box region = each.region(pair);
  const double user = user_seconds(), start = omp_get_wtime();
  certify::BranchAndBound search(pair, region, each.options);
  if (!each.checkpoints.empty()) {
    for (const std::int64_t boxes : each.checkpoints) {
      search.advance(boxes - search.state().boxes, each.seconds - (omp_get_wtime() - start));
      const certify::SearchState state = search.state();
      fmt::print("  {:8} boxes  upper {:<12.6g} lower {:<12.6g} {:7.3f} s\n", state.boxes, state.upper, state.lower,
                 omp_get_wtime() - start);
    }
  } else {
    search.advance(std::numeric_limits<std::int64_t>::max(), each.seconds);
  }
  const double wall = omp_get_wtime() - start, used = user_seconds() - user;
  const certify::SearchState state = search.state();
  fmt::print(
      "{:<36} upper {:<14.10g} lower {:<14.10g} wall {:7.3f} s user {:7.3f} s boxes {:8} open {:7} {:8.0f} "
      "boxes/s/core {}\n",
      each.name, state.upper, state.lower, wall, used, state.boxes, state.open, static_cast<double>(state.boxes) / used,
      search.done() ? state.refuted ? "refuted" : "done" : "not done");
  std::fflush(stdout);
}

network::Network read(const std::string& path) { return network::read_network(data + "/models/" + path); }

std::function<network::Box(const certify::Pair&)> property(int number) {
  return [number](const certify::Pair&) {
    return network::read_vnnlib_box(fmt::format("{}/vnnlib/acasxu_prop_{}.vnnlib", data, number), 5);
  };
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const int bits : {8, 6, 4}) {
    for (const int number : {1, 3, 4}) {
      cases.push_back({fmt::format("acas 1_1 {} bits prop {}", bits, number),
                       [bits] {
                         quantize::Configuration configuration;
                         configuration.bits = bits;
                         return certify::make_pair(read("acasxu/ACASXU_run2a_1_1_batch_2000.onnx"), configuration);
                       },
                       property(number),
                       {}});
    }
  }
  for (const int number : {1, 3, 4}) {
    certify::BranchOptions options;
    options.target = network::Box{std::vector<double>(5, -0.05), std::vector<double>(5, 0.05)};
    cases.push_back({fmt::format("acas 1_1 float16 prop {}", number),
                     [] {
                       return certify::make_pair(read("acasxu/ACASXU_run2a_1_1_batch_2000.nnet"),
                                                 read("acasxu/ACASXU_run2a_1_1_batch_2000_16bit.nnet"));
                     },
                     property(number), options});
  }
  for (const std::string which : {"1_1,5", "1_5,5", "1_9,10", "2_6,5"}) {
    certify::BranchOptions options;
    options.target = network::Box{std::vector<double>(5, -0.05), std::vector<double>(5, 0.05)};
    const std::string net = which.substr(0, 3), percent = which.substr(4);
    cases.push_back({fmt::format("isomorphic {} pruned {}", net, percent),
                     [=] {
                       const std::string stem = "isomorphic/ACASXU_run2a_" + net + "_batch_2000";
                       return certify::make_pair(read(stem + ".onnx"), read(stem + "_pruned" + percent + ".onnx"));
                     },
                     [](const certify::Pair&) {
                       return network::Box{{0.6, -0.5, -0.5, 0.45, -0.45}, {0.679857769, 0.5, 0.5, 0.5, -0.45}};
                     },
                     options, 100.0});
  }
  for (const std::string which : {"large_quantized", "pruned_quantized"}) {
    certify::BranchOptions options;
    options.tolerance = 1e-7;
    cases.push_back({"cooke large " + which,
                     [=] { return certify::make_pair(read("merged/large.onnx"), read("merged/" + which + ".onnx")); },
                     [](const certify::Pair&) {
                       return network::Box{{0.0}, {1.0}};
                     },
                     options});
  }
  cases.push_back(
      {"acas 1_1 8 bits domain",
       [] { return certify::make_pair(read("acasxu/ACASXU_run2a_1_1_batch_2000.onnx"), quantize::Configuration{}); },
       [](const certify::Pair&) { return *read("acasxu/ACASXU_run2a_1_1_batch_2000.nnet").domain; },
       {},
       60.0,
       {1, 10, 100, 1'000, 10'000, 100'000, 1'000'000}});
  return cases;
}

/// Every packed ACAS network, properties 1 to 4, {8, 6, 4} bits, both granularities.
std::vector<Case> study() {
  std::vector<Case> cases;
  for (const auto& file : std::filesystem::directory_iterator(data + "/models/acasxu")) {
    if (file.path().extension() != ".onnx") continue;
    const std::string net = file.path().filename().string().substr(13, 3);
    for (int bits = 8; bits >= 4; bits -= 2) {
      for (const auto granularity : {quantize::Granularity::tensor, quantize::Granularity::channel}) {
        for (int number = 1; number <= 4; ++number) {
          cases.push_back(
              {fmt::format("study {} {} {} bits prop {}", net, quantize::to_string(granularity), bits, number),
               [=] {
                 quantize::Configuration configuration;
                 configuration.bits = bits;
                 configuration.granularity = granularity;
                 return certify::make_pair(network::read_network(file.path()), configuration);
               },
               property(number),
               {}});
        }
      }
    }
  }
  std::sort(cases.begin(), cases.end(), [](const Case& a, const Case& b) { return a.name < b.name; });
  return cases;
}

}  // namespace

int main(int argc, char** argv) {
  omp_set_num_threads(argc > 1 ? std::atoi(argv[1]) : 2);
  const std::string filter = argc > 2 ? argv[2] : "";
  for (const Case& each : filter.starts_with("study") ? study() : all_cases())
    if (each.name.find(filter) != std::string::npos) run(each);
  return 0;
}
