// Reconstructing one 3x3 convolution on its second moments: a step of learned rounding alone (during and after the
// warm-up), an iteration of AdaRound, the moments of eight images, GPTQ. One thread; the argument is the number of
// channels, of images of 3584 / channels pixels a side.
#include <algorithm>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>
#include <omp.h>

#include "quantbound/reconstruct/gptq.hpp"
#include "quantbound/reconstruct/layer_rounding.hpp"

namespace quantbound::reconstruct {
namespace {

struct Layer {
  network::Convolution op;
  network::LayerParameters parameters;
  std::vector<float> inputs, quantized_inputs;
  std::vector<quantize::RowGrid> grids;
};

Layer layer_of(Index channels) {
  const Index size = 3584 / channels;
  Layer layer{
      .op = {
          0,
          {.channels_in = channels,
           .height = size,
           .width = size,
           .channels_out = channels,
           .window = {
               .kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}}}};
  std::mt19937 engine(1);
  std::normal_distribution<double> normal(0.0, 0.1);
  layer.parameters.bias.resize(static_cast<std::size_t>(channels));
  for (Index i = 0; i < layer.op.geometry.weight_count(); ++i) layer.parameters.weights.push_back(normal(engine));
  for (Index i = 0; i < 8 * channels * size * size; ++i) {
    layer.inputs.push_back(static_cast<float>(std::max(0.0, normal(engine))));
    layer.quantized_inputs.push_back(layer.inputs.back() + static_cast<float>(0.1 * normal(engine)));
  }
  layer.grids =
      quantize::choose_grids(layer.parameters.weights, channels,
                             quantize::Configuration{.granularity = quantize::Granularity::channel, .bits = 4});
  return layer;
}

Gram gram_of(const Layer& layer) {
  GramAccumulator accumulator(layer.op, layer.parameters, layer.parameters.bias);
  accumulator.add(layer.inputs, layer.quantized_inputs);
  return accumulator.finish();
}

/// `warm_up` 1: without the regularizer.
void learned_rounding_step(benchmark::State& state, double warm_up) {
  omp_set_num_threads(1);
  const Layer layer = layer_of(state.range(0));
  SoftRounding rounding(layer.parameters.weights, layer.grids, {.iterations = Index{1} << 40, .warm_up = warm_up});
  std::vector<float> gradient(layer.parameters.weights.begin(), layer.parameters.weights.end());
  for (float& value : gradient) value *= 1e-2F;
  for (auto _ : state) rounding.update(gradient);
  state.counters["ns/weight"] =
      benchmark::Counter(static_cast<double>(state.iterations() * std::ssize(gradient)) * 1e-9,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void adaround_iteration(benchmark::State& state) {
  omp_set_num_threads(1);
  const Layer layer = layer_of(state.range(0));
  LayerRounding rounding(layer.parameters.weights, gram_of(layer), layer.grids, {.warm_up = 0.0});
  for (auto _ : state) rounding.iterate();
}

void second_moments(benchmark::State& state) {
  omp_set_num_threads(1);
  const Layer layer = layer_of(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(gram_of(layer));
}

void gptq_layer(benchmark::State& state) {
  omp_set_num_threads(1);
  const Layer layer = layer_of(state.range(0));
  const Gram gram = gram_of(layer);
  for (auto _ : state) benchmark::DoNotOptimize(gptq(layer.parameters.weights, gram, layer.grids, {}));
}

BENCHMARK_CAPTURE(learned_rounding_step, warm_up, 1.0)->Arg(64)->Arg(256)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(learned_rounding_step, regularized, 0.0)->Arg(64)->Arg(256)->Unit(benchmark::kMicrosecond);
BENCHMARK(adaround_iteration)->Arg(64)->Arg(256)->Unit(benchmark::kMicrosecond);
BENCHMARK(second_moments)->Arg(64)->Arg(256)->Unit(benchmark::kMillisecond);
BENCHMARK(gptq_layer)->Arg(64)->Arg(256)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quantbound::reconstruct

BENCHMARK_MAIN();
