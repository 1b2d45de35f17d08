#include "quantbound/reconstruct/module.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/nearest.hpp"
#include "quantbound/network/segments.hpp"

#include "blocks.hpp"

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

/// Height and width, or the size of a flat value.
std::vector<Index> extent(const network::Shape& shape) {
  return {shape.begin() + (shape.size() > 1 ? 1 : 0), shape.end()};
}

std::vector<Module> stages(const Graph& graph) {
  const std::vector<Module> blocks = detail::find_blocks(graph);
  const auto extent_of = [&](const Module& block) { return extent(graph.nodes[at(block.output)].shape); };
  std::vector<Index> runs;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (i > 0 && extent_of(blocks[i]) == extent_of(blocks[i - 1])) {
      ++runs.back();
    } else {
      runs.push_back(1);
    }
  }
  return merge(blocks, runs);
}

/// The weight layers between two nodes, if these enclose a module: nothing else is read, and nothing within is read
/// from outside.
std::optional<std::vector<Index>> enclosed_layers(const Graph& graph, NodeId from, NodeId to) {
  if (from >= to) return std::nullopt;
  std::vector<char> within(graph.nodes.size(), 0);
  within[at(to)] = 1;
  for (NodeId id = to; id > from; --id) {
    if (within[at(id)] == 0) continue;
    for (const NodeId input : graph.nodes[at(id)].inputs) {
      if (input < from) return std::nullopt;
      within[at(input)] = 1;
    }
  }
  const auto inside = [&](NodeId id) { return id != from && id != to && within[at(id)] != 0; };
  for (NodeId id = from + 1; id < std::ssize(graph.nodes); ++id) {
    const auto& inputs = graph.nodes[at(id)].inputs;
    if (within[at(id)] == 0 && std::any_of(inputs.begin(), inputs.end(), inside)) return std::nullopt;
  }
  std::vector<Index> layers;
  const std::vector<NodeId> nodes = graph.weight_layers();
  for (Index layer = 0; layer < std::ssize(nodes); ++layer)
    if (nodes[at(layer)] != from && within[at(nodes[at(layer)])] != 0) layers.push_back(layer);
  return layers;
}

// ---- modules by name -----------------------------------------------------------------------------------------------

Index layer_named(const Graph& graph, const std::string& name, const std::string& where) {
  const std::vector<NodeId> nodes = graph.weight_layers();
  std::vector<std::string> names;
  names.reserve(nodes.size());
  for (const NodeId id : nodes) names.push_back(graph.nodes[at(id)].name);
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return found - names.begin();
  if (const auto suggestion = core::nearest(name, names))
    throw core::InputError(fmt::format("no weight layer is named '{}'; did you mean '{}'?", name, *suggestion), where);
  if (names.empty()) throw core::InputError("the network has no weight layers: it has no modules", where);
  throw core::InputError(
      fmt::format("no weight layer is named '{}'; the first is '{}', the last '{}'", name, names.front(), names.back()),
      where);
}

/// What no edge passes by around weight layers first..last, as close as possible, and the elementwise nodes behind.
std::pair<NodeId, NodeId> cuts_around(const Graph& graph, Index first, Index last) {
  const std::vector<NodeId> nodes = graph.weight_layers(), cuts = network::cut_points(graph);
  const auto before = std::prev(std::lower_bound(cuts.begin(), cuts.end(), nodes[at(first)]));
  const auto behind = std::lower_bound(cuts.begin(), cuts.end(), nodes[at(last)]);
  QUANTBOUND_ASSERT(behind != cuts.end(), first, last);
  return {*before, detail::behind_elementwise(graph, *behind)};
}

