#include "shared_prefixes.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <utility>

#include "quantbound/core/hash.hpp"
#include "quantbound/network/segments.hpp"

#include "threads.hpp"

namespace quantbound::observe::detail {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

std::string_view bytes_of(const std::vector<double>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double)};
}

/// Equal for equal numbers: 0 and -0, which f may have, are one.
std::string identity(LayerParameters layer) {
  for (auto* values : {&layer.weights, &layer.bias}) {
    for (double& value : *values) value += 0.0;
  }
  return core::hash128_hex(bytes_of(layer.weights)) + core::hash128_hex(bytes_of(layer.bias));
}

/// The variants that share their beginning with another one.
std::vector<Index> undecided(const std::vector<Index>& representatives) {
  std::vector<Index> members(representatives.size(), 0), result;
  for (const Index r : representatives) ++members[at(r)];
  for (Index v = 0; v < std::ssize(representatives); ++v) {
    if (members[at(representatives[at(v)])] > 1) result.push_back(v);
  }
  return result;
}

}  // namespace

SharedPrefixes::SharedPrefixes(const Variants& variants) {
  std::vector<Index> current(at(variants.count()), 0);
  const auto keep = [&] {
    Index distinct = 0;
    for (Index v = 0; v < variants.count(); ++v) distinct += current[at(v)] == v ? 1 : 0;
    representatives_.push_back(current);
    distinct_.push_back(distinct);
  };
  keep();
  for (Index layer = 0; layer < variants.layers(); ++layer) {
    const std::vector<Index> compared = undecided(current);
    std::vector<std::string> hashes(compared.size());
    parallel_for(std::ssize(compared), [&](Index i, std::size_t) {
      variants.with_layer(compared[at(i)], layer,
                          [&](const LayerParameters& parameters) { hashes[at(i)] = identity(parameters); });
    });
    std::map<std::pair<Index, std::string>, Index> first;  // of the beginning so far and this layer
    for (std::size_t i = 0; i < compared.size(); ++i) {
      const Index v = compared[i];
      current[at(v)] = first.try_emplace({current[at(v)], hashes[i]}, v).first->second;
    }
    keep();
  }
}

Index multiply_adds(const network::Node& node) {
  if (const auto* convolution = std::get_if<network::Convolution>(&node.op))
    return convolution->geometry.multiply_adds();
  if (const auto* dense = std::get_if<network::Dense>(&node.op)) return dense->inputs * dense->outputs;
  return 0;
}

Index multiply_adds(const Graph& graph) {
  return std::transform_reduce(graph.nodes.begin(), graph.nodes.end(), Index{0}, std::plus{},
                               [](const network::Node& node) { return multiply_adds(node); });
}

Index most_elements_at_cut(const Graph& graph) {
  return std::max<Index>(tensor::elements(graph.input_shape()) / 4, 1024);
}

std::vector<NodeId> choose_cuts(const Graph& graph, const SharedPrefixes& prefixes) {
  // Multiply-adds that take as long as storing one value in row-major order, or reading it from there.
  constexpr double per_value = 50.0;
  constexpr double worth = 0.97;  // of the cost without cuts
  struct Place {
    NodeId node;
    double work;      ///< multiply-adds up to here
    double elements;  ///< of the value
    double distinct;  ///< beginnings up to here
    double cost = std::numeric_limits<double>::infinity();
    std::size_t before = 0;  ///< the place cut before this one
  };
  std::vector<Place> places{{.node = 0, .work = 0.0, .elements = 0.0, .distinct = 1.0, .cost = 0.0}};
  const std::vector<NodeId> possible = network::cut_points(graph);
  double work = 0.0;
  Index layers = 0;
  for (NodeId id = 1; id < graph.output; ++id) {
    const Index here = multiply_adds(graph.nodes[at(id)]);
    work += static_cast<double>(here);
    layers += here > 0 ? 1 : 0;
    const Index elements = tensor::elements(graph.nodes[at(id)].shape);
    const bool shared = layers > 0 && prefixes.distinct(layers) < prefixes.variants();
    if (!shared || elements > most_elements_at_cut(graph) || !std::ranges::binary_search(possible, id)) continue;
    places.push_back({.node = id,
                      .work = work,
                      .elements = static_cast<double>(elements),
                      .distinct = static_cast<double>(prefixes.distinct(layers))});
  }
  places.push_back({.node = graph.output,
                    .work = static_cast<double>(multiply_adds(graph)),
                    .elements = 0.0,
                    .distinct = static_cast<double>(prefixes.distinct(std::ssize(graph.weight_layers())))});
  for (std::size_t j = 1; j < places.size(); ++j) {
    for (std::size_t i = 0; i < j; ++i) {
      const Place& from = places[i];
      Place& to = places[j];
      const double cost =
          from.cost + (to.work - from.work) * to.distinct + from.elements * per_value * (from.distinct + to.distinct);
      if (cost <= to.cost) std::tie(to.cost, to.before) = std::pair(cost, i);
    }
  }
  std::vector<NodeId> cuts;
  if (places.back().cost > worth * places.back().work * places.back().distinct) return cuts;
  for (std::size_t i = places.back().before; i > 0; i = places[i].before) cuts.push_back(places[i].node);
  std::ranges::reverse(cuts);
  return cuts;
}

std::vector<Segment> cut(const Graph& graph, const std::vector<NodeId>& cuts) {
  std::vector<Segment> segments{{.graph = graph}};
  NodeId start = 0;
  for (const NodeId node : cuts) {
    network::Halves halves = network::split(segments.back().graph, node - start);
    segments.back().graph = std::move(halves.head);
    segments.push_back({.graph = std::move(halves.tail)});
    start = node;
  }
  Index layer = 0;
  for (Segment& segment : segments) {
    segment.first_layer = layer;
    segment.layers = std::ssize(segment.graph.weight_layers());
    layer = segment.end();
  }
  return segments;
}

}  // namespace quantbound::observe::detail
