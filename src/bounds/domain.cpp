#include "quantbound/bounds/domain.hpp"

#include <algorithm>
#include <cmath>

#include "quantbound/core/assert.hpp"
#include "quantbound/network/forward.hpp"

namespace quantbound::bounds {

double Domain::magnitude(network::NodeId node) const {
  const network::Box& box = boxes[static_cast<std::size_t>(node)];
  double largest = 0.0;
  for (std::size_t i = 0; i < box.low.size(); ++i) {
    largest = std::max({largest, std::abs(box.low[i]), std::abs(box.high[i])});
  }
  return largest;
}

Domain make_domain(const network::Graph& graph, const network::Box& box) {
  for (std::size_t i = 0; i < box.low.size(); ++i) {
    QUANTBOUND_ASSERT(std::isfinite(box.low[i]) && std::isfinite(box.high[i]) && box.low[i] <= box.high[i], i,
                      box.low[i], box.high[i]);
  }
  Domain domain{network::prefix_boxes(graph, box), 0.0};
  const auto include = [&](network::NodeId node) {
    if (domain.precedes_weights(node)) domain.radius = std::max(domain.radius, domain.magnitude(node));
  };
  for (std::size_t v = 0; v < graph.nodes.size(); ++v) {
    if (domain.precedes_weights(static_cast<network::NodeId>(v))) continue;
    for (const network::NodeId input : graph.nodes[v].inputs) include(input);
  }
  include(graph.output);
  return domain;
}

}  // namespace quantbound::bounds
