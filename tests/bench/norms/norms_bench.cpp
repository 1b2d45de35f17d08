/// The layer pass against what the machine can do. Reads the layers that norms_bench.py wrote, measures them on one thread
/// for 56 configurations, and prints one JSON object: seconds, norms for comparison with numpy, the memory bandwidth and
/// the arithmetic peak found in the same run. norms_bench.py runs it; see there.
#include <omp.h>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <vector>

#include "quantbound/bounds/layer_norms.hpp"

namespace {

using namespace quantbound;

struct Layer {
  bounds::LayerShape shape;
  network::LayerParameters parameters;
};

/// Per layer: rows, columns, groups, kernel as int64, then the weights and the biases as doubles.
std::vector<Layer> read_layers(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<Layer> layers;
  std::int64_t header[4];
  while (file.read(reinterpret_cast<char*>(header), sizeof header)) {
    Layer layer;
    layer.shape.rows = header[0];
    layer.shape.columns = layer.shape.inputs = header[1];
    layer.shape.groups = header[2];
    layer.shape.kernel = layer.shape.overlap = header[3];
    layer.parameters.weights.resize(static_cast<std::size_t>(header[0] * header[1]));
    layer.parameters.bias.resize(static_cast<std::size_t>(header[0]));
    for (auto* values : {&layer.parameters.weights, &layer.parameters.bias}) {
      file.read(reinterpret_cast<char*>(values->data()), static_cast<std::streamsize>(values->size() * sizeof(double)));
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

std::vector<quantize::Configuration> configurations() {
  std::vector<quantize::Configuration> result;
  for (const auto quantizer : {quantize::Quantizer::floor, quantize::Quantizer::round}) {
    for (const auto granularity : {quantize::Granularity::tensor, quantize::Granularity::channel}) {
      for (int bits = 2; bits < 16; ++bits) {
        result.push_back({.quantizer = quantizer, .granularity = granularity, .bits = bits});
      }
    }
  }
  return result;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Reading an array much larger than the caches, best of three.
double bytes_per_second() {
  std::vector<double> array(std::size_t{1} << 25, 1.0);
  double best = 0.0, sink = 0.0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    double sum[32] = {};
    for (std::size_t i = 0; i < array.size(); i += 32) {
      for (std::size_t lane = 0; lane < 32; ++lane) sum[lane] += array[i + lane];
    }
    best = std::max(best, static_cast<double>(array.size() * sizeof(double)) / seconds_since(start));
    for (const double value : sum) sink += value;
  }
  return sink > 0.0 ? best : 0.0;
}

typedef double Vector __attribute__((vector_size(64)));

/// Independent additions and multiplications of vectors in registers. The layer pass uses no fused multiply-add, so the
/// peak it can be held against has none either.
[[gnu::target("avx512f")]] double operations_avx512(std::size_t rounds) {
  Vector sum[8] = {}, product[8];
  for (Vector& p : product) p = Vector{} + 1.0;
  const Vector step = Vector{} + 1e-9, factor = Vector{} + (1.0 + 1e-12);
  for (std::size_t round = 0; round < rounds; ++round) {
    for (Vector& s : sum) s += step;
    for (Vector& p : product) p *= factor;
  }
  double total = 0.0;
  for (const Vector& s : sum) total += s[0];
  for (const Vector& p : product) total += p[0];
  return total;
}

typedef double HalfVector __attribute__((vector_size(32)));

[[gnu::target("avx2")]] double operations_avx2(std::size_t rounds) {
  HalfVector sum[6] = {}, product[6];
  for (HalfVector& p : product) p = HalfVector{} + 1.0;
  const HalfVector step = HalfVector{} + 1e-9, factor = HalfVector{} + (1.0 + 1e-12);
  for (std::size_t round = 0; round < rounds; ++round) {
    for (HalfVector& s : sum) s += step;
    for (HalfVector& p : product) p *= factor;
  }
  double total = 0.0;
  for (const HalfVector& s : sum) total += s[0];
  for (const HalfVector& p : product) total += p[0];
  return total;
}

double operations_per_second() {
  constexpr std::size_t rounds = 20'000'000;
  const bool wide = __builtin_cpu_supports("avx512f") != 0;
  const double per_round = wide ? 16.0 * 8.0 : 12.0 * 4.0;
  double best = 0.0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    const double total = wide ? operations_avx512(rounds) : operations_avx2(rounds);
    if (total > 0.0) best = std::max(best, per_round * static_cast<double>(rounds) / seconds_since(start));
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: norms_bench LAYERS (norms_bench.py writes that file and runs this program)\n";
    return 2;
  }
  omp_set_num_threads(1);
  const std::vector<Layer> layers = read_layers(argv[1]);
  const auto list = configurations();
  for (const Layer& layer : layers) measure_layer(layer.parameters, layer.shape, 0, {});  // touches every page
  std::vector<bounds::LayerReport> reports;
  const auto start = std::chrono::steady_clock::now();
  for (const Layer& layer : layers) reports.push_back(measure_layer(layer.parameters, layer.shape, 0, list));
  const double seconds = seconds_since(start);

  std::cout.precision(17);
  std::cout << "{\"seconds\": " << seconds << ", \"bytes_per_second\": " << bytes_per_second()
            << ", \"operations_per_second\": " << operations_per_second() << ", \"norms\": [";
  for (std::size_t l = 0; l < reports.size(); ++l) {
    for (std::size_t c = 0; c < list.size(); ++c) {
      const bounds::QuantizedLayerNorms& q = reports[l].quantized[c];
      std::cout << (l + c > 0 ? ", " : "") << '[' << q.delta_max << ", " << q.delta_norm << ", " << q.weight_norm << ", "
                << q.augmented << ", " << q.weight_max << ']';
    }
  }
  std::cout << "]}\n";
  return 0;
}
