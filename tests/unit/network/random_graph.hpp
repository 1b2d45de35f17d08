/// Graphs made node by node, and random ones that use every operator, with random weights.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "quantbound/core/random.hpp"
#include "quantbound/network/network.hpp"

namespace quantbound::network::testing {

/// Draws one after the other from a stream.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : stream_(seed, "network-test") {}
  /// One of lowest, ..., highest.
  Index integer(Index lowest, Index highest) {
    return lowest + static_cast<Index>(stream_.bits(next_++) % static_cast<std::uint64_t>(highest - lowest + 1));
  }
  double normal() { return stream_.normal(next_++); }
  std::vector<double> normals(Index count, double scale = 1.0) {
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& value : values) value = scale * normal();
    return values;
  }

 private:
  core::RandomStream stream_;
  std::uint64_t next_ = 0;
};

/// Adds nodes and draws the weights of its layers so that values keep their size.
class Builder {
 public:
  Builder(Shape input, Draw& draw) : draw_(draw) {
    network_.name = "test";
    network_.graph.nodes.push_back({"input", network::Input{}, {}, std::move(input)});
  }

  const Shape& shape(NodeId node) const { return network_.graph.nodes[static_cast<std::size_t>(node)].shape; }

  NodeId add(Operator op, std::vector<NodeId> inputs) {
    std::vector<Shape> shapes;
    for (const NodeId input : inputs) shapes.push_back(shape(input));
    const std::string name = "node" + std::to_string(network_.graph.nodes.size());
    const Shape out = infer_shape(op, shapes, name, "test");
    network_.graph.nodes.push_back({name, std::move(op), std::move(inputs), out});
    network_.graph.output = std::ssize(network_.graph.nodes) - 1;
    return network_.graph.output;
  }

  NodeId reshape(NodeId in, Shape out) {
    const NodeId id = add(Reshape{}, {in});
    network_.graph.nodes.back().shape = std::move(out);
    return id;
  }
  NodeId flatten(NodeId in) { return reshape(in, {tensor::elements(shape(in))}); }

  NodeId dense(NodeId in, Index outputs) {
    const Index inputs = shape(in)[0];
    add_layer(outputs, inputs);
    return add(Dense{layer_count() - 1, inputs, outputs}, {in});
  }

  NodeId convolution(NodeId in, Index channels_out, Index groups, tensor::Window window) {
    const Shape& image = shape(in);
    const tensor::Convolution geometry{image[0], image[1], image[2], channels_out, groups, window};
    add_layer(channels_out, geometry.fan_in());
    return add(Convolution{layer_count() - 1, geometry}, {in});
  }

  Network build() const {
    network::validate(network_, "test");
    return network_;
  }

 private:
  Index layer_count() const { return std::ssize(network_.layers); }
  void add_layer(Index rows, Index fan_in) {
    network_.layers.push_back(
        {draw_.normals(rows * fan_in, std::sqrt(2.0 / static_cast<double>(fan_in))), draw_.normals(rows, 0.3)});
  }

  Draw& draw_;
  Network network_;
};

inline Activation random_activation(Draw& draw) {
  switch (draw.integer(0, 6)) {
    case 0:
      return {ActivationKind::leaky_relu, 0.1, 0.0};
    case 1:
      return {ActivationKind::clip, 0.0, 6.0};
    case 2:
      return {ActivationKind::sigmoid, 0.0, 0.0};
    case 3:
      return {ActivationKind::tanh, 0.0, 0.0};
    case 4:
      return {ActivationKind::hard_swish, 0.0, 0.0};
    case 5:
      return {ActivationKind::hard_sigmoid, 0.2, 0.5};
    default:
      return {ActivationKind::relu, 0.0, 0.0};
  }
}

/// A window that keeps at least one place, whose every place covers some of the image.
inline tensor::Window random_window(Draw& draw, const Shape& image) {
  const Index kernel_height = draw.integer(1, std::min<Index>(3, image[1]));
  const Index kernel_width = draw.integer(1, std::min<Index>(3, image[2]));
  return {.kernel_height = kernel_height,
          .kernel_width = kernel_width,
          .stride_height = draw.integer(1, 2),
          .stride_width = draw.integer(1, 2),
          .pad_top = draw.integer(0, kernel_height - 1),
          .pad_left = draw.integer(0, kernel_width - 1),
          .pad_bottom = draw.integer(0, kernel_height - 1),
          .pad_right = draw.integer(0, kernel_width - 1)};
}

