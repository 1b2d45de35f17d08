#include "values.hpp"

#include <algorithm>
#include <set>

#include "quantbound/core/assert.hpp"
#include "quantbound/network/segments.hpp"

#include "evaluate.hpp"

namespace quantbound::reconstruct::detail {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

const tensor::Shape& shape_of(const Graph& graph, NodeId node) { return graph.nodes[at(node)].shape; }

bool is_weight_layer(const network::Operator& op) {
  return std::holds_alternative<network::Convolution>(op) || std::holds_alternative<network::Dense>(op);
}

/// The nodes of `known` that `target` follows from without passing by others of them.
std::vector<NodeId> sources_of(const Graph& graph, const std::set<NodeId>& known, NodeId target) {
  std::set<NodeId> sources, open{target};
  while (!open.empty()) {
    const NodeId node = *open.rbegin();
    open.erase(node);
    if (known.contains(node)) {
      sources.insert(node);
      continue;
    }
    QUANTBOUND_ASSERT(!is_weight_layer(graph.nodes[at(node)].op), node, target);
    const auto& inputs = graph.nodes[at(node)].inputs;
    open.insert(inputs.begin(), inputs.end());
  }
  return {sources.begin(), sources.end()};
}

/// A flat Input of several values, and the nodes that cut it up: in the order of `sources`.
std::vector<NodeId> add_cut_input(Graph& part, const Graph& graph, std::span<const NodeId> sources) {
  Index total = 0;
  for (const NodeId source : sources) total += tensor::elements(shape_of(graph, source));
  part.nodes.push_back({"held", network::Input{}, {}, {total}});
  std::vector<NodeId> nodes;
  Index first = 0;
  for (const NodeId source : sources) {
    const network::Node& node = graph.nodes[at(source)];
    const Index size = tensor::elements(node.shape);
    part.nodes.push_back({node.name + " cut out", network::Slice{{first}, {1}, {size}}, {0}, {size}});
    part.nodes.push_back({node.name, network::Reshape{}, {std::ssize(part.nodes) - 1}, node.shape});
    nodes.push_back(std::ssize(part.nodes) - 1);
    first += size;
  }
  return nodes;
}

}  // namespace

Route find_route(const Graph& graph, std::span<const Module> modules) {
  Route route;
  std::set<NodeId> known{0};
  std::map<NodeId, std::size_t> last;  // the module that is the last to read a value
  for (std::size_t m = 0; m < modules.size(); ++m) {
    Route::Stop& stop = route.stops.emplace_back();
    if (!known.contains(modules[m].input)) stop.sources = sources_of(graph, known, modules[m].input);
    for (const NodeId source : stop.sources) last[source] = m;
    last[modules[m].input] = m;
    last.emplace(modules[m].output, m);
    known.insert({modules[m].input, modules[m].output});
  }
  for (const auto& [node, module] : last) {
    if (node != 0) route.stops[module].released.push_back(node);
  }
  return route;
}

Graph glue_graph(const Graph& graph, std::span<const NodeId> sources, NodeId target) {
  QUANTBOUND_ASSERT(!sources.empty(), target);
  if (sources.size() == 1) return network::between(graph, sources.front(), target);
  Graph part;
  const std::vector<NodeId> cut = add_cut_input(part, graph, sources);
  std::map<NodeId, NodeId> renamed;
  for (std::size_t i = 0; i < sources.size(); ++i) renamed[sources[i]] = cut[i];
  std::set<NodeId> needed, open{target};
  while (!open.empty()) {
    const NodeId node = *open.rbegin();
    open.erase(node);
    if (renamed.contains(node)) continue;
    needed.insert(node);
    const auto& inputs = graph.nodes[at(node)].inputs;
    open.insert(inputs.begin(), inputs.end());
  }
  for (const NodeId id : needed) {
    network::Node& node = part.nodes.emplace_back(graph.nodes[at(id)]);
    QUANTBOUND_ASSERT(!is_weight_layer(node.op), id, target);
    for (NodeId& input : node.inputs) input = renamed.at(input);
    renamed[id] = std::ssize(part.nodes) - 1;
  }
  part.output = renamed.at(target);
  return part;
}

Values::Values(const Graph& graph, std::span<const Module> modules, const Calibration& calibration)
    : graph_(graph), modules_(modules), calibration_(calibration), route_(find_route(graph, modules)) {}

std::span<const float> Values::original(NodeId node) const {
  return node == 0 ? calibration_.inputs : held_.at(node).original;
}

std::span<const float> Values::quantized(NodeId node) const {
  return node == 0 ? calibration_.inputs : held_.at(node).quantized;
}

void Values::reach(Index module) {
  const auto& sources = route_.stops[at(module)].sources;
  if (sources.empty()) return;
  const NodeId target = modules_[at(module)].input;
  const Graph glue = glue_graph(graph_, sources, target);
  const auto along = [&](auto&& value_of) {
    if (sources.size() == 1) return evaluate(glue, {}, value_of(sources.front()), calibration_.count);
    const std::size_t width = at(tensor::elements(glue.input_shape()));
    std::vector<float> joined(at(calibration_.count) * width);
    std::size_t first = 0;
    for (const NodeId source : sources) {
      const std::span<const float> value = value_of(source);
      const std::size_t size = value.size() / at(calibration_.count);
      for (std::size_t s = 0; s < at(calibration_.count); ++s) {
        std::ranges::copy(value.subspan(s * size, size), joined.begin() + static_cast<Index>(s * width + first));
      }
      first += size;
    }
    return evaluate(glue, {}, joined, calibration_.count);
  };
  Pair& pair = held_[target];
  pair.original = along([&](NodeId node) { return original(node); });
  pair.quantized = along([&](NodeId node) { return quantized(node); });
}

void Values::finish(Index module, Pair output) {
  held_[modules_[at(module)].output] = std::move(output);
  for (const NodeId node : route_.stops[at(module)].released) held_.erase(node);
}

Index Values::held() const {
  Index elements = 0;
  for (const auto& entry : held_) elements += tensor::elements(shape_of(graph_, entry.first));
  return elements;
}

Index held_elements(const Graph& graph, std::span<const Module> modules) {
  const Route route = find_route(graph, modules);
  std::set<NodeId> held;
  Index most = 0;
  for (std::size_t m = 0; m < modules.size(); ++m) {
    held.insert({modules[m].input, modules[m].output});
    held.erase(0);
    Index now = 0;
    for (const NodeId node : held) now += tensor::elements(shape_of(graph, node));
    // While several values are joined there is a copy of them.
    Index joined = 0;
    for (const NodeId source : route.stops[m].sources) joined += tensor::elements(shape_of(graph, source));
    if (route.stops[m].sources.size() < 2) joined = 0;
    most = std::max(most, std::max(now, now - tensor::elements(shape_of(graph, modules[m].output)) + joined));
    for (const NodeId node : route.stops[m].released) held.erase(node);
  }
  return most;
}

}  // namespace quantbound::reconstruct::detail
