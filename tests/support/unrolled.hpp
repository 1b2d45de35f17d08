/// The matrix of a zero-padded convolution, and a network with every convolution replaced by that matrix.
#pragma once

#include <span>
#include <vector>

#include "network_builder.hpp"

namespace quantbound::testing {

/// {channels_out * out_height * out_width, channels_in * height * width}, row-major.
inline std::vector<double> unrolled(const tensor::Convolution& g, std::span<const double> weights) {
  const Index inputs = g.channels_in * g.height * g.width, per_group = g.channels_in / g.groups;
  std::vector<double> matrix(static_cast<std::size_t>(g.channels_out * g.out_height() * g.out_width() * inputs), 0.0);
  std::size_t row = 0;
  for (Index o = 0; o < g.channels_out; ++o) {
    for (Index y = 0; y < g.out_height(); ++y) {
      for (Index x = 0; x < g.out_width(); ++x, ++row) {
        for (Index c = 0; c < per_group; ++c) {
          for (Index a = 0; a < g.window.kernel_height; ++a) {
            for (Index b = 0; b < g.window.kernel_width; ++b) {
              const Index iy = y * g.window.stride_height + a * g.window.dilation_height - g.window.pad_top;
              const Index ix = x * g.window.stride_width + b * g.window.dilation_width - g.window.pad_left;
              if (iy < 0 || iy >= g.height || ix < 0 || ix >= g.width) continue;
              const Index channel = o / (g.channels_out / g.groups) * per_group + c;
              const Index column = (channel * g.height + iy) * g.width + ix;
              const Index weight = ((o * per_group + c) * g.window.kernel_height + a) * g.window.kernel_width + b;
              matrix[row * static_cast<std::size_t>(inputs) + static_cast<std::size_t>(column)] +=
                  weights[static_cast<std::size_t>(weight)];
            }
          }
        }
      }
    }
  }
  return matrix;
}

/// One bias per output element.
inline std::vector<double> unrolled_bias(const tensor::Convolution& g, std::span<const double> bias) {
  std::vector<double> result;
  for (const double b : bias) result.insert(result.end(), static_cast<std::size_t>(g.out_height() * g.out_width()), b);
  return result;
}

inline std::vector<network::LayerParameters> unrolled_layers(const network::Graph& graph,
                                                             std::span<const network::LayerParameters> layers) {
  std::vector<network::LayerParameters> result;
  for (const NodeId node : graph.weight_layers()) {
    const network::LayerParameters& layer = layers[result.size()];
    if (const auto* op = std::get_if<network::Convolution>(&graph.nodes[static_cast<std::size_t>(node)].op)) {
      result.push_back({unrolled(op->geometry, layer.weights), unrolled_bias(op->geometry, layer.bias)});
    } else {
      result.push_back(layer);
    }
  }
  return result;
}

/// Every convolution becomes a dense layer between two reshapes; other nodes stay.
inline network::Graph unrolled_graph(const network::Graph& graph) {
  NetworkBuilder builder(graph.input_shape());
  std::vector<NodeId> image{0};  // of every node of the original
  for (std::size_t v = 1; v < graph.nodes.size(); ++v) {
    const network::Node& node = graph.nodes[v];
    std::vector<NodeId> inputs;
    for (const NodeId input : node.inputs) inputs.push_back(image[static_cast<std::size_t>(input)]);
    if (const auto* op = std::get_if<network::Convolution>(&node.op)) {
      const network::Dense dense{op->layer, tensor::elements(builder.shape(inputs.front())),
                                 tensor::elements(node.shape)};
      image.push_back(builder.reshape(builder.add(dense, {builder.flatten(inputs.front())}), node.shape));
    } else if (std::holds_alternative<network::Reshape>(node.op)) {
      image.push_back(builder.reshape(inputs.front(), node.shape));
    } else {
      image.push_back(builder.add(node.op, inputs));
    }
  }
  network::Graph result = builder.graph();
  result.output = image[static_cast<std::size_t>(graph.output)];
  network::validate(result, "unrolled");
  return result;
}

}  // namespace quantbound::testing
