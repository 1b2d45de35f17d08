#include "pairwise.hpp"

#include <algorithm>

#include "quantbound/core/assert.hpp"

namespace quantbound::tensor::detail {

Pairwise::Pairwise(PairOperation operation, const Descriptor& a, const Descriptor& b)
    : operation_(operation), size_(sample_size(a)) {
  if (a == b) return;
  QUANTBOUND_ASSERT(operation == PairOperation::product && a.data.ndims == 4 && b.data.ndims == 4, a.data.ndims,
                    b.data.ndims);
  a_channels_ = axis_offsets(a, 0);
  b_channels_ = axis_offsets(b, 0);
  QUANTBOUND_ASSERT(a_channels_.size() == b_channels_.size(), a_channels_.size(), b_channels_.size());
  const std::vector<Index> rows = axis_offsets(a, 1), columns = axis_offsets(a, 2);
  for (const Index row : rows)
    for (const Index column : columns) pixels_.push_back(row + column);
}

void Pairwise::operator()(const float* a, const float* b, float* out) const {
  if (!a_channels_.empty()) {
    if (out != a) std::copy_n(a, size_, out);
    for (std::size_t c = 0; c < a_channels_.size(); ++c)
      for (const Index pixel : pixels_) out[a_channels_[c] + pixel] *= b[b_channels_[c]];
  } else if (operation_ == PairOperation::sum) {
    for (Index i = 0; i < size_; ++i) out[i] = a[i] + b[i];
  } else {
    for (Index i = 0; i < size_; ++i) out[i] = a[i] * b[i];
  }
}

}  // namespace quantbound::tensor::detail