/// One random step on an image value; every operator over images has its turn.
inline NodeId random_image_step(Builder& b, Draw& draw, NodeId in) {
  const Shape image = b.shape(in);
  const tensor::Window same{
      .kernel_height = 3, .kernel_width = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  switch (draw.integer(0, 15)) {
    case 0: {  // residual block
      NodeId main = b.add(random_activation(draw), {b.convolution(in, image[0], 1, same)});
      main = b.add(Add{}, {b.convolution(main, image[0], 1, same), in});
      return b.add(random_activation(draw), {main});
    }
    case 1: {  // depthwise separable, with a multiplier
      const Index multiplier = draw.integer(1, 2);
      const NodeId depthwise = b.convolution(in, image[0] * multiplier, image[0], random_window(draw, image));
      return b.convolution(b.add(random_activation(draw), {depthwise}), draw.integer(1, 20), 1, {});
    }
    case 2: {  // squeeze and excite
      NodeId gate = b.convolution(b.add(GlobalAveragePool{}, {in}), image[0], 1, {});
      gate = b.add(random_activation(draw), {gate});
      return b.add(Product{}, draw.integer(0, 1) == 0 ? std::vector{in, gate} : std::vector{gate, in});
    }
    case 3:
      return b.add(MaxPool{random_window(draw, image)}, {in});
    case 4:
      return b.add(AveragePool{random_window(draw, image), draw.integer(0, 1) == 1}, {in});
    case 5: {  // branches side by side
      const NodeId left = b.convolution(in, draw.integer(1, 9), 1, same);
      return b.add(Concat{0}, {left, in, b.add(random_activation(draw), {left})});
    }
    case 6: {  // the shortcut of a CIFAR ResNet: every second pixel, channels padded with zeros
      const NodeId every_second =
          b.add(Slice{{0, 0, 0}, {1, 2, 2}, {image[0], (image[1] + 1) / 2, (image[2] + 1) / 2}}, {in});
      const NodeId shortcut = b.add(Pad{{2, 0, 0}, {1, 0, 0}, 0.0}, {every_second});
      tensor::Window strided = same;
      strided.stride_height = strided.stride_width = 2;
      return b.add(Add{}, {b.convolution(in, image[0] + 3, 1, strided), shortcut});
    }
    case 7:
      return b.add(Pad{{0, 1, 0}, {1, 0, 2}, draw.integer(0, 1) == 0 ? 0.0 : 0.5}, {in});
    case 8:
      return b.add(Permute{{0, 2, 1}}, {in});
    case 9:
      return b.add(ScaleShift{draw.normals(image[0]), draw.normals(image[0])}, {in});
    case 10:
      return b.add(Product{}, {b.add(random_activation(draw), {in}), in});
    case 11:
      return b.add(Slice{{image[0] - 1, 0, 0}, {-1, 1, 1}, image}, {in});  // channels turned round
    case 12: {
      const Index groups = image[0] % 2 == 0 ? 2 : 1;
      tensor::Window window = random_window(draw, image);
      if (image[1] > 5 && window.kernel_height > 1) window.dilation_height = 2;
      return b.add(random_activation(draw), {b.convolution(in, groups * draw.integer(1, 10), groups, window)});
    }
    case 13:
      return b.add(Add{}, {in, in});
    case 14:
      return b.add(ScaleShift{draw.normals(1), draw.normals(1)}, {in});
    default:
      return b.add(random_activation(draw), {in});
  }
}

/// Between four and ten steps on a small image, then up to two layers on the flat value.
inline Network random_network(std::uint64_t seed) {
  Draw draw(seed);
  const Shape input = draw.integer(0, 4) == 0 ? Shape{draw.integer(1, 4), 1, draw.integer(4, 16)}
                                              : Shape{draw.integer(1, 6), draw.integer(4, 12), draw.integer(4, 12)};
  Builder b(input, draw);
  NodeId at = 0;
  if (draw.integer(0, 1) == 0)
    at = b.add(ScaleShift{draw.normals(tensor::elements(input)), draw.normals(tensor::elements(input))}, {at});
  for (Index step = draw.integer(4, 10); step > 0; --step) at = random_image_step(b, draw, at);
  if (draw.integer(0, 1) == 0) at = b.add(GlobalAveragePool{}, {at});
  at = b.flatten(at);
  if (draw.integer(0, 1) == 0) at = b.add(random_activation(draw), {b.dense(at, draw.integer(1, 30))});
  b.dense(at, draw.integer(1, 12));
  return b.build();
}

}  // namespace quantbound::network::testing
