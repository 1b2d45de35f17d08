/// Elementwise bounds by passes with absolute weights, B5 and B6 of docs/theory.md 9.1: along the graph a vector z
/// bounds sizes and vectors e bound errors,
///   z_l = C_l z_{l-1} + c_l,    e_l = A_l e_{l-1} + B_l z_{l-1} + d_l      with nonnegative A, B, C, c, d.
/// Every sum is inflated by its rounding error (docs/theory.md 9.5.2), so what comes out is proved. Vectors carry a
/// power of two (scaled_vector.hpp); a zero error stays exactly zero while B and d are zero.
#pragma once

#include <functional>
#include <vector>

#include "quantbound/bounds/domain.hpp"
#include "quantbound/bounds/scaled_vector.hpp"

namespace quantbound::bounds::detail {

/// Nonnegative matrices and vectors of one weight layer.
struct LayerMagnitudes {
  network::LayerParameters size;  ///< C and c
  /// How one kind of error passes the layer; there may be several, which share the sizes.
  struct Error {
    std::vector<double> tail;        ///< A
    network::LayerParameters delta;  ///< B and d
  };
  std::vector<Error> errors;
};

/// How a maximum over a window is bounded.
enum class Pooling {
  largest,  ///< |max a - max b| <= max |a - b|
  sum,      ///< every window selects one path: sums over paths add up (docs/theory.md 2.2)
};

/// The errors at the output. `magnitudes` is asked once per layer, in order.
/// @pre first_violation(graph, domain, Assumption::no_product) is empty
std::vector<ScaledVector> absolute_passes(const network::Graph& graph, const Domain& domain, Pooling pooling,
                                          const std::function<LayerMagnitudes(std::size_t layer)>& magnitudes);

}  // namespace quantbound::bounds::detail
