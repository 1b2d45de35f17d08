/// Random geometries and data for the tests of the tensor room.
#pragma once

#include <algorithm>
#include <vector>

#include "quantbound/core/random.hpp"
#include "quantbound/tensor/pooling.hpp"
#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor::testing {

/// Draws one after the other from a stream.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : stream_(seed, "tensor-test") {}
  /// One of lowest, ..., highest.
  Index integer(Index lowest, Index highest) {
    return lowest + static_cast<Index>(stream_.bits(next_++) % static_cast<std::uint64_t>(highest - lowest + 1));
  }
  double normal() { return stream_.normal(next_++); }
  std::vector<double> normals(Index count) {
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& value : values) value = normal();
    return values;
  }

 private:
  core::RandomStream stream_;
  std::uint64_t next_ = 0;
};

/// A window with asymmetric pads, strides and dilations that fits an image of this size at least once.
inline Window random_window(Draw& draw, Index height, Index width) {
  Window w{.kernel_height = draw.integer(1, 4),
           .kernel_width = draw.integer(1, 4),
           .stride_height = draw.integer(1, 3),
           .stride_width = draw.integer(1, 3),
           .pad_top = draw.integer(0, 2),
           .pad_left = draw.integer(0, 2),
           .pad_bottom = draw.integer(0, 2),
           .pad_right = draw.integer(0, 2),
           .dilation_height = draw.integer(1, 2),
           .dilation_width = draw.integer(1, 2)};
  if (height == 1) w.kernel_height = w.stride_height = w.dilation_height = 1, w.pad_top = w.pad_bottom = 0;
  while (w.out_height(height) == 0) ++w.pad_top;
  while (w.out_width(width) == 0) ++w.pad_right;
  return w;
}

/// Every position covers some of the image: what maxima and averages need.
inline Window random_pooling_window(Draw& draw, const Image& image) {
  for (;;) {
    const Window w = random_window(draw, image.height, image.width);
    const std::vector<Index> counts = inside_counts(w, image);
    if (std::all_of(counts.begin(), counts.end(), [](Index count) { return count > 0; })) return w;
  }
}

/// Grouped, depthwise (with a multiplier) and plain convolutions, one in four of them one-dimensional.
inline Convolution random_convolution(Draw& draw) {
  Convolution g;
  g.height = draw.integer(0, 3) == 0 ? 1 : draw.integer(1, 12);
  g.width = draw.integer(1, 14);
  switch (draw.integer(0, 2)) {
    case 0:
      g.groups = 1;
      break;
    case 1:
      g.groups = draw.integer(2, 4);
      break;
    default:
      g.groups = draw.integer(2, 9);
  }
  const Index in_group = g.groups > 4 ? 1 : draw.integer(1, 7);
  g.channels_in = g.groups * in_group;
  g.channels_out = g.groups * draw.integer(1, 6);
  g.window = random_window(draw, g.height, g.width);
  return g;
}

}  // namespace quantbound::tensor::testing
