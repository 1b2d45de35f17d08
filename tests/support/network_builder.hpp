/// Small networks by hand and at random, for tests: a graph grows node by node, weights come beside it.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "quantbound/core/random.hpp"
#include "quantbound/network/network.hpp"

namespace quantbound::testing {

using network::Index;
using network::NodeId;

/// Draws in a fixed order.
class Draws {
 public:
  Draws(std::uint64_t seed, std::string_view purpose) : stream_(seed, purpose) {}
  double uniform(double low = 0.0, double high = 1.0) { return low + (high - low) * stream_.uniform(next_++); }
  double normal() { return stream_.normal(next_++); }
  /// An integer in [low, high].
  Index integer(Index low, Index high) {
    return low + static_cast<Index>(stream_.bits(next_++) % static_cast<std::uint64_t>(high - low + 1));
  }
  bool chance(double probability) { return uniform() < probability; }

 private:
  core::RandomStream stream_;
  std::uint64_t next_ = 0;
};

class NetworkBuilder {
 public:
  explicit NetworkBuilder(network::Shape input) {
    network_.graph.nodes.push_back({"input", network::Input{}, {}, std::move(input)});
  }

  NodeId add(network::Operator op, std::vector<NodeId> inputs) {
    std::vector<network::Shape> shapes;
    for (const NodeId input : inputs) shapes.push_back(shape(input));
    const std::string name = "node " + std::to_string(network_.graph.nodes.size());
    network::Shape result = network::infer_shape(op, shapes, name, "test");
    network_.graph.nodes.push_back({name, std::move(op), std::move(inputs), std::move(result)});
    return std::ssize(network_.graph.nodes) - 1;
  }

  /// A reshape to any shape of as many elements.
  NodeId reshape(NodeId input, network::Shape to) {
    network_.graph.nodes.push_back(
        {"reshape " + std::to_string(network_.graph.nodes.size()), network::Reshape{}, {input}, std::move(to)});
    return std::ssize(network_.graph.nodes) - 1;
  }
  NodeId flatten(NodeId input) {
    return shape(input).size() == 1 ? input : reshape(input, {tensor::elements(shape(input))});
  }

  NodeId dense(NodeId input, std::vector<double> weights, std::vector<double> bias) {
    const Index inputs = tensor::elements(shape(input));
    const NodeId node = add(network::Dense{layer_count(), inputs, std::ssize(bias)}, {flatten(input)});
    network_.layers.push_back({std::move(weights), std::move(bias)});
    return node;
  }

  NodeId convolution(NodeId input, const tensor::Convolution& geometry, std::vector<double> weights,
                     std::vector<double> bias) {
    const NodeId node = add(network::Convolution{layer_count(), geometry}, {input});
    network_.layers.push_back({std::move(weights), std::move(bias)});
    return node;
  }

  NodeId activation(NodeId input, network::ActivationKind kind, double alpha = 0.0, double beta = 0.0) {
    return add(network::Activation{kind, alpha, beta}, {input});
  }
  NodeId relu(NodeId input) { return activation(input, network::ActivationKind::relu); }

  const network::Shape& shape(NodeId node) const { return network_.graph.nodes[static_cast<std::size_t>(node)].shape; }
  const network::Graph& graph() const { return network_.graph; }
  Index layer_count() const { return std::ssize(network_.layers); }

  network::Network finish(NodeId output) {
    network_.graph.output = output;
    network::validate(network_.graph, "test");
    network::validate(network_, "test");
    return std::move(network_);
  }

 private:
  network::Network network_;
};

inline network::Box box_around(Index size, Draws& draws) {
  network::Box box;
  const double radius = draws.chance(0.1) ? 0.0 : draws.uniform() * draws.uniform(0.0, 2.0);
  for (Index i = 0; i < size; ++i) {
    const double center = draws.normal();
    box.low.push_back(center - radius);
    box.high.push_back(center + radius);
  }
  return box;
}

/// What a random network may contain.
struct NetworkKind {
  double image_probability = 0.5;     ///< of a convolutional network
  double extreme_probability = 0.05;  ///< of weights of scale 1e-30 or 1e30
  double bias_free_probability = 0.3;
  double smooth_probability = 0.1;  ///< of an activation other than relu, leaky relu and clip
};

/// Dense, convolutional, residual, with concatenation and pooling: everything that the theories treat, small.
class RandomNetwork {
 public:
  RandomNetwork(std::uint64_t seed, const NetworkKind& kind = {}) : draws_(seed, "random network"), kind_(kind) {}

