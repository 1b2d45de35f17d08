#include "quantbound/reconstruct/reconstruct.hpp"

#include "quantbound/core/assert.hpp"
#include "quantbound/quantize/equalization.hpp"

#include "options.hpp"
#include "state.hpp"
#include "values.hpp"
#include "walk.hpp"

namespace quantbound::reconstruct {

namespace {

using detail::State;

std::vector<Module> modules_of(const Graph& graph, Method method, const Options& options) {
  if (detail::goes_by_layers(method)) return find_modules(graph, ModuleKind::layer);
  if (!options.named.empty()) return named_modules(graph, options.named, "reconstruct.modules");
  return find_modules(graph, options.modules);
}

std::vector<LayerParameters> prepared(const Network& network, const Options& options) {
  if (options.equalization == Equalization::none) return network.layers;
  return quantize::equalized(network.graph, network.layers, quantize::find_equalization(network.graph, network.layers));
}

}  // namespace

Reconstruction reconstruct(const Network& network, const quantize::Configuration& configuration, Method method,
                           const Calibration& calibration, const Options& options, const Watch& watch) {
  const Index input = tensor::elements(network.graph.input_shape());
  QUANTBOUND_ASSERT(std::ssize(calibration.inputs) == calibration.count * input, calibration.inputs.size(),
                    calibration.count, input);
  detail::check(method, calibration, options);
  Reconstruction result;
  result.original = prepared(network, options);
  detail::Task task{.graph = network.graph,
                    .original = result.original,
                    .configuration = configuration,
                    .method = detail::objective_of(method, options),
                    .calibration = calibration,
                    .options = options,
                    .watch = watch,
                    .identity = detail::identity(network, configuration, method, calibration, options)};
  task.configuration.quantizer = quantize::Quantizer::round;
  State state = watch.saved.empty() ? State{} : detail::from_bytes(watch.saved, task.identity);
  const std::vector<Module> modules = modules_of(network.graph, method, options);
  result.stopped = !detail::Walk(task, modules, state).run();

  result.quantized = std::move(state.layers);
  for (std::size_t i = result.quantized.size(); i < result.original.size(); ++i) {
    result.quantized.push_back(result.original[i]);
  }
  result.modules = std::move(state.reports);
  for (std::size_t i = 0; i < result.modules.size(); ++i) result.modules[i].module = modules[i];
  return result;
}

Index reconstruct_memory(const Graph& graph, Index samples, const Options& options) {
  const Index both = 2;  // of f and of the quantized network
  return detail::held_elements(graph, find_modules(graph, options.modules)) * both * samples * Index{sizeof(float)};
}

}  // namespace quantbound::reconstruct
