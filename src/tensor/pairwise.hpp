/// Elementwise sums and products of two values whose layouts have padding, one sample at a time; the padding stays
/// zero. oneDNN 2.6 is not used for these: there, a binary primitive with a post-op or a broadcast operand zeroes its
/// destination first, which in place is its source, and reads past the end where a block is smaller than a vector.
#pragma once

#include <vector>

#include "layout.hpp"

namespace quantbound::tensor::detail {

enum class PairOperation { sum, product };

class Pairwise {
 public:
  /// `b` has the layout of `a`, or is {c, 1, 1}.
  Pairwise(PairOperation operation, const Descriptor& a, const Descriptor& b);
  /// `out` has the layout of `a` and may be `a`.
  void operator()(const float* a, const float* b, float* out) const;

 private:
  PairOperation operation_;
  Index size_;
  std::vector<Index> a_channels_, b_channels_, pixels_;  ///< offsets, for the broadcast product
};

}  // namespace quantbound::tensor::detail
