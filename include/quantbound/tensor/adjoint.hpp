/// Adjoints of the linear operators of this room, in double: A^T g for a batch of output gradients g, batch x output
/// elements -> batch x input elements. They carry derivatives and the coefficients of linear relaxations backwards,
/// where "batch" means rows of coefficients. Every sum runs over the places of the output in row-major order and takes
/// at each one the products with the output channels of the tap, one fused multiply-add after the other: the bits
/// depend neither on the batch nor on threads nor on the instruction set, and equal those of the reference versions. A
/// biased operator's constant part is no business of its adjoint.
#pragma once

#include <span>
#include <vector>

#include "quantbound/tensor/pooling.hpp"
#include "quantbound/tensor/rearrange.hpp"
#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor {

/// batch x {channels_in, height, width}. Needs scratch of about half a megabyte per thread besides the result.
/// @pre weights.size() == geometry.weight_count(), gradient.size() == batch * channels_out * out_height * out_width
std::vector<double> convolve_adjoint(const Convolution& geometry, std::span<const double> weights,
                                     std::span<const double> gradient, Index batch);

/// gradient * W: batch x inputs. `weights` is {outputs, inputs}, `gradient` batch x outputs.
std::vector<double> dense_adjoint(Index outputs, std::span<const double> weights, std::span<const double> gradient,
                                  Index batch);

std::vector<double> sum_pool_adjoint(const Window& window, const Image& image, std::span<const double> gradient,
                                     Index batch);
/// @pre with Divisor::inside, every position of the window covers some of the image
std::vector<double> average_pool_adjoint(const Window& window, const Image& image, Divisor divisor,
                                         std::span<const double> gradient, Index batch);
/// `gradient` is batch x channels.
std::vector<double> global_average_pool_adjoint(const Image& image, std::span<const double> gradient, Index batch);

/// The derivative of max_pool at `input` (batch x image): every gradient goes to the first largest element of its
/// window. @pre every position of the window covers some of the image
std::vector<double> max_pool_adjoint(const Window& window, const Image& image, std::span<const double> input,
                                     std::span<const double> gradient, Index batch);

/// What the rearrangement copied from `in` to `out` is added back: out_gradient is read, in_gradient added to.
void rearrange_adjoint(const Rearrangement& rearrangement, const double* out_gradient, double* in_gradient);

/// Derivatives with respect to weights, summed over the batch: plain loops, which the float engine is held against. Of
/// a bias it is the sum of the output gradients of its channel.
std::vector<double> convolve_weight_adjoint_reference(const Convolution& geometry, std::span<const double> input,
                                                      std::span<const double> gradient, Index batch);
std::vector<double> dense_weight_adjoint_reference(Index outputs, std::span<const double> input,
                                                   std::span<const double> gradient, Index batch);

std::vector<double> convolve_adjoint_reference(const Convolution& geometry, std::span<const double> weights,
                                               std::span<const double> gradient, Index batch);
std::vector<double> dense_adjoint_reference(Index outputs, std::span<const double> weights,
                                            std::span<const double> gradient, Index batch);
std::vector<double> sum_pool_adjoint_reference(const Window& window, const Image& image,
                                               std::span<const double> gradient, Index batch);
std::vector<double> max_pool_adjoint_reference(const Window& window, const Image& image, std::span<const double> input,
                                               std::span<const double> gradient, Index batch);

}  // namespace quantbound::tensor
