// Placeholder until the theories land from branch `bounds`; never released.
#include "quantbound/bounds/theory.hpp"
#include "quantbound/quantize/quantize.hpp"
namespace quantbound::bounds {
namespace { const Theory table[] = {{"gonon","-"},{"neyshabur","-"},{"berner","-"},{"houache_mean","-"},{"houache_conv","-"},{"houache_layerwise","-"},{"operator_norm","-"},{"absolute_product","-"},{"path_metric","-"}}; }
std::vector<std::string> theory_names() { std::vector<std::string> n; for (auto& t : table) n.emplace_back(t.name); return n; }
const Theory& theory(std::string_view name) { for (auto& t : table) if (t.name == name) return t; return table[0]; }
bool is_vector_theory(std::string_view name) { return name == "absolute_product" || name == "path_metric"; }
ScalarTheories::ScalarTheories(const network::Graph&, const network::Box&, std::span<const LayerReport>) {}
ConfigurationBounds ScalarTheories::evaluate(std::size_t) const { ConfigurationBounds b; for (auto& t : table) if (!is_vector_theory(t.name)) b.bounds.push_back({std::string(t.name), false, "pending", {}, {}}); return b; }
std::vector<TheoryBound> vector_bounds(const network::Graph&, const network::Box&, std::span<const network::LayerParameters>, std::span<const network::LayerParameters>) { return {{"absolute_product", false, "pending", {}, {}}, {"path_metric", false, "pending", {}, {}}}; }
ConfigurationBounds evaluate(const network::Network& n, const network::Box& b, const quantize::Configuration&) { ScalarTheories s(n.graph, b, {}); return s.evaluate(0); }
std::vector<double> layer_shares(const network::Graph& g, std::span<const LayerReport>, std::size_t) { return std::vector<double>(g.weight_layers().size(), 0.0); }
}
