/// How many samples each operator of a program takes at once. Few samples keep activations in cache from one operator
/// to the next; many spread the reading of the weights and the start of the operator. Where the number changes, whole
/// batches of everything alive pass through memory. The cheapest sequence is found by dynamic programming over a rough
/// count of bytes; what it does not know is the machine: times of the benchmark networks hardly depend on its
/// constants.
#pragma once

#include <span>
#include <vector>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor::detail {

/// What one operator moves, in bytes.
struct Traffic {
  Index activations = 0;  ///< read and written, per sample
  Index weights = 0;
  Index alive = 0;  ///< per sample, of values made before the operator and read by it or later
};

/// One divisor of the batch for every operator, so that pace_cost is least.
std::vector<Index> choose_pace(std::span<const Traffic> operators, Index batch);

/// Of one batch at this pace, in bytes that pass through memory.
double pace_cost(std::span<const Traffic> operators, std::span<const Index> pace, Index batch);

}  // namespace quantbound::tensor::detail
