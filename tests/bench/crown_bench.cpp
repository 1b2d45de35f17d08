// The crown methods on MNIST pairs beside the figures of auto_LiRPA (data/reference/peers_certify.csv): value, time,
// and the ratio of both, row by row, with geometric means at the end.
//
//     crown_bench SHARED_DATA [NETWORK...] [--bits 8,6,4] [--radius 0.01,0.03,0.05] [--images 0,1,2] [--steps 20]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <time.h>

#include "quantbound/certify/crown.hpp"
#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/network/readers.hpp"

namespace {

using namespace quantbound;
using certify::PairBounds;
using network::Box;

struct Peer {
  double value = 0.0, seconds = 0.0;
};
using Peers = std::map<std::string, Peer>;  // "network,bits,region,method"

Peers read_peers(const std::string& path) {
  Peers peers;
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    const auto last = line.rfind(','), before = line.rfind(',', last - 1);
    peers[line.substr(0, before)] = {std::strtod(line.c_str() + before + 1, nullptr),
                                     std::strtod(line.c_str() + last + 1, nullptr)};
  }
  return peers;
}

/// The images of a float32 or float64 .npy file of 784 columns.
std::vector<double> read_images(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream buffer;
  buffer << file.rdbuf();
  const std::string bytes = buffer.str();
  if (bytes.size() < 10) return {};
  const std::size_t header = 10U + static_cast<unsigned char>(bytes[8]) + 256U * static_cast<unsigned char>(bytes[9]);
  const bool is_double = bytes.substr(0, header).find("<f8") != std::string::npos;
  const std::size_t width = is_double ? 8 : 4;
  std::vector<double> values((bytes.size() - header) / width);
  for (std::size_t i = 0; i < values.size(); ++i) {
    float single = 0.0F;
    if (is_double) {
      std::memcpy(&values[i], bytes.data() + header + i * width, width);
    } else {
      std::memcpy(&single, bytes.data() + header + i * width, width);
      values[i] = static_cast<double>(single);
    }
  }
  return values;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

struct Measured {
  double value = 0.0, seconds = 0.0;
};

/// Seconds; those of the processor where CROWN_BENCH_CPU is set, for one thread on a machine that is shared.
double now() {
  timespec time{};
  clock_gettime(std::getenv("CROWN_BENCH_CPU") ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// The best of several runs, as many as fit into a fifth of a second.
Measured measure(const std::function<PairBounds()>& method, const certify::Pair& pair) {
  Measured result{0.0, 1e9};
  double spent = 0.0;
  for (int run = 0; run < 20 && (run < 1 || spent < 0.2); ++run) {
    const auto begin = now();
    const PairBounds bounds = method();
    const double seconds = now() - begin;
    result.seconds = std::min(result.seconds, seconds);
    spent += seconds;
    result.value = certify::largest_magnitude(bounds[pair.graph.output].difference);
  }
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string shared = argc > 1 ? argv[1] : "/work/shared/data";
  std::vector<std::string> networks, bits{"8", "6", "4"}, radii{"0.01", "0.03", "0.05"}, images{"0", "1", "2"};
  certify::Index steps = 20;
  for (int i = 2; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::string value = i + 1 < argc ? argv[i + 1] : "";
    if (argument == "--bits")
      bits = split(value), ++i;
    else if (argument == "--radius")
      radii = split(value), ++i;
    else if (argument == "--images")
      images = split(value), ++i;
    else if (argument == "--steps")
      steps = std::atoi(value.c_str()), ++i;
    else
      networks.push_back(argument);
  }
  if (networks.empty()) networks = {"mnist-net_256x2", "mnist-net_256x4"};
  const Peers peers = read_peers(shared + "/reference/peers_certify.csv");
  const auto x = read_images(shared + "/data/mnist/vnncomp_images15_X.npy");
  std::map<std::string, std::vector<double>> ratios;
  for (const auto& name : networks) {
    const auto f = network::read_network(shared + "/models/mnist/" + name + ".onnx");
    for (const auto& b : bits) {
      quantize::Configuration configuration;
      configuration.bits = std::atoi(b.c_str());
      const certify::Pair pair = certify::make_pair(f, configuration);
      for (const auto& radius : radii)
        for (const auto& image : images) {
          Box box;
          const double r = std::strtod(radius.c_str(), nullptr);
          for (std::size_t i = 0; i < 784; ++i) {
            const double center = x.at(static_cast<std::size_t>(std::atoi(image.c_str())) * 784 + i);
            box.low.push_back(std::max(0.0, center - r));
            box.high.push_back(std::min(1.0, center + r));
          }
          const auto interval = measure([&] { return certify::difference_interval(pair, box); }, pair);
          const auto merged = measure([&] { return certify::merged_crown(pair, box); }, pair);
          const auto joint = measure([&] { return certify::difference_crown(pair, box); }, pair);
          const auto optimized = measure([&] { return certify::alpha_crown(pair, box, steps); }, pair);
          const std::string key = name + "," + b + ",img" + image + "_" + radius + ",";
          const auto peer = [&](const char* method) {
            const auto found = peers.find(key + method);
            return found == peers.end() ? Peer{std::nan(""), std::nan("")} : found->second;
          };
          const Peer crown = peer("CROWN"), alpha = peer("alpha-CROWN-20"), pgd = peer("pgd_lower_bound");
          const double best = std::min({interval.value, merged.value, joint.value, optimized.value});
          fmt::print(
              "{:16} {} img{} {:4} | pgd {:8.4g} | interval {:8.4g} {:6.2f} ms | CROWN {:8.4g} {:6.1f} ms | merged "
              "{:8.4g} "
              "{:6.2f} ms | difference {:8.4g} {:6.2f} ms | alpha-CROWN {:8.4g} {:7.0f} ms | alpha {:8.4g} {:6.1f} "
              "ms\n",
              name, b, image, radius, pgd.value, interval.value, 1e3 * interval.seconds, crown.value,
              1e3 * crown.seconds, merged.value, 1e3 * merged.seconds, joint.value, 1e3 * joint.seconds, alpha.value,
              1e3 * alpha.seconds, optimized.value, 1e3 * optimized.seconds);
          std::fflush(stdout);
          const auto record = [&](const std::string& what, double ratio) {
            if (ratio > 0.0 && std::isfinite(ratio)) ratios[what].push_back(ratio);
          };
          record(b + " bits: best / CROWN", best / crown.value);
          record(b + " bits: best / alpha-CROWN", best / alpha.value);
          if (radius != "0.01") record(b + " bits, radius 0.03 and 0.05: best / alpha-CROWN", best / alpha.value);
          record("seconds: CROWN / merged", crown.seconds / merged.seconds);
          record("seconds: alpha-CROWN / alpha", alpha.seconds / optimized.seconds);
        }
    }
  }
  for (const auto& [what, values] : ratios) {
    double logarithm = 0.0;
    for (const double value : values) logarithm += std::log(value);
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    fmt::print("{}: geometric mean {:.3g}, from {:.3g} to {:.3g} ({} rows)\n", what,
               std::exp(logarithm / static_cast<double>(values.size())), *least, *most, values.size());
  }
  return 0;
}
