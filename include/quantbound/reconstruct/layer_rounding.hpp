/// AdaRound of one layer on its second moments (docs/theory.md 7.2), for losses without an activation: the mean of
/// ||W~ x^ + b' - (W x + b)||^2 is quadratic in W~, and its full-batch gradient 2 (W~ - W) G + 2 e needs no samples (G
/// and e of gram.hpp). So an iteration costs one product of a layer's weights with G whatever the number of samples.
/// The loss of a row concerns no other row: every row whose rounding to nearest is better keeps that. What is behind
/// an activation or in a block is reconstructed on samples instead.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "quantbound/reconstruct/gram.hpp"
#include "quantbound/reconstruct/soft_rounding.hpp"

namespace quantbound::reconstruct {

struct RoundedLayer {
  std::vector<double> weights;  ///< on the grids
  double loss = 0.0;            ///< mean over samples and places, summed over the outputs
  double loss_nearest = 0.0;    ///< of rounding to nearest; never less than `loss`
  double settled = 1.0;         ///< fraction of the weights with a choice whose h was 0 or 1 before the last rounding
  Index rows_kept_nearest = 0;  ///< rows that learned rounding would have made worse
};

class LayerRounding {
 public:
  /// @pre weights.size() == gram.rows * gram.columns, one grid per row
  LayerRounding(std::span<const double> weights, Gram gram, std::span<const quantize::RowGrid> grids,
                const SoftRoundingOptions& options);
  ~LayerRounding();
  LayerRounding(LayerRounding&&) noexcept;
  LayerRounding& operator=(LayerRounding&&) noexcept;

  /// One step of Adam with the gradient over all samples.
  void iterate();
  /// Where the optimization is; its state is all that a checkpoint needs.
  const SoftRounding& rounding() const { return soft_; }
  void restore(std::span<const std::byte> state) { soft_.restore(state); }
  /// Of the soft weights, without the regularizer.
  double loss() const;
  /// Rounds what has been learned so far.
  RoundedLayer finish() const;

 private:
  struct Products;
  Gram gram_;
  std::vector<double> weights_;
  std::vector<quantize::RowGrid> grids_;
  SoftRounding soft_;
  std::unique_ptr<Products> products_;
};

/// All iterations and the last rounding.
RoundedLayer round_layer(std::span<const double> weights, Gram gram, std::span<const quantize::RowGrid> grids,
                         const SoftRoundingOptions& options);

}  // namespace quantbound::reconstruct
