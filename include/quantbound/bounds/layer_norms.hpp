/// What the norm-product theories need to know of one weight layer: norms of W, and for every configuration norms of W'
/// and of dW = W' - W. One pass over the weights serves all configurations. Every number that bounds is a proved upper
/// bound of the exact quantity (docs/theory.md 9.5: sums and dW are inflated by their rounding errors).
///
/// Norms are those of the linear map that the layer is: for a convolution with zero padding ||.||_inf is the largest
/// absolute sum of a filter (docs/theory.md 1.4). 2-norms use that a grouped convolution is block diagonal and that a
/// position lies in at most `overlap` windows.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "quantbound/bounds/envelope.hpp"
#include "quantbound/network/network.hpp"
#include "quantbound/quantize/configuration.hpp"

namespace quantbound::bounds {

using network::Index;

/// A weight layer as a matrix with structure: `rows` rows of `columns` weights, `groups` equal blocks of rows.
struct LayerShape {
  Index rows = 1;
  Index columns = 1;  ///< weights of a row: p^2 c / g, or the inputs of a dense layer
  Index groups = 1;
  Index kernel = 1;         ///< weights of a row that belong to one input channel: p^2, 1 for a dense layer
  Index overlap = 1;        ///< most windows that one input element lies in
  Index positions = 1;      ///< output elements of a row
  Index inputs = 1;         ///< elements of the layer's input
  Index columns_dense = 1;  ///< p^2 c: the paper's count, which ignores groups
};

/// @pre op is a Convolution or a Dense
LayerShape layer_shape(const network::Operator& op);
/// Of all weight layers of a graph, in order.
std::vector<LayerShape> layer_shapes(const network::Graph& graph);

/// Norms of the original layer: no configuration enters.
struct LayerNorms {
  double weight_norm = 0.0;    ///< ||W||_inf
  double bias_norm = 0.0;      ///< max |b|, exact
  double augmented = 0.0;      ///< max_i (sum_j |W_ij| + |b_i|) = ||[W, b]||_inf
  double two_norm = 0.0;       ///< >= ||W||_2
  double bias_two_norm = 0.0;  ///< ||b||_2 over all positions
  double weight_max = 0.0;     ///< max |w|, exact
  double fan_in = 0.0;         ///< LayerShape::columns
  double fan_in_dense = 0.0;   ///< LayerShape::columns_dense
  double inputs = 0.0;         ///< LayerShape::inputs
  double parameters = 0.0;     ///< weights and biases
  bool operator==(const LayerNorms&) const = default;
};

/// Norms of the layer in one configuration.
struct QuantizedLayerNorms {
  double step_max = 0.0;        ///< largest step of the weights, exact
  double delta_max = 0.0;       ///< max |dW|
  double delta_bias_max = 0.0;  ///< max |db|
  double delta_norm = 0.0;      ///< ||dW||_inf
  double weight_norm = 0.0;     ///< ||W'||_inf
  double augmented = 0.0;       ///< ||[W', b']||_inf
  double bias_norm = 0.0;       ///< max |b'|, exact
  double weight_max = 0.0;      ///< max |w'|, exact
  double two_norm = 0.0;        ///< >= ||W'||_2, own bound or that of W plus that of dW
  double delta_two_norm = 0.0;  ///< >= ||dW||_2
  double bias_two_norm = 0.0;   ///< ||b'||_2 over all positions
  double delta_bias_two_norm = 0.0;
  double sign_compatible = 1.0;  ///< 1: W W' >= 0 and b b' >= 0 entrywise; else 0
  Envelope head;                 ///< of (sum_j |W'_ij|, |b'_i|)
  Envelope delta;                ///< of (sum_j |dW_ij|, |db_i|)
  bool operator==(const QuantizedLayerNorms&) const = default;
};

/// Everything the theories read about one layer; what ranks exchange.
struct LayerReport {
  LayerNorms norms;
  std::vector<QuantizedLayerNorms> quantized;  ///< one per configuration
  bool operator==(const LayerReport&) const = default;
};

/// Norms of layer number `layer` for every configuration, in one pass. Its bits do not depend on threads nor on the
/// instruction set. Throws core::NumericalError where a norm is beyond the doubles.
LayerReport measure_layer(const network::LayerParameters& parameters, const LayerShape& shape, Index layer,
                          std::span<const quantize::Configuration> configurations);

/// The plain version, configuration by configuration through quantize_layer. Upper bounds of the same quantities; equal
/// to measure_layer's up to rounding.
LayerReport measure_layer_reference(const network::LayerParameters& parameters, const LayerShape& shape, Index layer,
                                    std::span<const quantize::Configuration> configurations);

LayerNorms measure_original(const network::LayerParameters& parameters, const LayerShape& shape, Index layer);
/// Norms for any W' and b', wherever they come from. step_max is left at 0.
QuantizedLayerNorms measure_pair(const network::LayerParameters& original, const LayerNorms& original_norms,
                                 const network::LayerParameters& quantized, const LayerShape& shape, Index layer);

/// W' and b' that were not made by rounding W on the fly: reconstructed, or read from a file.
struct GivenLayer {
  const network::LayerParameters& parameters;
  double step_max = 0.0;  ///< the largest step of their grids
};
/// What measure_layer reports, for given layers instead of configurations: a pass over W and W' for each.
/// @pre steps are finite and not negative
LayerReport measure_given(const network::LayerParameters& original, const LayerShape& shape, Index layer,
                          std::span<const GivenLayer> quantized);

/// What the theories of norms read (NormInput), for one configuration.
struct NetworkNorms {
  std::vector<LayerNorms> layers;
  std::vector<QuantizedLayerNorms> quantized;
};
/// All layers of one pair. `original` may be f itself or f after quantize::equalized, which is the same function with
/// other weights: its norms belong to this configuration alone.
/// @pre as many of each as the graph has weight layers
NetworkNorms measure_network(const network::Graph& graph, std::span<const network::LayerParameters> original,
                             std::span<const GivenLayer> quantized);

/// Native doubles: the ten of LayerNorms, then per configuration the thirteen of QuantizedLayerNorms and both envelopes
/// as a count and (slope, offset) pairs.
std::vector<std::byte> to_bytes(const LayerReport& report);
/// @pre bytes come from to_bytes
LayerReport from_bytes(std::span<const std::byte> bytes);

}  // namespace quantbound::bounds
