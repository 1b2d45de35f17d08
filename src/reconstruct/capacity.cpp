#include "quantbound/reconstruct/capacity.hpp"

#include <algorithm>
#include <array>

#include "quantbound/core/assert.hpp"

namespace quantbound::reconstruct {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

struct LayerSize {
  Index parameters = 0;
  bool strided = false;
};

LayerSize size_of(const network::Operator& op) {
  if (const auto* dense = std::get_if<network::Dense>(&op)) return {dense->inputs * dense->outputs, false};
  const tensor::Convolution& geometry = std::get<network::Convolution>(op).geometry;
  return {geometry.weight_count(), geometry.window.stride_height > 1 || geometry.window.stride_width > 1};
}

bool same_groups(const tensor::Convolution& a, const tensor::Convolution& b) {
  const auto depthwise = [](const tensor::Convolution& c) { return c.groups > 1 && c.groups == c.channels_in; };
  return (depthwise(a) && depthwise(b)) || a.groups == b.groups;
}

bool same_strides(const tensor::Window& a, const tensor::Window& b) {
  return a.stride_height == b.stride_height && a.stride_width == b.stride_width;
}

bool same_dilation(const tensor::Window& a, const tensor::Window& b) {
  const auto rate = [](Index kernel, Index dilation) { return kernel > 1 ? dilation : 1; };  // of one row: no meaning
  return rate(a.kernel_height, a.dilation_height) == rate(b.kernel_height, b.dilation_height) &&
         rate(a.kernel_width, a.dilation_width) == rate(b.kernel_width, b.dilation_width);
}

bool alike(const network::Operator& a, const network::Operator& b, Homogeneity homogeneity) {
  const auto* first = std::get_if<network::Convolution>(&a);
  const auto* second = std::get_if<network::Convolution>(&b);
  if (first == nullptr || second == nullptr) return first == second;  // both matrices
  const tensor::Window &one = first->geometry.window, &two = second->geometry.window;
  return same_groups(first->geometry, second->geometry) && same_dilation(one, two) &&
         (homogeneity == Homogeneity::converted || same_strides(one, two));
}

/// The activation that alone follows a layer of a module.
const network::Activation* activation_of(const Graph& part, Index layer) {
  return std::get_if<network::Activation>(&part.nodes[at(part.measured_output(layer))].op);
}

bool alike(const network::Activation* a, const network::Activation* b) {
  if (a == nullptr || b == nullptr) return a == b;
  return a->kind == b->kind && a->alpha == b->alpha && a->beta == b->beta;
}

/// Numbers of sums, products and concatenations.
std::array<Index, 3> joints(const Graph& part) {
  std::array<Index, 3> counts{};
  for (const network::Node& node : part.nodes) {
    counts[0] += std::holds_alternative<network::Add>(node.op) ? 1 : 0;
    counts[1] += std::holds_alternative<network::Product>(node.op) ? 1 : 0;
    counts[2] += std::holds_alternative<network::Concat>(node.op) ? 1 : 0;
  }
  return counts;
}

}  // namespace

double module_capacity(const Graph& graph, const Module& module, std::span<const int> bits_of_layer,
                       const CapacityOptions& options) {
  const std::vector<NodeId> nodes = graph.weight_layers();
  QUANTBOUND_ASSERT(bits_of_layer.size() == nodes.size(), bits_of_layer.size(), nodes.size());
  double capacity = 0.0;
  for (const Index layer : module.layers) {
    const LayerSize size = size_of(graph.nodes[at(nodes[at(layer)])].op);
    QUANTBOUND_ASSERT(bits_of_layer[at(layer)] > 0, layer, bits_of_layer[at(layer)]);
    capacity +=
        static_cast<double>(size.parameters) * bits_of_layer[at(layer)] * (size.strided ? options.stride_factor : 1.0);
  }
  return capacity;
}

std::string_view to_string(Homogeneity homogeneity) {
  switch (homogeneity) {
    case Homogeneity::strict:
      return "strict";
    case Homogeneity::definition:
      return "definition";
    case Homogeneity::converted:
      return "converted";
  }
  return "?";
}

std::optional<Homogeneity> parse_homogeneity(std::string_view text) {
  for (const Homogeneity value : {Homogeneity::strict, Homogeneity::definition, Homogeneity::converted})
    if (to_string(value) == text) return value;
  return std::nullopt;
}

bool homogeneous(const Graph& graph, const Module& a, const Module& b, Homogeneity homogeneity) {
  if (a.layers.size() != b.layers.size()) return false;
  const Graph first = module_graph(graph, a), second = module_graph(graph, b);
  const std::vector<NodeId> first_layers = first.weight_layers(), second_layers = second.weight_layers();
  for (Index i = 0; i < std::ssize(a.layers); ++i) {
    const network::Operator& one = first.nodes[at(first_layers[at(i)])].op;
    const network::Operator& two = second.nodes[at(second_layers[at(i)])].op;
    if (!alike(one, two, homogeneity) || !alike(activation_of(first, i), activation_of(second, i))) return false;
  }
  return homogeneity != Homogeneity::strict || joints(first) == joints(second);
}

std::vector<std::uint8_t> mergeable_neighbours(const Graph& graph, std::span<const Module> modules) {
  std::vector<std::uint8_t> may_join;
  for (std::size_t i = 1; i < modules.size(); ++i)
    may_join.push_back(may_merge(graph, modules[i - 1], modules[i]) ? 1 : 0);
  return may_join;
}

std::vector<std::uint8_t> homogeneous_neighbours(const Graph& graph, std::span<const Module> modules,
                                                 Homogeneity homogeneity) {
  std::vector<std::uint8_t> may_join = mergeable_neighbours(graph, modules);
  for (std::size_t i = 0; i < may_join.size(); ++i)
    if (may_join[i] != 0 && !homogeneous(graph, modules[i], modules[i + 1], homogeneity)) may_join[i] = 0;
  return may_join;
}

}  // namespace quantbound::reconstruct
