#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>
#include "quantbound/bounds/layer_norms.hpp"
#include "quantbound/core/upper.hpp"
#include "quantbound/network/network.hpp"
namespace quantbound::bounds {
struct TheoryBound { std::string theory; bool applicable=false; std::string reason; core::Upper bound; std::optional<core::Estimate> formula; };
struct ConfigurationBounds { double r_max=0, r_mean=0, r_conv=0; std::vector<TheoryBound> bounds; };
struct Theory { std::string_view name, equation; };
std::vector<std::string> theory_names();
const Theory& theory(std::string_view name);
bool is_vector_theory(std::string_view name);
class ScalarTheories { public: ScalarTheories(const network::Graph&, const network::Box&, std::span<const LayerReport>); ConfigurationBounds evaluate(std::size_t) const; };
std::vector<TheoryBound> vector_bounds(const network::Graph&, const network::Box&, std::span<const network::LayerParameters>, std::span<const network::LayerParameters>);
ConfigurationBounds evaluate(const network::Network&, const network::Box&, const quantize::Configuration&);
std::vector<double> layer_shares(const network::Graph&, std::span<const LayerReport>, std::size_t);
}
