/// Second moments of the inputs of a weight layer over calibration samples: what any loss that is quadratic in the
/// layer's weights needs to know of them (docs/theory.md 7.2, 7.6). With x the inputs in f and x^ those behind the
/// already quantized layers, and r = (W x^ + b') - (W x + b),
///   mean ||W' x^ + b' - (W x + b)||^2 = sum over rows of  d G d^T + 2 d . e + c,   d = w' - w,
///   G = mean x^ x^T,  e = mean r x^T,  c = mean r^2.
/// In d rather than in w' nothing cancels. Convolutions take the mean over places too (x are the columns of im2col),
/// and have one G per group. Products and sums are in double; their bits depend on the batches, not on threads.
#pragma once

#include <span>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::reconstruct {

using network::Index;

struct Gram {
  Index groups = 1, rows = 0, columns = 0;  ///< rows: outputs of all groups; columns: weights of one of them
  Index count = 0;                          ///< places of all samples
  std::vector<double> moments;              ///< G: groups x columns x columns, symmetric
  std::vector<double> residual;             ///< e: rows x columns
  std::vector<double> energy;               ///< c: one per row

  Index group_rows() const { return rows / groups; }
  /// G of a group, columns x columns.
  std::span<const double> moments_of(Index group) const;
};

/// The loss of each row. Their sum is the mean square deviation of the layer's outputs.
/// @pre both are rows x columns
std::vector<double> row_losses(const Gram& gram, std::span<const double> weights, std::span<const double> quantized);

class GramAccumulator {
 public:
  /// Memory of the Gram of a layer: it grows with the square of the weights per output (5 GB for VGG's 25088).
  static Index bytes(const network::Operator& layer);

  /// A Convolution or Dense with its parameters in f; `quantized_bias` is b'.
  GramAccumulator(const network::Operator& layer, const network::LayerParameters& original,
                  std::span<const double> quantized_bias);

  /// The layer's inputs for some samples: samples x input elements. @pre as many of both
  void add(std::span<const float> inputs, std::span<const float> quantized_inputs);
  /// @pre something was added
  Gram finish() const;

 private:
  struct Block;
  void add_group(Index group, std::span<const float> inputs, std::span<const float> quantized_inputs);
  void add_moments(Index group, const Block& block);
  void add_residuals(Index group, const Block& block);

  tensor::Convolution geometry_;
  std::vector<double> weights_, bias_change_;
  bool bias_changes_ = false;
  Gram sums_;  ///< not yet divided by count, and only the lower half of the moments
};

}  // namespace quantbound::reconstruct