  network::Network network() {
    bias_free_ = draws_.chance(kind_.bias_free_probability);
    weight_scale_ = std::pow(10.0, draws_.uniform(-1.0, 0.5));
    if (draws_.chance(kind_.extreme_probability)) weight_scale_ *= draws_.chance(0.5) ? 1e-30 : 1e30;
    return draws_.chance(kind_.image_probability) ? image_network() : dense_network();
  }

  Draws& draws() { return draws_; }

 private:
  std::vector<double> weights(Index count, Index fan_in) {
    std::vector<double> result;
    const double scale =
        weight_scale_ * std::pow(10.0, draws_.uniform(-0.5, 0.5)) / std::sqrt(static_cast<double>(fan_in));
    const double sparsity = draws_.chance(0.2) ? 0.5 : 0.0;
    for (Index i = 0; i < count; ++i) result.push_back(draws_.chance(sparsity) ? 0.0 : scale * draws_.normal());
    return result;
  }

  std::vector<double> bias(Index count) {
    std::vector<double> result(static_cast<std::size_t>(count), 0.0);
    if (bias_free_) return result;
    const double scale = weight_scale_ * std::pow(10.0, draws_.uniform(-2.0, 1.0));
    for (double& b : result) b = scale * draws_.normal();
    return result;
  }

  NodeId dense(NetworkBuilder& builder, NodeId input, Index outputs) {
    const Index inputs = tensor::elements(builder.shape(input));
    return builder.dense(input, weights(outputs * inputs, inputs), bias(outputs));
  }

  NodeId convolution(NetworkBuilder& builder, NodeId input, Index channels, bool keep_shape) {
    const network::Shape image = builder.shape(input);
    tensor::Convolution geometry;
    geometry.channels_in = image[0];
    geometry.height = image[1];
    geometry.width = image[2];
    geometry.channels_out = channels;
    tensor::Window& window = geometry.window;
    if (keep_shape) {
      window.kernel_height = window.kernel_width = 3;
      window.pad_top = window.pad_left = window.pad_bottom = window.pad_right = 1;
    } else {
      window.kernel_height = std::min(draws_.integer(1, 3), image[1]);
      window.kernel_width = std::min(draws_.integer(1, 3), image[2]);
      window.stride_height = draws_.integer(1, 2);
      window.stride_width = draws_.integer(1, 2);
      window.pad_top = draws_.integer(0, 1);
      window.pad_left = draws_.integer(0, 1);
      window.pad_bottom = draws_.integer(0, 1);
      window.pad_right = draws_.integer(0, 1);
      if (draws_.chance(0.2) && image[1] > 4 && image[2] > 4) window.dilation_height = window.dilation_width = 2;
    }
    if (channels == image[0] && draws_.chance(0.3)) {
      geometry.groups = channels;  // depthwise
    } else if (channels % 2 == 0 && image[0] % 2 == 0 && draws_.chance(0.3)) {
      geometry.groups = 2;
    }
    return builder.convolution(input, geometry, weights(geometry.weight_count(), geometry.fan_in()), bias(channels));
  }

  NodeId activate(NetworkBuilder& builder, NodeId input) {
    using Kind = network::ActivationKind;
    if (draws_.chance(kind_.smooth_probability)) {
      switch (draws_.integer(0, 3)) {
        case 0:
          return builder.activation(input, Kind::tanh);
        case 1:
          return builder.activation(input, Kind::sigmoid);
        case 2:
          return builder.activation(input, Kind::hard_swish);
        default:
          return builder.activation(input, Kind::hard_sigmoid, 0.2, 0.5);
      }
    }
    switch (draws_.integer(0, 5)) {
      case 0:
        return builder.activation(input, Kind::clip, 0.0, 6.0);
      case 1:
        return builder.activation(input, Kind::leaky_relu, 0.1);
      default:
        return builder.relu(input);
    }
  }

