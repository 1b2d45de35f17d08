#include "scheme.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/segments.hpp"
#include "quantbound/reconstruct/capacity.hpp"
#include "quantbound/reconstruct/selection.hpp"

#include "options.hpp"

namespace quantbound::reconstruct::detail {

namespace {

SelectionOptions selection_of(const Options& options, Index usual_run) {
  return {.k = options.joins,
          .penalty = options.join_penalty,
          .longest_run = options.longest_run == 0 ? usual_run : options.longest_run};
}

}  // namespace

std::vector<Module> single_modules(const Graph& graph, Method method, const Options& options) {
  if (goes_by_layers(method)) return find_modules(graph, ModuleKind::layer);
  if (!options.named.empty()) return named_modules(graph, options.named, "reconstruct.modules");
  return find_modules(graph, options.modules);
}

void require_outputs_without_bypass(const Graph& graph, std::span<const Module> modules) {
  const std::vector<NodeId> cuts = network::cut_points(graph);
  for (const Module& module : modules) {
    if (std::ranges::binary_search(cuts, module.output)) continue;
    throw core::InputError(
        fmt::format("an edge passes by the output of {}, so its Fisher weights are not known; take blocks, or no "
                    "weighting",
                    module.name),
        "reconstruct.weighting");
  }
}

std::vector<double> capacities(const Graph& graph, std::span<const Module> modules,
                               const quantize::Configuration& configuration, const Options& options) {
  std::vector<int> bits;
  const Index layers = std::ssize(graph.weight_layers());
  for (Index layer = 0; layer < layers; ++layer) {
    bits.push_back(quantize::at_layer(configuration, layer, layers).bits);
  }
  std::vector<double> result;
  for (const Module& module : modules) result.push_back(module_capacity(graph, module, bits, options.capacity));
  return result;
}

std::vector<Module> joined_modules(const Graph& graph, std::span<const Module> modules, const Options& options) {
  const Index sum = std::accumulate(options.runs.begin(), options.runs.end(), Index{0});
  if (sum != std::ssize(modules)) {
    throw core::InputError(fmt::format("the runs have {} modules, the network {}; give as many", sum, modules.size()),
                           "reconstruct.runs");
  }
  const auto may_join = mergeable_neighbours(graph, modules);
  std::size_t first = 0;
  for (const Index run : options.runs) {
    for (std::size_t i = first; i + 1 < first + static_cast<std::size_t>(run); ++i) {
      if (may_join[i] == 1) continue;
      throw core::InputError(
          fmt::format("{} and {} cannot be one module; separate them", modules[i].name, modules[i + 1].name),
          "reconstruct.runs");
    }
    first += static_cast<std::size_t>(run);
  }
  return merge(modules, options.runs);
}

std::vector<Module> joined_at_random(const Graph& graph, std::span<const Module> modules, const Options& options) {
  const SelectionOptions limits = selection_of(options, 3);
  return merge(modules, random_runs(mergeable_neighbours(graph, modules), limits.longest_run, options.seed, 0));
}

std::vector<Module> joined_by_capacity(const Graph& graph, std::span<const Module> modules,
                                       std::span<const double> capacity, const Options& options) {
  auto may_join = homogeneous_neighbours(graph, modules, options.homogeneity);
  for (std::size_t i = 0; i < may_join.size(); ++i) {
    if (capacity[i] == capacity[i + 1]) may_join[i] = 0;  // no differential to be among the top k
  }
  return merge(modules, select_runs(capacity, may_join, selection_of(options, 2)));
}

std::vector<Module> joined_by_loss(const Graph& graph, std::span<const Module> modules, std::span<const double> loss,
                                   const Options& options) {
  auto may_join = mergeable_neighbours(graph, modules);
  const auto is_single = [](const Module& module) { return module.layers.size() == 1; };
  const bool plain = std::ranges::all_of(modules, is_single);
  for (std::size_t i = 0; i < may_join.size(); ++i) {
    const bool at_an_end = i == 0 || i + 1 == may_join.size();
    if ((at_an_end || !plain) && (is_single(modules[i]) || is_single(modules[i + 1]))) may_join[i] = 0;
  }
  return merge(modules, select_runs(loss, may_join, selection_of(options, 3)));
}

}  // namespace quantbound::reconstruct::detail