Module named_module(const Graph& graph, Index first, Index last, const std::string& where) {
  Module module;
  module.layers.resize(at(last - first + 1));
  std::iota(module.layers.begin(), module.layers.end(), first);
  module.name = detail::label(graph, module.layers);
  module.input = graph.nodes[at(graph.weight_layers()[at(first)])].inputs.front();
  module.output = graph.measured_output(last);
  if (first == last || enclosed_layers(graph, module.input, module.output) == module.layers) return module;

  std::tie(module.input, module.output) = cuts_around(graph, first, last);
  const std::optional<std::vector<Index>> around = enclosed_layers(graph, module.input, module.output);
  QUANTBOUND_ASSERT(around.has_value(), module.input, module.output);
  if (around == module.layers) return module;
  throw core::InputError(
      fmt::format("the layers '{}' share a block with others; the smallest module that holds them is '{}'", module.name,
                  detail::label(graph, *around)),
      where);
}

/// `a` of "a..b", `b` of "a..b".
std::string first_name(const std::string& label) { return label.substr(0, label.find("..")); }
std::string last_name(const std::string& label) {
  const std::size_t dots = label.rfind("..");
  return dots == std::string::npos ? label : label.substr(dots + 2);
}

}  // namespace

std::string_view to_string(ModuleKind kind) {
  switch (kind) {
    case ModuleKind::layer:
      return "layer";
    case ModuleKind::block:
      return "block";
    case ModuleKind::stage:
      return "stage";
  }
  return "?";
}

std::optional<ModuleKind> parse_module_kind(std::string_view text) {
  for (const ModuleKind kind : {ModuleKind::layer, ModuleKind::block, ModuleKind::stage})
    if (to_string(kind) == text) return kind;
  return std::nullopt;
}

std::vector<Module> find_modules(const Graph& graph, ModuleKind kind) {
  switch (kind) {
    case ModuleKind::layer:
      return layer_modules(graph);
    case ModuleKind::block:
      return detail::find_blocks(graph);
    case ModuleKind::stage:
      return stages(graph);
  }
  QUANTBOUND_ASSERT(false, static_cast<int>(kind));
  return {};
}

std::vector<Module> named_modules(const Graph& graph, std::span<const LayerRange> ranges, const std::string& where) {
  const std::vector<Module> single = layer_modules(graph);
  std::vector<Module> modules;
  Index next = 0;
  const auto append_singles = [&](Index end) {
    for (; next < end; ++next) modules.push_back(single[at(next)]);
  };
  for (const LayerRange& range : ranges) {
    const Index first = layer_named(graph, range.first, where), last = layer_named(graph, range.last, where);
    if (last < first)
      throw core::InputError(
          fmt::format("layer '{}' comes after '{}'; name the first layer of a module first", range.first, range.last),
          where);
    if (first < next)
      throw core::InputError(
          fmt::format("layer '{}' is in two modules, or modules are not in the order of the network", range.first),
          where);
    append_singles(first);
    modules.push_back(named_module(graph, first, last, where));
    next = last + 1;
  }
  append_singles(std::ssize(single));
  return modules;
}

bool may_merge(const Graph& graph, const Module& first, const Module& last) {
  std::vector<Index> layers(at(last.layers.back() - first.layers.front() + 1));
  std::iota(layers.begin(), layers.end(), first.layers.front());
  return enclosed_layers(graph, first.input, last.output) == layers;
}

std::vector<Module> merge(std::span<const Module> modules, std::span<const Index> runs) {
  std::vector<Module> merged;
  std::size_t next = 0;
  for (const Index run : runs) {
    QUANTBOUND_ASSERT(run >= 1 && next + at(run) <= modules.size(), run, next, modules.size());
    const auto parts = modules.subspan(next, at(run));
    Module& whole = merged.emplace_back(parts.front());
    whole.output = parts.back().output;
    if (run > 1) whole.name = first_name(parts.front().name) + ".." + last_name(parts.back().name);
    for (const Module& part : parts.subspan(1))
      whole.layers.insert(whole.layers.end(), part.layers.begin(), part.layers.end());
    next += at(run);
  }
  QUANTBOUND_ASSERT(next == modules.size(), next, modules.size());
  return merged;
}

Graph module_graph(const Graph& graph, const Module& module) {
  Graph part = network::between(graph, module.input, module.output);
  QUANTBOUND_ASSERT(part.weight_layers().size() == module.layers.size(), part.weight_layers().size(),
                    module.layers.size());
  return part;
}

}  // namespace quantbound::reconstruct
