/// Left times a square matrix in float, over and over: the matrix is packed once into panels of 32 columns. Every
/// element of the result is one fused multiply-add per inner index, in order, so that its bits depend neither on
/// threads nor on the instruction set.
#pragma once

#include <span>
#include <vector>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::reconstruct::detail {

using tensor::Index;

class PackedMatrix {
 public:
  /// `matrix` is size x size, and is rounded to float.
  PackedMatrix(std::span<const double> matrix, Index size);

  /// result = left * matrix. @pre both are rows x size, elsewhere
  void multiply(std::span<const float> left, std::span<float> result) const;
  /// The same by three plain loops.
  void multiply_reference(std::span<const float> left, std::span<float> result) const;

 private:
  Index size_;
  std::vector<float> panels_;  ///< zeros behind the last column
};

/// Instruction sets of the product that this processor has, the fastest first.
Index product_instruction_sets();
/// result = left * panel for 32 columns; `set` numbers the instruction sets.
void multiply_panel(Index set, const float* left, Index rows, Index size, const float* panel, float* result);

}  // namespace quantbound::reconstruct::detail
