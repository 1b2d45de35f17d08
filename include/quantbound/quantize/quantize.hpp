/// Quantizing a layer: the grid of every row, and W' on it. W' is the double nearest to (q - z) * step; f_q means the
/// real-arithmetic function of these numbers. dW = W' - W is never taken for exact: users inflate it
/// (core/rounding.hpp). What works on one layer takes the configuration of that layer: at_layer (configuration.hpp).
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "quantbound/core/random.hpp"
#include "quantbound/network/network.hpp"
#include "quantbound/quantize/configuration.hpp"

namespace quantbound::quantize {

using network::LayerParameters;

/// The grid of one row: levels (q - zero_point) * step for lowest <= q <= highest. step 0 means the row is all zero.
struct RowGrid {
  double step = 0.0;
  double zero_point = 0.0;
  double lowest = 0.0, highest = 0.0;
};

/// The value of the grid that the rounding rule gives to `weight`. `uniform` in [0, 1) decides stochastic rounding
/// only.
double quantize_value(double weight, const RowGrid& grid, Quantizer quantizer, double uniform);

/// One grid per row (equal ones for Granularity::tensor). `weights` is rows x (weights.size() / rows).
std::vector<RowGrid> choose_grids(std::span<const double> weights, Index rows, const Configuration& configuration);

/// Smallest and largest weight of a row; zero is added to every range.
struct Range {
  double low = 0.0, high = 0.0;
};

/// The same grids for rows of which only the ranges are known.
/// @pre configuration.step_rule is not mse
std::vector<RowGrid> choose_grids(std::span<const Range> rows, const Configuration& configuration);

/// The grid of a bias vector (one for all rows), with bias_bits; its step comes from the largest bias unless the rule
/// is mse: a fixed step is the weights'. @pre configuration.bias_bits > 0
RowGrid choose_bias_grid(std::span<const double> bias, const Configuration& configuration);

/// The grids of one layer in one configuration. Choosing them reads all weights, with StepRule::mse eighty times: what
/// quantizes a layer more than once keeps them.
struct LayerGrids {
  std::vector<RowGrid> weights;  ///< one per row
  std::optional<RowGrid> bias;   ///< with bias_bits
};
/// The rows are the layer's outputs (bias.size()).
LayerGrids choose_grids(const LayerParameters& parameters, const Configuration& configuration);

/// Random number in [0, 1) of weight `index` of layer `layer`: the same for every bits and granularity of one seed.
double stochastic_uniform(const Configuration& configuration, Index layer, Index index);

/// The same numbers for many weights of one layer.
class StochasticUniforms {
 public:
  StochasticUniforms(const Configuration& configuration, Index layer);
  double operator()(Index index) const { return stream_.uniform(static_cast<std::uint64_t>(index)); }
  /// Those of the weights from `first` on.
  void fill(Index first, std::span<double> result) const {
    stream_.uniforms(static_cast<std::uint64_t>(first), result);
  }

 private:
  core::RandomStream stream_;
};

/// b' of layer number `layer`. @pre configuration.bias_bits > 0
std::vector<double> quantize_bias(std::span<const double> bias, Index layer, const Configuration& configuration);
/// W' and b' of layer number `layer`. Zero stays zero, and is never negative. Throws core::NumericalError where a level
/// is beyond the doubles. Without `grids` they are chosen.
LayerParameters quantize_layer(const LayerParameters& parameters, Index layer, const Configuration& configuration);
LayerParameters quantize_layer(const LayerParameters& parameters, Index layer, const Configuration& configuration,
                               const LayerGrids& grids);
/// W' alone, into memory of the caller: about as fast as a copy.
/// @pre as many results as weights, elsewhere; as many grids as rows
void quantize_weights(std::span<const double> weights, Index layer, const Configuration& configuration,
                      std::span<const RowGrid> grids, std::span<double> result);
/// All weight layers of a network, each at_layer its place.
std::vector<LayerParameters> quantize_layers(std::span<const LayerParameters> layers,
                                             const Configuration& configuration);

}  // namespace quantbound::quantize
