/// What forward and gradient programs say to oneDNN in the same words: attributes, elementwise functions, windows, and
/// the descriptors of forward primitives.
#pragma once

#include <optional>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

#include "quantbound/tensor/float_program.hpp"

#include "layout.hpp"

namespace quantbound::tensor::detail {

using Dims = dnnl::memory::dims;

struct Eltwise {
  dnnl::algorithm kind;
  float alpha = 0.0F, beta = 0.0F;
};
/// A point function as oneDNN's elementwise primitives, one after the other.
std::vector<Eltwise> eltwise_chain(const PointFunction& f);

/// Scratchpads are ours, arithmetic is float.
dnnl::primitive_attr attributes();
/// The same with a sum into the destination, then a function, as post-operations.
dnnl::primitive_attr attributes(const std::optional<PointFunction>& function, bool has_summand);

Dims strides_of(const Window& window);
Dims dilations_of(const Window& window);
Dims pads_before(const Window& window);
Dims pads_after(const Window& window);

/// Weights {outputs, inputs...} in row-major order.
Descriptor plain_weights(const Dims& dims);
/// With a leading axis of groups where there is more than one.
Dims weight_dims(const Convolution& geometry);

/// The convolution of a batch with the algorithm that is fastest and the layouts that oneDNN likes best.
dnnl::convolution_forward::primitive_desc convolution_forward(dnnl::prop_kind prop, const Convolution& geometry,
                                                              Index batch, const dnnl::primitive_attr& attributes,
                                                              const dnnl::engine& engine, Winograd winograd);
/// The way back of the same: from the gradient of its output to that of its input.
dnnl::convolution_backward_data::primitive_desc convolution_backward(const Convolution& geometry, Index batch,
                                                                     const dnnl::primitive_attr& attributes,
                                                                     const dnnl::engine& engine, Winograd winograd);
/// To that of its weights and bias.
dnnl::convolution_backward_weights::primitive_desc convolution_backward_weights(const Convolution& geometry,
                                                                                Index batch,
                                                                                const dnnl::primitive_attr& attributes,
                                                                                const dnnl::engine& engine,
                                                                                Winograd winograd);
/// What a pass of training does with weights: it reads them, or it makes their derivatives.
enum class WeightsOf { values, derivatives };
/// Where weights change with every run and Winograd's transform of them is part of it: whether it pays on this batch.
Winograd winograd_in_training(const Convolution& geometry, Index batch, WeightsOf pass);

/// How a dense layer reads its input: an image in its own layout, without flattening it, or a flat value.
struct DenseInput {
  bool as_image;
  Shape shape;
};
DenseInput dense_input(const Shape& shape);
dnnl::inner_product_forward::primitive_desc dense_forward(dnnl::prop_kind prop, const DenseInput& in, Index outputs,
                                                          Index batch, const dnnl::primitive_attr& attributes,
                                                          const dnnl::engine& engine);
Dims weight_dims(const DenseInput& in, Index outputs);
dnnl::inner_product_backward_data::primitive_desc dense_backward(const DenseInput& in, Index outputs, Index batch,
                                                                 const dnnl::engine& engine);
dnnl::inner_product_backward_weights::primitive_desc dense_backward_weights(const DenseInput& in, Index outputs,
                                                                            Index batch, const dnnl::engine& engine);

}  // namespace quantbound::tensor::detail
