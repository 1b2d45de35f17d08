#include <algorithm>

#include "quantbound/bounds/layer_norms.hpp"
#include "quantbound/core/assert.hpp"

namespace quantbound::bounds {

namespace {

Index divide_rounding_up(Index a, Index b) { return (a + b - 1) / b; }

/// Most positions of a window along one axis that contain one element: taps a and places p with a * dilation + p *
/// stride = constant. Without dilation every stride-th tap of the kernel does.
Index overlap(Index kernel, Index stride, Index dilation, Index places) {
  const Index taps = dilation == 1 ? divide_rounding_up(kernel, stride) : kernel;
  return std::min(taps, places);
}

LayerShape convolution_shape(const tensor::Convolution& geometry) {
  const tensor::Window& window = geometry.window;
  LayerShape shape;
  shape.rows = geometry.channels_out;
  shape.columns = geometry.fan_in();
  shape.groups = geometry.groups;
  shape.kernel = window.kernel_height * window.kernel_width;
  shape.overlap = overlap(window.kernel_height, window.stride_height, window.dilation_height, geometry.out_height()) *
                  overlap(window.kernel_width, window.stride_width, window.dilation_width, geometry.out_width());
  shape.positions = geometry.out_height() * geometry.out_width();
  shape.inputs = geometry.channels_in * geometry.height * geometry.width;
  shape.columns_dense = shape.kernel * geometry.channels_in;
  return shape;
}

}  // namespace

LayerShape layer_shape(const network::Operator& op) {
  if (const auto* convolution = std::get_if<network::Convolution>(&op)) return convolution_shape(convolution->geometry);
  const auto* dense = std::get_if<network::Dense>(&op);
  QUANTBOUND_ASSERT(dense != nullptr, op.index());
  LayerShape shape;
  shape.rows = dense->outputs;
  shape.columns = shape.inputs = shape.columns_dense = dense->inputs;
  return shape;
}

std::vector<LayerShape> layer_shapes(const network::Graph& graph) {
  std::vector<LayerShape> shapes;
  for (const network::NodeId node : graph.weight_layers()) {
    shapes.push_back(layer_shape(graph.nodes[static_cast<std::size_t>(node)].op));
  }
  return shapes;
}

}  // namespace quantbound::bounds
