#include "quantbound/reconstruct/module.hpp"

#include "quantbound/core/assert.hpp"
#include "quantbound/network/segments.hpp"

namespace quantbound::reconstruct {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

std::vector<Module> layer_modules(const Graph& graph) {
  std::vector<Module> modules;
  for (const NodeId id : graph.weight_layers()) {
    const network::Node& node = graph.nodes[at(id)];
    const Index layer = std::ssize(modules);
    modules.push_back(
        {.name = node.name, .layers = {layer}, .input = node.inputs.front(), .output = graph.measured_output(layer)});
  }
  return modules;
}

}  // namespace

std::vector<Module> find_modules(const Graph& graph, ModuleKind kind) {
  switch (kind) {
    case ModuleKind::layer:
      return layer_modules(graph);
  }
  QUANTBOUND_ASSERT(false, static_cast<int>(kind));
  return {};
}

Graph module_graph(const Graph& graph, const Module& module) {
  Graph part = network::between(graph, module.input, module.output);
  QUANTBOUND_ASSERT(part.weight_layers().size() == module.layers.size(), part.weight_layers().size(),
                    module.layers.size());
  return part;
}

}  // namespace quantbound::reconstruct
