/// The theories: closed-form upper bounds of sup |f - f_q| in the inf-norm over a domain. Each is a name, its sources,
/// and a pure function. Two things are kept apart: the bound, proved for the graph at hand
/// (docs/theory.md 1.3, 1.4, 9.1), and the published formula taken literally over the sequence of weight layers, as the
/// papers' tables do, which proves nothing where its assumptions fail.
///
/// A theory is one file in src/bounds/theories/ and its registration in theories.cpp; docs/adding.md says how.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "quantbound/bounds/domain.hpp"
#include "quantbound/bounds/layer_norms.hpp"
#include "quantbound/bounds/scaled_vector.hpp"
#include "quantbound/core/upper.hpp"

namespace quantbound::bounds {

/// What the theories of norms read: one configuration, all layers.
struct NormInput {
  const network::Graph& graph;
  const Domain& domain;
  std::span<const LayerNorms> layers;
  std::span<const QuantizedLayerNorms> quantized;
};

/// What the theories of vectors read: the weights themselves.
struct WeightInput {
  const network::Graph& graph;
  const Domain& domain;
  std::span<const network::LayerParameters> original;
  std::span<const network::LayerParameters> quantized;
};

struct TheoryResult {
  std::optional<core::Upper> bound;       ///< absent where the assumptions fail
  std::string reason;                     ///< why it is absent
  std::optional<core::Estimate> formula;  ///< the published formula, where there is one
  ScaledVector outputs;                   ///< per output, theories of vectors only

  bool applicable() const { return bound.has_value(); }
};

using NormTheory = TheoryResult (*)(const NormInput& input);
using WeightTheory = TheoryResult (*)(const WeightInput& input);

struct Theory {
  std::string_view name;
  std::string_view equation;          ///< source and number of the bound
  std::string_view formula_equation;  ///< source and number of the published formula; empty where there is none
  std::variant<NormTheory, WeightTheory> evaluate;
  int passes = 0;  ///< passes over all weights and positions that one evaluation takes

  bool reads_weights() const { return std::holds_alternative<WeightTheory>(evaluate); }
};

/// All theories, from loose to tight.
std::span<const Theory> theories();
/// nullptr when there is none of that name.
const Theory* find_theory(std::string_view name);

/// @pre !theory.reads_weights()
TheoryResult evaluate(const Theory& theory, const NormInput& input);
/// @pre theory.reads_weights()
TheoryResult evaluate(const Theory& theory, const WeightInput& input);

/// Multiply-adds of one evaluation, for cost models; 0 for a theory of norms.
double multiply_adds(const Theory& theory, const network::Graph& graph);

}  // namespace quantbound::bounds
