#include "quantbound/observe/deviation.hpp"

namespace quantbound::observe {

bool measures_in_float(const Graph& graph, Precision precision) {
  constexpr Index small = 1'000'000;
  if (precision != Precision::automatic) return precision == Precision::float32;
  Index multiply_adds = 0;
  for (const network::Node& node : graph.nodes) {
    if (const auto* c = std::get_if<network::Convolution>(&node.op)) multiply_adds += c->geometry.multiply_adds();
    if (const auto* d = std::get_if<network::Dense>(&node.op)) multiply_adds += d->inputs * d->outputs;
  }
  return multiply_adds > small;
}

}  // namespace quantbound::observe
