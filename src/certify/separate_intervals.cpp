// Interval arithmetic through f and through f_q, and the difference of what comes out.

#include <utility>

#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/core/assert.hpp"
#include "quantbound/network/operator_boxes.hpp"

#include "intervals.hpp"
#include "transformer.hpp"

namespace quantbound::certify {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

Box through_grid(const ActivationGrid& grid, Box box) {
  for (std::size_t i = 0; i < box.low.size(); ++i) {
    const core::Interval value = detail::grid_range(grid, detail::interval_at(box, i));
    box.low[i] = value.low;
    box.high[i] = value.high;
  }
  return box;
}

/// The boxes of all nodes of one network. `grids` is empty or has one entry per node.
std::vector<Box> network_boxes(const Graph& graph, std::span<const LayerParameters> layers,
                               std::span<const std::optional<ActivationGrid>> grids, const Box& input) {
  std::vector<Box> boxes(graph.nodes.size());
  boxes.front() = input;
  detail::Workspace work;
  for (std::size_t v = 1; v < graph.nodes.size(); ++v) {
    const network::Node& node = graph.nodes[v];
    std::vector<const network::Shape*> shapes;
    std::vector<const Box*> inputs;
    for (const NodeId input_node : node.inputs) {
      shapes.push_back(&graph.nodes[at(input_node)].shape);
      inputs.push_back(&boxes[at(input_node)]);
    }
    if (const auto* convolution = std::get_if<network::Convolution>(&node.op)) {
      boxes[v] = detail::layer_image(detail::LinearMap(node.op), layers[at(convolution->layer)], *inputs.front(), work);
    } else if (const auto* dense = std::get_if<network::Dense>(&node.op)) {
      boxes[v] = detail::layer_image(detail::LinearMap(node.op), layers[at(dense->layer)], *inputs.front(), work);
    } else if (!grids.empty() && grids[v]) {
      boxes[v] = through_grid(*grids[v], *inputs.front());
    } else {
      boxes[v] = network::operator_box(node.op, node.shape, shapes, inputs);
    }
  }
  return boxes;
}

}  // namespace

PairBounds separate_intervals(const Pair& pair, const Box& input) {
  QUANTBOUND_ASSERT(
      std::ssize(input.low) == tensor::elements(pair.graph.input_shape()) && input.low.size() == input.high.size(),
      input.low.size(), input.high.size());
  std::vector<Box> f = network_boxes(pair.graph, pair.f, {}, input);
  std::vector<Box> fq = network_boxes(pair.graph, pair.fq, pair.activation_grids, input);
  PairBounds bounds;
  bounds.nodes.resize(f.size());
  for (std::size_t v = 0; v < f.size(); ++v) {
    Box difference = detail::separate_difference(fq[v], f[v]);
    bounds.nodes[v] = {std::move(f[v]), std::move(fq[v]), std::move(difference)};
  }
  return bounds;
}

}  // namespace quantbound::certify
