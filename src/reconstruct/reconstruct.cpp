#include "quantbound/reconstruct/reconstruct.hpp"

#include <algorithm>

#include "quantbound/core/assert.hpp"
#include "quantbound/quantize/equalization.hpp"

#include "absorption.hpp"
#include "options.hpp"
#include "scheme.hpp"
#include "state.hpp"
#include "values.hpp"
#include "walk.hpp"

namespace quantbound::reconstruct {

namespace {

using detail::State;

std::vector<LayerParameters> prepared(const Network& network, const Options& options) {
  if (options.equalization == Equalization::none) return network.layers;
  return quantize::equalized(network.graph, network.layers, quantize::find_equalization(network.graph, network.layers));
}

/// Modules of the first state that come first among these too: the second pass would find the same for them, since
/// batches depend on seed, layer and iteration alone.
State taken_over(State first, std::span<const Module> modules, std::span<const Module> first_modules) {
  State state{.pass = 1};
  for (const ModuleReport& report : first.reports) state.losses.push_back(report.loss);
  std::size_t same = 0;
  while (same < modules.size() && modules[same] == first_modules[same]) ++same;
  const std::size_t layers = same == 0 ? 0 : static_cast<std::size_t>(modules[same - 1].layers.back()) + 1;
  state.layers.assign(first.layers.begin(), first.layers.begin() + static_cast<Index>(layers));
  state.reports.assign(first.reports.begin(), first.reports.begin() + static_cast<Index>(same));
  return state;
}

/// All passes that a method takes; what it made is in the state.
struct Passes {
  std::vector<Module> modules;
  State state;
  bool stopped = false;
};

Passes walk(const detail::Task& task, Method method, State state) {
  const Options& options = task.options;
  std::vector<Module> modules = detail::single_modules(task.graph, method, options);
  if (options.weighting == Weighting::fisher) detail::require_outputs_without_bypass(task.graph, modules);
  const auto pass = [&](std::vector<Module> joined) {
    const bool ended = detail::Walk(task, joined, state).run();
    return Passes{std::move(joined), std::move(state), !ended};
  };
  if (!options.runs.empty()) return pass(detail::joined_modules(task.graph, modules, options));
  if (options.joining == Joining::random) return pass(detail::joined_at_random(task.graph, modules, options));
  if (method == Method::mrecg) {
    const auto capacity = detail::capacities(task.graph, modules, task.configuration, options);
    return pass(detail::joined_by_capacity(task.graph, modules, capacity, options));
  }
  if (method != Method::mrecg_loss) return pass(std::move(modules));
  if (state.pass == 0) {
    Passes first = pass(modules);
    if (first.stopped) return first;
    std::vector<double> losses;
    for (const ModuleReport& report : first.state.reports) losses.push_back(report.loss);
    const auto joined = detail::joined_by_loss(task.graph, modules, losses, options);
    state = taken_over(std::move(first.state), joined, modules);
  }
  return pass(detail::joined_by_loss(task.graph, modules, state.losses, options));
}

Index elements_of(const Graph& graph, NodeId node) {
  return tensor::elements(graph.nodes[static_cast<std::size_t>(node)].shape);
}

/// Columns of the weights squared, by group: the second moments of the layer that has most of them.
Index largest_moments(const Graph& graph) {
  Index most = 0;
  for (const NodeId id : graph.weight_layers()) {
    const network::Operator& op = graph.nodes[static_cast<std::size_t>(id)].op;
    if (const auto* convolution = std::get_if<network::Convolution>(&op)) {
      const auto& geometry = convolution->geometry;
      most = std::max(most, geometry.groups * geometry.fan_in() * geometry.fan_in());
    } else {
      const Index inputs = std::get<network::Dense>(op).inputs;
      most = std::max(most, inputs * inputs);
    }
  }
  return most;
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
  std::vector<LayerParameters> absorbed;
  if (options.bias_absorption) {
    absorbed = detail::with_absorbed_biases(network.graph, result.original, calibration, *options.bias_absorption);
  }
  detail::Task task{.graph = network.graph,
                    .original = options.bias_absorption ? absorbed : result.original,
                    .configuration = configuration,
                    .method = detail::objective_of(method, options),
                    .calibration = calibration,
                    .options = options,
                    .watch = watch,
                    .identity = detail::identity(network, configuration, method, calibration, options),
                    .passes = method == Method::mrecg_loss ? 2 : 1};
  task.configuration.quantizer = quantize::Quantizer::round;
  State state = watch.saved.empty() ? State{} : detail::from_bytes(watch.saved, task.identity);
  Passes passes = walk(task, method, std::move(state));

  result.stopped = passes.stopped;
  result.quantized = std::move(passes.state.layers);
  for (std::size_t i = result.quantized.size(); i < result.original.size(); ++i) {
    result.quantized.push_back(result.original[i]);
  }
  const auto capacity = detail::capacities(network.graph, passes.modules, configuration, options);
  result.modules = std::move(passes.state.reports);
  for (std::size_t i = 0; i < result.modules.size(); ++i) {
    result.modules[i].module = passes.modules[i];
    result.modules[i].capacity = capacity[i];
  }
  return result;
}

Index reconstruct_memory(const Graph& graph, Index samples, Method method, const Options& options) {
  const auto modules = detail::single_modules(graph, method, options);
  Index widest_input = 0, widest_output = 0;
  for (const Module& module : modules) {
    if (module.input != 0) widest_input = std::max(widest_input, elements_of(graph, module.input));
    widest_output = std::max(widest_output, elements_of(graph, module.output));
  }
  Index held = detail::held_elements(graph, modules);
  // A joint module reads the input of one and makes the output of another.
  const bool joins = detail::is_mrecg(method) || !options.runs.empty() || options.joining == Joining::random;
  if (joins) held = std::max(held, widest_input + widest_output);
  Index values = 2 * held;  // of f and of the quantized network
  if (options.weighting == Weighting::fisher) values += widest_output;
  Index bytes = values * samples * Index{sizeof(float)};
  // The moments, their sums and, for gptq, the factors of their inverse.
  const Index copies = method == Method::gptq ? 4 : 3;
  if (detail::uses_moments(method, options)) bytes += copies * largest_moments(graph) * Index{sizeof(double)};
  return bytes;
}

}  // namespace quantbound::reconstruct
