#include "float_primitives.hpp"

#include <algorithm>

#include "quantbound/core/assert.hpp"

namespace quantbound::tensor::detail {

using dnnl::algorithm;

namespace {

Descriptor any_weights(const Dims& dims) { return {dims, dnnl::memory::data_type::f32, dnnl::memory::format_tag::any}; }

enum class AllowEmpty { no, yes };

/// Winograd's algorithm needs less than half of the multiplications and rounds a little more; with few channels its
/// transforms eat the gain up, and so they do on the small batches of gradients (ResNet-44: 0.9 times as fast with
/// batches of 4, 1.15 times with 16). oneDNN has it for processors with AVX-512.
bool gains_by_winograd(const Convolution& g) {
  constexpr Index fewest_channels = 32, vector = 16;
  const Window& w = g.window;
  const bool three_by_three = w.kernel_height == 3 && w.kernel_width == 3 && w.stride_height == 1 &&
                              w.stride_width == 1 && w.dilation_height == 1 && w.dilation_width == 1;
  return three_by_three && g.groups == 1 && std::min(g.channels_in, g.channels_out) >= fewest_channels &&
         g.channels_in % vector == 0 && g.channels_out % vector == 0;
}

/// What describe(algorithm, AllowEmpty) makes of Winograd's algorithm where it is wanted and there, else of the sum of
/// products.
template <class Describe>
auto with_algorithm(const Convolution& g, Winograd winograd, Describe describe) {
  decltype(describe(algorithm::convolution_direct, AllowEmpty::no)) descriptor;
  if (winograd == Winograd::where_it_pays && gains_by_winograd(g))
    descriptor = describe(algorithm::convolution_winograd, AllowEmpty::yes);
  return descriptor ? descriptor : describe(algorithm::convolution_direct, AllowEmpty::no);
}

}  // namespace

std::vector<Eltwise> eltwise_chain(const PointFunction& f) {
  const auto alpha = static_cast<float>(f.alpha), beta = static_cast<float>(f.beta);
  switch (f.kind) {
    case PointKind::relu:
      return {{algorithm::eltwise_relu}};
    case PointKind::leaky_relu:
      return {{algorithm::eltwise_relu, alpha}};
    case PointKind::clip:
      return {{algorithm::eltwise_clip, alpha, beta}};
    case PointKind::sigmoid:
      return {{algorithm::eltwise_logistic}};
    case PointKind::tanh:
      return {{algorithm::eltwise_tanh}};
    case PointKind::hard_swish:
      return {{algorithm::eltwise_hardswish}};
    case PointKind::hard_sigmoid:
      return {{algorithm::eltwise_linear, alpha, beta}, {algorithm::eltwise_clip, 0.0F, 1.0F}};
  }
  QUANTBOUND_ASSERT(false, static_cast<int>(f.kind));
  return {};
}

dnnl::primitive_attr attributes() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attr.set_fpmath_mode(dnnl::fpmath_mode::strict);
  return attr;
}

dnnl::primitive_attr attributes(const std::optional<PointFunction>& function, bool has_summand) {
  dnnl::post_ops post_ops;
  if (has_summand) post_ops.append_sum(1.0F);
  if (function)
    for (const Eltwise& e : eltwise_chain(*function)) post_ops.append_eltwise(1.0F, e.kind, e.alpha, e.beta);
  dnnl::primitive_attr attr = attributes();
  attr.set_post_ops(post_ops);
  return attr;
}

Dims strides_of(const Window& w) { return {w.stride_height, w.stride_width}; }
Dims dilations_of(const Window& w) { return {w.dilation_height - 1, w.dilation_width - 1}; }
Dims pads_before(const Window& w) { return {w.pad_top, w.pad_left}; }
Dims pads_after(const Window& w) { return {w.pad_bottom, w.pad_right}; }

Descriptor plain_weights(const Dims& dims) {
  Shape inner(dims.begin() + 1, dims.end());
  return plain_descriptor(dims.front(), inner);
}

Dims weight_dims(const Convolution& g) {
  const Window& w = g.window;
  if (g.groups == 1) return {g.channels_out, g.channels_in, w.kernel_height, w.kernel_width};
  return {g.groups, g.channels_out / g.groups, g.channels_in / g.groups, w.kernel_height, w.kernel_width};
}

dnnl::convolution_forward::primitive_desc convolution_forward(dnnl::prop_kind prop, const Convolution& g, Index batch,
                                                              const dnnl::primitive_attr& attributes,
                                                              const dnnl::engine& engine, Winograd winograd) {
  const Window& w = g.window;
  return with_algorithm(g, winograd, [&](algorithm kind, AllowEmpty allow_empty) {
    return dnnl::convolution_forward::primitive_desc(
        {prop, kind, any_descriptor(batch, {g.channels_in, g.height, g.width}), any_weights(weight_dims(g)),
         plain_weights({g.channels_out}), any_descriptor(batch, {g.channels_out, g.out_height(), g.out_width()}),
         strides_of(w), dilations_of(w), pads_before(w), pads_after(w)},
        attributes, engine, allow_empty == AllowEmpty::yes);
  });
}

