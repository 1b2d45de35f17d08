#include <algorithm>
#include <array>

#include "quantbound/bounds/layer_norms.hpp"
#include "quantbound/bounds/theory.hpp"
#include "quantbound/core/assert.hpp"

namespace quantbound::bounds {

// Each is defined in theories/NAME.cpp.
TheoryResult berner(const NormInput&);
TheoryResult gonon(const NormInput&);
TheoryResult neyshabur(const NormInput&);
TheoryResult houache_mean(const NormInput&);
TheoryResult houache_conv(const NormInput&);
TheoryResult houache_layerwise(const NormInput&);
TheoryResult operator_norm(const NormInput&);
TheoryResult absolute_product(const WeightInput&);
TheoryResult path_metric(const WeightInput&);

namespace {

/// The list: a new theory is one file in theories/, its declaration above and a row here (docs/adding.md).
constexpr std::array all_theories{
    Theory{"berner", "after Berner et al. 2020, Thm 2.6; proof: docs/theory.md 3",
           "Berner, Grohs, Jentzen 2020, Thm 2.6 (as recalled in docs/theory.md 3)", &berner, 0},
    Theory{"gonon", "after arXiv 2205.11874, Thm III.1; proof: docs/theory.md 2.1",
           "arXiv 2205.11874, Thm III.1 (with the constant of docs/theory.md 2.1)", &gonon, 0},
    Theory{"neyshabur", "after arXiv 1707.09564, Lemma 2; proof: docs/theory.md 3", "arXiv 1707.09564, Lemma 2",
           &neyshabur, 0},
    Theory{"houache_mean", "arXiv 2502.01156, Thm 4.1; proof: docs/theory.md 1.3", "arXiv 2502.01156, Thm 4.1",
           &houache_mean, 0},
    Theory{"houache_conv", "arXiv 2502.01156, Thm 4.4; proof: docs/theory.md 1.4", "arXiv 2502.01156, Thm 4.4",
           &houache_conv, 0},
    Theory{"houache_layerwise", "arXiv 2502.01156, Thm 4.1 per layer; proof: docs/theory.md 1.3",
           "arXiv 2502.01156, Thm 4.1 before the maximum over layers", &houache_layerwise, 0},
    Theory{"operator_norm", "telescoping; proof: docs/theory.md 9.1, B4", "", &operator_norm, 0},
    Theory{"absolute_product", "absolute weights; proof: docs/theory.md 9.1, B5", "", &absolute_product, 3},
    Theory{"path_metric", "after arXiv 2405.15006; proof: docs/theory.md 2.2", "", &path_metric, 5},
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
