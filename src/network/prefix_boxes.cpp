// Interval arithmetic over the nodes before the first weight layer.

#include <algorithm>

#include "quantbound/core/assert.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/network/operator_boxes.hpp"

namespace quantbound::network {

namespace {

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

}  // namespace

std::vector<Box> prefix_boxes(const Graph& graph, const Box& box) {
  QUANTBOUND_ASSERT(std::ssize(box.low) == tensor::elements(graph.input_shape()) && box.low.size() == box.high.size(),
                    box.low.size(), box.high.size(), tensor::to_string(graph.input_shape()));
  std::vector<Box> boxes(graph.nodes.size());
  boxes.front() = box;
  for (std::size_t id = 1; id < graph.nodes.size(); ++id) {
    const Node& node = graph.nodes[id];
    const bool weight_layer = std::holds_alternative<Convolution>(node.op) || std::holds_alternative<Dense>(node.op);
    const bool known = std::all_of(node.inputs.begin(), node.inputs.end(),
                                   [&](NodeId input) { return !boxes[index(input)].low.empty(); });
    if (weight_layer || !known) continue;
    std::vector<const Shape*> shapes;
    std::vector<const Box*> inputs;
    for (const NodeId input : node.inputs) {
      shapes.push_back(&graph.nodes[index(input)].shape);
      inputs.push_back(&boxes[index(input)]);
    }
    boxes[id] = operator_box(node.op, node.shape, shapes, inputs);
  }
  return boxes;
}

}  // namespace quantbound::network
