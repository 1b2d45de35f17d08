/// Convolution of a batch of images in double: im2col and a matrix product per group, or a direct sum over the taps for
/// depthwise layers. Every sum starts at the bias and takes one fused multiply-add per tap, in the order of the
/// weights: the bits depend neither on the batch nor on threads nor on the instruction set, and equal those of
/// convolve_reference, the definition loop by loop. Float convolutions are in float_program.hpp. Data: batch x
/// {channels, height, width}, row-major.
#pragma once

#include <span>
#include <vector>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor {

/// batch x {channels_out, out_height, out_width}. An empty bias means zeros.
/// @pre weights.size() == geometry.weight_count(), bias.size() is 0 or channels_out
/// @pre input.size() == batch * channels_in * height * width
std::vector<double> convolve(const Convolution& geometry, std::span<const double> weights, std::span<const double> bias,
                             std::span<const double> input, Index batch);

/// The same into memory of the caller. @pre output.size() is that of the result
void convolve(const Convolution& geometry, std::span<const double> weights, std::span<const double> bias,
              std::span<const double> input, Index batch, std::span<double> output);

/// One of several convolutions without bias: its results are those of convolve.
struct ConvolutionTask {
  Convolution geometry;
  std::span<const double> weights, input;
  Index batch;
  std::span<double> output;
};

/// All of them, the costly ones first at best: threads meet once, at the end, and take blocks of rows as they come.
/// @pre the outputs do not overlap
void convolve(std::span<const ConvolutionTask> tasks);

/// The same by seven plain loops.
std::vector<double> convolve_reference(const Convolution& geometry, std::span<const double> weights,
                                       std::span<const double> bias, std::span<const double> input, Index batch);

}  // namespace quantbound::tensor
