/// What the steps of a compiled float program do and how long they take: the ground for saying what limits them.
#pragma once

#include <optional>
#include <string>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor {

enum class StepKind {
  convolution,
  dense,
  pooling,
  elementwise,  ///< functions, sums, products, scales that are not part of a convolution or dense layer
  move          ///< other layouts, concatenations, slices, pads, permutations
};

/// One step over the whole batch.
struct StepProfile {
  StepKind kind = StepKind::move;
  std::string implementation;           ///< as oneDNN calls it; empty for kernels of ours
  std::optional<Index> layer;           ///< whose weights it reads
  std::optional<Convolution> geometry;  ///< of a convolution
  Index multiply_adds = 0;
  Index activation_bytes = 0;   ///< read and written, as if nothing stayed in registers
  Index whole_batch_bytes = 0;  ///< those of them in values that exist for all samples at once: hardly in a cache
  Index weight_bytes = 0;       ///< read anew for every few samples
  double seconds = 0.0;
};

}  // namespace quantbound::tensor
