/// Packs buffers with known lifetimes into one allocation: two buffers may overlap when their lifetimes do not.
#pragma once

#include <vector>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor::detail {

/// Used from step `first` to step `last`, both included.
struct Lifetime {
  Index size = 0;
  Index first = 0, last = 0;
};

struct ArenaPlan {
  std::vector<Index> offsets;
  Index size = 0;
};

/// Greedy by size, lowest free offset first. Offsets are multiples of `alignment`.
ArenaPlan plan_arena(const std::vector<Lifetime>& buffers, Index alignment);

}  // namespace quantbound::tensor::detail
