/// Which calibration samples an iteration sees, and what of them. Every epoch goes through the samples in an order of
/// its own, without replacement; an order is a pure function of (seed, module, epoch), so that an interrupted run goes
/// on with the same batches. QDrop (arXiv 2203.05740, section 4.2): every element of a module's input is that of the
/// quantized prefix with a given probability, else that of f; decided anew in every iteration.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::reconstruct::detail {

using tensor::Index;

class Batches {
 public:
  /// `module` tells modules apart. Samples that do not fill the last batch of an epoch are left out of it.
  /// @pre 1 <= batch <= samples
  Batches(std::uint64_t seed, Index module, Index samples, Index batch);
  /// The samples of this iteration, valid until the next call.
  std::span<const Index> of(Index iteration);

 private:
  std::uint64_t seed_;
  Index module_, batch_;
  Index epoch_ = -1;
  std::vector<Index> order_;
};

/// result = the chosen rows of a matrix whose rows are samples.
/// @pre result.size() == rows.size() * width
void gather(std::span<const float> matrix, std::span<const Index> rows, std::span<float> result);

/// The same from two matrices: each element that of `quantized` with this probability (rounded to a multiple of 2^-16),
/// else that of `original`. The decisions are functions of (seed, module, iteration) and the element's place.
struct Mixing {
  std::uint64_t seed = 1;
  Index module = 0;
  double probability = 0.5;
};
void gather_mixed(std::span<const float> original, std::span<const float> quantized, std::span<const Index> rows,
                  const Mixing& mixing, Index iteration, std::span<float> result);

}  // namespace quantbound::reconstruct::detail