  NodeId pool(NetworkBuilder& builder, NodeId input) {
    const network::Shape image = builder.shape(input);
    tensor::Window window;
    window.kernel_height = std::min<Index>(draws_.integer(2, 3), image[1]);
    window.kernel_width = std::min<Index>(draws_.integer(2, 3), image[2]);
    window.stride_height = window.stride_width = draws_.integer(1, 2);
    if (window.kernel_height > 1 && window.kernel_width > 1 && draws_.chance(0.3)) {
      window.pad_top = window.pad_left = window.pad_bottom = window.pad_right = 1;
      if (image[1] < 3 || image[2] < 3) window.pad_bottom = window.pad_right = 0;  // no window in the pads alone
    }
    if (draws_.chance(0.5)) return builder.add(network::MaxPool{window}, {input});
    return builder.add(network::AveragePool{window, draws_.chance(0.5)}, {input});
  }

  network::Network dense_network() {
    const Index inputs = draws_.integer(1, 8);
    NetworkBuilder builder({inputs});
    NodeId node = 0;
    if (draws_.chance(0.2)) node = normalisation(builder, node, 1);
    const Index depth = draws_.integer(1, 5);
    for (Index layer = 0; layer + 1 < depth; ++layer) {
      const NodeId before = node;
      node = activate(builder, dense(builder, node, draws_.integer(1, 9)));
      if (builder.shape(before) == builder.shape(node) && draws_.chance(0.5)) {
        node = builder.add(network::Add{}, {node, before});
      }
    }
    return builder.finish(dense(builder, node, draws_.integer(1, 5)));
  }

  NodeId normalisation(NetworkBuilder& builder, NodeId node, Index channels) {
    network::ScaleShift affine;
    for (Index c = 0; c < channels; ++c) {
      affine.scale.push_back(draws_.uniform(0.5, 2.0));
      affine.shift.push_back(draws_.normal());
    }
    return builder.add(affine, {node});
  }

  network::Network image_network() {
    const Index channels = draws_.integer(1, 3);
    NetworkBuilder builder({channels, draws_.integer(4, 6), draws_.integer(4, 6)});
    NodeId node = 0;
    if (draws_.chance(0.3)) node = normalisation(builder, node, channels);
    const Index blocks = draws_.integer(1, 3);
    for (Index block = 0; block < blocks; ++block) node = add_block(builder, node);
    if (draws_.chance(0.3)) node = builder.add(network::GlobalAveragePool{}, {node});
    if (draws_.chance(0.7)) node = dense(builder, node, draws_.integer(1, 4));
    return builder.finish(node);
  }

  NodeId add_block(NetworkBuilder& builder, NodeId node) {
    const network::Shape image = builder.shape(node);
    switch (draws_.integer(0, 5)) {
      case 0: {  // residual
        NodeId branch = activate(builder, convolution(builder, node, image[0], true));
        if (draws_.chance(0.5)) branch = convolution(builder, branch, image[0], true);
        return activate(builder, builder.add(network::Add{}, {branch, node}));
      }
      case 1: {  // two branches side by side
        const NodeId left = activate(builder, convolution(builder, node, draws_.integer(1, 3), true));
        const NodeId right = convolution(builder, node, draws_.integer(1, 3), true);
        return builder.add(network::Concat{0}, {left, right});
      }
      case 2:
        return image[1] > 1 && image[2] > 1
                   ? pool(builder, activate(builder, convolution(builder, node, draws_.integer(1, 4), true)))
                   : node;
      case 3:  // a constant behind weights
        return normalisation(builder, convolution(builder, node, 2, true), 2);
      default:
        return activate(builder, convolution(builder, node, draws_.integer(1, 4), false));
    }
  }

  Draws draws_;
  NetworkKind kind_;
  bool bias_free_ = false;
  double weight_scale_ = 1.0;
};

}  // namespace quantbound::testing
