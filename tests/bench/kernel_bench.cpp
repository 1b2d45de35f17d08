// The double kernels beside Eigen's product of the same matrices.
#include <vector>

#include <Eigen/Core>
#include <benchmark/benchmark.h>

#include "quantbound/core/random.hpp"
#include "quantbound/tensor/convolution.hpp"
#include "quantbound/tensor/matrix.hpp"

namespace quantbound::tensor {
namespace {

std::vector<double> normals(Index count, std::uint64_t purpose) {
  const core::RandomStream random(purpose, "kernel-bench");
  std::vector<double> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.normal(i);
  return values;
}

void report(benchmark::State& state, double multiply_adds) {
  state.counters["FLOP/s"] = benchmark::Counter(2.0 * multiply_adds, benchmark::Counter::kIsIterationInvariantRate);
}

void dense_layer(benchmark::State& state) {
  const Index outputs = state.range(0), inputs = state.range(1), batch = state.range(2);
  const auto weights = normals(outputs * inputs, 1), bias = normals(outputs, 2), input = normals(batch * inputs, 3);
  for (auto _ : state) benchmark::DoNotOptimize(dense(outputs, weights, bias, input, batch));
  report(state, static_cast<double>(outputs * inputs * batch));
}

void dense_layer_by_eigen(benchmark::State& state) {
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Matrix weights = Matrix::Random(state.range(0), state.range(1));
  const Matrix input = Matrix::Random(state.range(2), state.range(1));
  for (auto _ : state) {
    Matrix output(state.range(2), state.range(0));
    output.noalias() = input * weights.transpose();
    benchmark::DoNotOptimize(output.data());
  }
  report(state, static_cast<double>(state.range(0) * state.range(1) * state.range(2)));
}

void convolution_layer(benchmark::State& state) {
  const Index channels = state.range(0), size = state.range(1), kernel = state.range(2), groups = state.range(3);
  const Index pad = kernel / 2;
  const Convolution g{.channels_in = channels,
                      .height = size,
                      .width = size,
                      .channels_out = channels,
                      .groups = groups,
                      .window = {.kernel_height = kernel,
                                 .kernel_width = kernel,
                                 .pad_top = pad,
                                 .pad_left = pad,
                                 .pad_bottom = pad,
                                 .pad_right = pad}};
  const auto weights = normals(g.weight_count(), 1), bias = normals(channels, 2),
             input = normals(4 * channels * size * size, 3);
  for (auto _ : state) benchmark::DoNotOptimize(convolve(g, weights, bias, input, 4));
  report(state, 4.0 * static_cast<double>(g.multiply_adds()));
}

const auto dense_shapes = [](benchmark::internal::Benchmark* b) {
  b->Args({50, 50, 256})->Args({256, 784, 64})->Args({1000, 2048, 64})->Args({1000, 2048, 1});
};
BENCHMARK(dense_layer)->Apply(dense_shapes)->UseRealTime();
BENCHMARK(dense_layer_by_eigen)->Apply(dense_shapes)->UseRealTime();
BENCHMARK(convolution_layer)
    ->ArgNames({"channels", "size", "kernel", "groups"})
    ->Args({64, 56, 3, 1})
    ->Args({256, 14, 3, 1})
    ->Args({512, 7, 3, 1})
    ->Args({96, 56, 1, 1})
    ->Args({96, 56, 3, 96})
    ->UseRealTime();

}  // namespace
}  // namespace quantbound::tensor

BENCHMARK_MAIN();
