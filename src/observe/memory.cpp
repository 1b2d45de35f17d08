// What observe() takes, phase by phase: the passes over the block, the passes in double that estimate the error, and
// the layer samples. Engines of one phase are gone when the next begins, so the largest phase counts.
#include <algorithm>
#include <array>

#include <omp.h>

#include "quantbound/network/float_forward.hpp"
#include "quantbound/observe/deviation.hpp"

#include "comparison.hpp"
#include "evaluation.hpp"
#include "layer_terms.hpp"
#include "shared_prefixes.hpp"

namespace quantbound::observe {

namespace {

using namespace detail;
using network::Node;

constexpr Index of_float = sizeof(float), of_double = sizeof(double);

/// Weights and biases of one layer.
Index parameters_of(const Node& node) {
  if (const auto* convolution = std::get_if<network::Convolution>(&node.op))
    return convolution->geometry.weight_count() + convolution->geometry.channels_out;
  if (const auto* dense = std::get_if<network::Dense>(&node.op)) return (dense->inputs + 1) * dense->outputs;
  return 0;
}

/// Operators whose result takes the place of an input that nothing else reads.
bool works_in_place(const network::Operator& op) {
  return std::holds_alternative<network::Activation>(op) || std::holds_alternative<network::Reshape>(op) ||
         std::holds_alternative<network::ScaleShift>(op);
}

struct Sizes {
  Index input, output, parameters = 0, largest_layer = 0, all_values = 0, live_values = 0;

  explicit Sizes(const Graph& graph)
      : input(tensor::elements(graph.input_shape())), output(tensor::elements(graph.output_shape())) {
    std::vector<network::NodeId> last(graph.nodes.size(), 0);  // reader of each value
    for (network::NodeId id = 0; id < std::ssize(graph.nodes); ++id) {
      for (const network::NodeId read : graph.nodes[static_cast<std::size_t>(id)].inputs)
        last[static_cast<std::size_t>(read)] = id;
    }
    for (network::NodeId id = 0; id < std::ssize(graph.nodes); ++id) {
      const Node& node = graph.nodes[static_cast<std::size_t>(id)];
      parameters += parameters_of(node);
      largest_layer = std::max(largest_layer, parameters_of(node));
      all_values += tensor::elements(node.shape);
      Index live = tensor::elements(node.shape);
      for (network::NodeId other = 0; other < id; ++other) {
        const bool taken_over = works_in_place(node.op) && other == node.inputs.front();
        const network::NodeId reader = last[static_cast<std::size_t>(other)];
        if (reader > id || (reader == id && !taken_over))
          live += tensor::elements(graph.nodes[static_cast<std::size_t>(other)].shape);
      }
      live_values = std::max(live_values, live);
    }
  }
};

Index of_comparisons(Index configurations, Index samples) {
  return configurations * samples * static_cast<Index>(sizeof(Comparison));
}

Index total(const ObserveMemory& memory) { return memory.shared + omp_get_max_threads() * memory.per_thread; }

/// The passes over the block: rounded inputs, outputs and comparisons, engines and their weights, a layer in double.
ObserveMemory of_passes(const Graph& graph, const Sizes& sizes, Index configurations, Index samples,
                        Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::float64) {
    const Index batch = std::min(samples, DoubleEvaluation::batch_size(graph));
    return {.per_thread = batch * sizes.live_values * of_double,
            .shared = 2 * samples * sizes.output * of_double + of_comparisons(configurations, samples) +
                      sizes.parameters * of_double};
  }
  const Batches batches{.samples = samples, .size = FloatEvaluation::batch_size(graph)};
  ObserveMemory memory{.shared = samples * (sizes.input + 2 * sizes.output) * of_float +
                                 of_comparisons(configurations, samples) + sizes.largest_layer * of_double};
  if (samples >= batches.size) {
    const auto engine = network::FloatForward(graph, batches.size).memory();
    memory.shared += engine.weights;
    memory.per_thread = engine.activations + engine.scratch;
  }
  if (batches.rest() > 0) {
    const auto engine = network::FloatForward(graph, batches.rest()).memory();
    memory.shared += engine.weights + engine.activations + engine.scratch;
  }
  return memory;
}

/// One variant at one sample in double.
ObserveMemory of_error(const Sizes& sizes, Index configurations, Index samples) {
  return {.shared = samples * sizes.output * of_float + of_comparisons(configurations, samples) +
                    (sizes.parameters + sizes.live_values) * of_double};
}

ObserveMemory of_layers(const Graph& graph, const Sizes& sizes, Index layer_samples, Arithmetic arithmetic) {
  const Index batch = layer_batch(graph, layer_samples);
  const Index batches = std::min(batches_at_once(graph, batch), layer_samples / batch);
  if (arithmetic == Arithmetic::float64) {
    const Index tape = batch * 2 * sizes.all_values * of_double;
    return {.per_thread = tape, .shared = batches * tape / 2 + 2 * sizes.parameters * of_double};
  }
  const auto engine = network::FloatForward(with_twins(graph), batch, captured_nodes(graph)).memory();
  const Index each = engine.activations + engine.scratch;
  return {.per_thread = each,
          .shared = 2 * sizes.largest_layer * of_double + batches * (each + batch * sizes.input * of_float) +
                    2 * engine.weights};
}

}  // namespace

ObserveMemory observe_memory(const Graph& graph, Index configurations, Index samples, const ObserveOptions& options) {
  const Sizes sizes(graph);
  const Arithmetic arithmetic = arithmetic_of(graph, options.precision);
  std::vector<ObserveMemory> phases{of_passes(graph, sizes, configurations, samples, arithmetic)};
  if (arithmetic == Arithmetic::float32) phases.push_back(of_error(sizes, configurations, samples));
  const Index layer_samples = std::min(options.layer_samples, samples);
  if (layer_samples > 0) phases.push_back(of_layers(graph, sizes, layer_samples, arithmetic));
  return *std::ranges::max_element(phases, {}, total);
}

}  // namespace quantbound::observe
