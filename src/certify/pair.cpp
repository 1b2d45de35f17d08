#include "quantbound/certify/pair.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/quantize/quantize.hpp"

#include "pair_padding.hpp"

namespace quantbound::certify {

namespace {

std::vector<double> subtract(const std::vector<double>& a, const std::vector<double>& b) {
  QUANTBOUND_ASSERT(a.size() == b.size(), a.size(), b.size());
  std::vector<double> difference(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  return difference;
}

bool all_zero(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return value == 0.0; });
}

std::vector<LayerParameters> changes_between(const std::vector<LayerParameters>& f,
                                             const std::vector<LayerParameters>& fq) {
  std::vector<LayerParameters> change;
  change.reserve(f.size());
  for (std::size_t l = 0; l < f.size(); ++l) {
    change.push_back({subtract(fq[l].weights, f[l].weights), subtract(fq[l].bias, f[l].bias)});
  }
  return change;
}

/// Equal in kind and in every constant, but for weights.
struct SameOperator {
  bool operator()(const network::Input&, const network::Input&) const { return true; }
  bool operator()(const network::Convolution& a, const network::Convolution& b) const {
    return a.layer == b.layer && a.geometry == b.geometry;
  }
  bool operator()(const network::Dense& a, const network::Dense& b) const {
    return a.layer == b.layer && a.inputs == b.inputs && a.outputs == b.outputs;
  }
  bool operator()(const network::Activation& a, const network::Activation& b) const {
    return a.kind == b.kind && a.alpha == b.alpha && a.beta == b.beta;
  }
  bool operator()(const network::Add&, const network::Add&) const { return true; }
  bool operator()(const network::Product&, const network::Product&) const { return true; }
  bool operator()(const network::Concat& a, const network::Concat& b) const { return a.axis == b.axis; }
  bool operator()(const network::MaxPool& a, const network::MaxPool& b) const { return a.window == b.window; }
  bool operator()(const network::AveragePool& a, const network::AveragePool& b) const {
    return a.window == b.window && a.divisor_includes_pads == b.divisor_includes_pads;
  }
  bool operator()(const network::GlobalAveragePool&, const network::GlobalAveragePool&) const { return true; }
  bool operator()(const network::Pad& a, const network::Pad& b) const {
    return a.before == b.before && a.after == b.after && a.value == b.value;
  }
  bool operator()(const network::Slice& a, const network::Slice& b) const {
    return a.start == b.start && a.step == b.step && a.count == b.count;
  }
  bool operator()(const network::Permute& a, const network::Permute& b) const { return a.axes == b.axes; }
  bool operator()(const network::Reshape&, const network::Reshape&) const { return true; }
  bool operator()(const network::ScaleShift& a, const network::ScaleShift& b) const {
    return a.scale == b.scale && a.shift == b.shift;
  }
  template <class A, class B>
  bool operator()(const A&, const B&) const {
    return false;
  }
};

/// What does not fit, in words; empty where the graphs are equal but for names.
std::string first_mismatch(const Graph& f, const Graph& fq) {
  for (std::size_t v = 0; v < std::min(f.nodes.size(), fq.nodes.size()); ++v) {
    const network::Node &a = f.nodes[v], &b = fq.nodes[v];
    if (!std::visit(SameOperator{}, a.op, b.op) || a.shape != b.shape || a.inputs != b.inputs) {
      const auto describe = [](const network::Node& node) {
        return fmt::format("'{}' ({}, {})", node.name, network::operator_name(node.op), tensor::to_string(node.shape));
      };
      return fmt::format("node {} is {} in one network and {} in the other", v, describe(a), describe(b));
    }
  }
  if (f.nodes.size() != fq.nodes.size()) {
    return fmt::format("one network has {} nodes, the other {}", f.nodes.size(), fq.nodes.size());
  }
  return f.output == fq.output ? "" : "the outputs are different nodes";
}

}  // namespace

bool Pair::changes(Index layer) const {
  const auto& of_layer = change[static_cast<std::size_t>(layer)];
  return !all_zero(of_layer.weights) || !all_zero(of_layer.bias);
}

bool Pair::rounds_activations() const {
  return std::any_of(activation_grids.begin(), activation_grids.end(),
                     [](const auto& grid) { return grid.has_value(); });
}

Pair make_pair(const std::string& name, const Graph& graph, std::vector<LayerParameters> original,
               std::vector<LayerParameters> quantized) {
  QUANTBOUND_ASSERT(original.size() == quantized.size(), original.size(), quantized.size());
  Pair pair{name, graph, std::move(original), std::move(quantized), {}, {}};
  pair.change = changes_between(pair.f, pair.fq);
  return pair;
}

Pair make_pair(const network::Network& f, const quantize::Configuration& configuration) {
  return make_pair(f.name, f.graph, f.layers, quantize::quantize_layers(f.layers, configuration));
}

Pair make_pair(const network::Network& f, const network::Network& fq) {
  const std::string name = fmt::format("{} and {}", f.name, fq.name);
  const std::string mismatch = first_mismatch(f.graph, fq.graph);
  if (mismatch.empty()) return {name, f.graph, f.layers, fq.layers, changes_between(f.layers, fq.layers), {}};
  auto chain = detail::relu_chain(f), chain_q = detail::relu_chain(fq);
  if (!chain || !chain_q) {
    throw core::InputError(mismatch + "; only ReLU chains of dense layers may differ in structure", name);
  }
  detail::pad_to_one_shape(*chain, *chain_q, name);
  Graph graph = detail::chain_graph(f.graph.input_shape(), *chain);
  std::vector<LayerParameters> change = changes_between(chain->layers, chain_q->layers);
  return {name, std::move(graph), std::move(chain->layers), std::move(chain_q->layers), std::move(change), {}};
}

}  // namespace quantbound::certify
