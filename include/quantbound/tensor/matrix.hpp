/// Fully connected layers in double: X W^T + b for a batch of rows X. Every sum starts at the bias and takes one fused
/// multiply-add per input, in order: the bits depend neither on the batch nor on threads nor on the instruction set,
/// and equal those of dense_reference, the definition loop by loop.
#pragma once

#include <span>
#include <vector>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor {

/// batch x outputs. `weights` is {outputs, inputs}, `input` batch x inputs; an empty bias means zeros.
/// @pre weights.size() == outputs * inputs, bias.size() is 0 or outputs, input.size() == batch * inputs
std::vector<double> dense(Index outputs, std::span<const double> weights, std::span<const double> bias,
                          std::span<const double> input, Index batch);

/// The same into memory of the caller. @pre output.size() == batch * outputs
void dense(Index outputs, std::span<const double> weights, std::span<const double> bias, std::span<const double> input,
           Index batch, std::span<double> output);

std::vector<double> dense_reference(Index outputs, std::span<const double> weights, std::span<const double> bias,
                                    std::span<const double> input, Index batch);

}  // namespace quantbound::tensor
