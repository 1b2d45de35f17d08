#include "quantbound/network/forward.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "quantbound/core/assert.hpp"

#include "node_evaluation.hpp"

namespace quantbound::network {

namespace {

using detail::FirstInput;
using detail::Values;

/// The graph at one batch of samples, node after node. A value is dropped when its last reader has run.
class Evaluation {
 public:
  Evaluation(const Graph& graph, std::span<const LayerParameters> layers, Index batch)
      : graph_(graph),
        values_(graph.nodes.size()),
        nodes_(graph, layers, batch, values_),
        readers_(graph.nodes.size()),
        measured_(graph.nodes.size()) {
    for (const Node& node : graph.nodes)
      for (const NodeId input : node.inputs) ++readers_[index(input)];
    ++readers_[index(graph.output)];
    for (Index layer = 0; layer < std::ssize(layers); ++layer) measured_[index(graph.measured_output(layer))] = layer;
  }

  Values run(std::span<const double> samples, const LayerVisitor& visitor) {
    values_.front().assign(samples.begin(), samples.end());
    for (std::size_t id = 0; id < graph_.nodes.size(); ++id) {
      const Node& node = graph_.nodes[id];
      if (id > 0) values_[id] = nodes_.evaluate(node, first_input(node));
      if (visitor && measured_[id]) visitor(*measured_[id], values_[id]);
      for (const NodeId input : node.inputs) release(input);
      if (readers_[id] == 0) values_[id] = Values();
    }
    return std::move(values_[index(graph_.output)]);
  }

 private:
  static std::size_t index(Index i) { return static_cast<std::size_t>(i); }

  FirstInput first_input(const Node& node) const {
    return readers_[index(node.inputs.front())] == 1 ? FirstInput::last_use : FirstInput::kept;
  }

  void release(NodeId id) {
    if (--readers_[index(id)] == 0) values_[index(id)] = Values();  // `= {}` would keep the memory
  }

  const Graph& graph_;
  std::vector<Values> values_;
  detail::NodeEvaluation nodes_;
  std::vector<Index> readers_;  ///< of each value, still to run
  std::vector<std::optional<Index>> measured_;
};

/// As many samples as keep a value within 32 MiB, but enough to keep threads and kernels busy.
Index samples_at_once(const Graph& graph) {
  Index largest = 1;
  for (const Node& node : graph.nodes) largest = std::max(largest, tensor::elements(node.shape));
  return std::clamp<Index>((Index{1} << 22) / largest, 8, 1024);
}

}  // namespace

std::vector<double> forward(const Graph& graph, std::span<const LayerParameters> layers,
                            std::span<const double> samples, Index batch, const LayerVisitor& visitor) {
  const Index in = tensor::elements(graph.input_shape());
  QUANTBOUND_ASSERT(std::ssize(samples) == batch * in, samples.size(), batch, in);
  if (visitor) return Evaluation(graph, layers, batch).run(samples, visitor);

  // Kernels give a sample the same bits in any batch, so cutting the batch bounds the memory and changes nothing else.
  const Index block = samples_at_once(graph);
  std::vector<double> output;
  output.reserve(static_cast<std::size_t>(batch * tensor::elements(graph.output_shape())));
  for (Index first = 0; first < batch; first += block) {
    const Index count = std::min(block, batch - first);
    const auto part = samples.subspan(static_cast<std::size_t>(first * in), static_cast<std::size_t>(count * in));
    const std::vector<double> values = Evaluation(graph, layers, count).run(part, visitor);
    output.insert(output.end(), values.begin(), values.end());
  }
  return output;
}

}  // namespace quantbound::network