dnnl::convolution_backward_data::primitive_desc convolution_backward(const Convolution& g, Index batch,
                                                                     const dnnl::primitive_attr& attributes,
                                                                     const dnnl::engine& engine, Winograd winograd) {
  const Window& w = g.window;
  const auto hint = convolution_forward(dnnl::prop_kind::forward_training, g, batch, attributes, engine, winograd);
  return with_algorithm(g, winograd, [&](algorithm kind, AllowEmpty allow_empty) {
    return dnnl::convolution_backward_data::primitive_desc(
        {kind, any_descriptor(batch, {g.channels_in, g.height, g.width}), any_weights(weight_dims(g)),
         any_descriptor(batch, {g.channels_out, g.out_height(), g.out_width()}), strides_of(w), dilations_of(w),
         pads_before(w), pads_after(w)},
        attributes, engine, hint, allow_empty == AllowEmpty::yes);
  });
}

dnnl::convolution_backward_weights::primitive_desc convolution_backward_weights(const Convolution& g, Index batch,
                                                                                const dnnl::primitive_attr& attributes,
                                                                                const dnnl::engine& engine,
                                                                                Winograd winograd) {
  const Window& w = g.window;
  const auto hint = convolution_forward(dnnl::prop_kind::forward_training, g, batch, attributes, engine, winograd);
  return with_algorithm(g, winograd, [&](algorithm kind, AllowEmpty allow_empty) {
    return dnnl::convolution_backward_weights::primitive_desc(
        {kind, any_descriptor(batch, {g.channels_in, g.height, g.width}), any_weights(weight_dims(g)),
         plain_weights({g.channels_out}), any_descriptor(batch, {g.channels_out, g.out_height(), g.out_width()}),
         strides_of(w), dilations_of(w), pads_before(w), pads_after(w)},
        attributes, engine, hint, allow_empty == AllowEmpty::yes);
  });
}

Winograd winograd_in_training(const Convolution& g, Index batch, WeightsOf pass) {
  // The transform of a weight costs 12 to 20 ns there and less back; each pixel then saves 0.03 to 0.05 ns.
  const Index fewest_pixels = pass == WeightsOf::values ? 512 : 256;
  return batch * g.out_height() * g.out_width() >= fewest_pixels ? Winograd::where_it_pays : Winograd::never;
}

DenseInput dense_input(const Shape& shape) {
  const bool as_image = shape.size() == 2 || shape.size() == 3;
  return {as_image, as_image ? shape : Shape{elements(shape)}};
}

Dims weight_dims(const DenseInput& in, Index outputs) {
  Dims dims{outputs};
  dims.insert(dims.end(), in.shape.begin(), in.shape.end());
  return dims;
}

dnnl::inner_product_forward::primitive_desc dense_forward(dnnl::prop_kind prop, const DenseInput& in, Index outputs,
                                                          Index batch, const dnnl::primitive_attr& attributes,
                                                          const dnnl::engine& engine) {
  const Descriptor source = in.as_image ? any_descriptor(batch, in.shape) : plain_descriptor(batch, in.shape);
  return {{prop, source, any_weights(weight_dims(in, outputs)), plain_weights({outputs}),
           plain_descriptor(batch, {outputs})},
          attributes,
          engine};
}

dnnl::inner_product_backward_data::primitive_desc dense_backward(const DenseInput& in, Index outputs, Index batch,
                                                                 const dnnl::engine& engine) {
  const Descriptor source = in.as_image ? any_descriptor(batch, in.shape) : plain_descriptor(batch, in.shape);
  return {{source, any_weights(weight_dims(in, outputs)), plain_descriptor(batch, {outputs})},
          attributes(),
          engine,
          dense_forward(dnnl::prop_kind::forward_training, in, outputs, batch, attributes(), engine)};
}

dnnl::inner_product_backward_weights::primitive_desc dense_backward_weights(const DenseInput& in, Index outputs,
                                                                            Index batch, const dnnl::engine& engine) {
  const Descriptor source = in.as_image ? any_descriptor(batch, in.shape) : plain_descriptor(batch, in.shape);
  return {{source, any_weights(weight_dims(in, outputs)), plain_weights({outputs}), plain_descriptor(batch, {outputs})},
          attributes(),
          engine,
          dense_forward(dnnl::prop_kind::forward_training, in, outputs, batch, attributes(), engine)};
}

}  // namespace quantbound::tensor::detail
