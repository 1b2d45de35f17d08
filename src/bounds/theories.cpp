#include "theories/theories.hpp"

#include <algorithm>
#include <array>

#include "quantbound/bounds/layer_norms.hpp"
#include "quantbound/bounds/theory.hpp"
#include "quantbound/core/assert.hpp"

namespace quantbound::bounds {

namespace {

/// The list: a new theory is one line here and one file in theories/.
constexpr std::array all_theories{
    Theory{"berner", "THEORY.md 3 and 1.3, after Berner et al. 2020, Theorem 2.6",
           "Berner, Grohs, Jentzen 2020, Theorem 2.6 (as recalled in THEORY.md 3)", &berner, 0},
    Theory{"gonon", "THEORY.md 2.1, after arXiv 2205.11874, Theorem III.1",
           "arXiv 2205.11874, Theorem III.1 (as THEORY.md 2.1 proves it)", &gonon, 0},
    Theory{"neyshabur", "THEORY.md 3, after arXiv 1707.09564, Lemma 2", "arXiv 1707.09564, Lemma 2", &neyshabur, 0},
    Theory{"houache_mean", "THEORY.md 1.3, Claim A", "arXiv 2502.01156, Theorem 4.1", &houache_mean, 0},
    Theory{"houache_conv", "THEORY.md 1.4", "arXiv 2502.01156, Theorem 4.4", &houache_conv, 0},
    Theory{"houache_layerwise", "THEORY.md 9.1, B3", "arXiv 2502.01156, Theorem 4.1 before the maximum over layers",
           &houache_layerwise, 0},
    Theory{"operator_norm", "THEORY.md 9.1, B4", "", &operator_norm, 0},
    Theory{"absolute_product", "THEORY.md 9.1, B5", "", &absolute_product, 3},
    Theory{"path_metric", "THEORY.md 2.2 and 9.1, B6, after arXiv 2405.15006", "", &path_metric, 5},
};

}  // namespace

std::span<const Theory> theories() { return all_theories; }

const Theory* find_theory(std::string_view name) {
  const auto found =
      std::find_if(all_theories.begin(), all_theories.end(), [&](const Theory& theory) { return theory.name == name; });
  return found == all_theories.end() ? nullptr : &*found;
}

TheoryResult evaluate(const Theory& theory, const NormInput& input) {
  QUANTBOUND_ASSERT(!theory.reads_weights(), theory.name);
  QUANTBOUND_ASSERT(input.layers.size() == input.quantized.size(), input.layers.size(), input.quantized.size());
  if (input.layers.empty()) return {core::Upper(), {}, std::nullopt, {}};  // nothing is quantized
  return std::get<NormTheory>(theory.evaluate)(input);
}

TheoryResult evaluate(const Theory& theory, const WeightInput& input) {
  QUANTBOUND_ASSERT(theory.reads_weights(), theory.name);
  QUANTBOUND_ASSERT(input.original.size() == input.quantized.size(), input.original.size(), input.quantized.size());
  return std::get<WeightTheory>(theory.evaluate)(input);
}

double multiply_adds(const Theory& theory, const network::Graph& graph) {
  double once = 0.0;
  for (const LayerShape& shape : layer_shapes(graph)) {
    once += static_cast<double>(shape.rows * shape.columns) * static_cast<double>(shape.positions);
  }
  return once * theory.passes;
}

}  // namespace quantbound::bounds
