/// The layer pass against what the machine can do. Reads the layers that norms_bench.py wrote, measures them on one
/// thread for 56 configurations, and prints one JSON object: seconds, norms for comparison with numpy, the memory
/// bandwidth and the peak of fused multiply-adds on doubles (half that on floats) found in the same run. norms_bench.py
/// runs it; see there.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <vector>

#include <omp.h>

#include "quantbound/bounds/layer_norms.hpp"

#include "../peak.hpp"

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

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: norms_bench LAYERS (norms_bench.py writes that file and runs this program)\n";
    return 2;
  }
  omp_set_num_threads(1);
  const std::vector<Layer> layers = read_layers(argv[1]);
  const auto list = configurations();
  std::vector<bounds::LayerReport> reports;
  std::vector<double> times;
  for (int repeat = 0; repeat < 4; ++repeat) {  // the first one touches the memory
    reports.clear();
    const auto start = std::chrono::steady_clock::now();
    for (const Layer& layer : layers) reports.push_back(measure_layer(layer.parameters, layer.shape, 0, list));
    times.push_back(seconds_since(start));
  }
  std::sort(times.begin() + 1, times.end());
  const double seconds = times[2];

  std::cout.precision(17);
  std::cout << "{\"seconds\": " << seconds << ", \"bytes_per_second\": " << bytes_per_second()
            << ", \"double_peak\": " << 1e9 * bench::peak_gflops(1) / 2.0 << ", \"norms\": [";
  for (std::size_t l = 0; l < reports.size(); ++l) {
    for (std::size_t c = 0; c < list.size(); ++c) {
      const bounds::QuantizedLayerNorms& q = reports[l].quantized[c];
      std::cout << (l + c > 0 ? ", " : "") << '[' << q.delta_max << ", " << q.delta_norm << ", " << q.weight_norm
                << ", " << q.augmented << ", " << q.weight_max << ", " << q.delta_two_norm << ", " << q.two_norm << ']';
    }
  }
  std::cout << "]}\n";
  return 0;
}
