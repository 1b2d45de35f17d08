/// Shapes and geometries. A shape is the shape of one sample, without the batch axis: {channels, height, width} or {n}.
/// Data is dense, row-major (NCHW once a batch axis is put in front).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace quantbound::tensor {

using Index = std::ptrdiff_t;
using Shape = std::vector<Index>;

/// Number of elements; 1 for the empty shape.
Index elements(const Shape& shape);
/// "3x224x224"
std::string to_string(const Shape& shape);

/// A two-dimensional window that slides over an image: convolution kernels and pooling windows share it.
struct Window {
  Index kernel_height = 1, kernel_width = 1;
  Index stride_height = 1, stride_width = 1;
  Index pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  Index dilation_height = 1, dilation_width = 1;

  /// Number of positions of the window over an extent of `size` with these pads (floor, as ONNX without ceil_mode).
  Index out_height(Index height) const;
  Index out_width(Index width) const;
  bool operator==(const Window&) const = default;
};

/// A grouped two-dimensional convolution of a {channels_in, height, width} image. Weights: {channels_out,
/// channels_in / groups, kernel_height, kernel_width}. One-dimensional convolutions have height 1.
struct Convolution {
  Index channels_in = 1, height = 1, width = 1;
  Index channels_out = 1;
  Index groups = 1;
  Window window;

  Index out_height() const { return window.out_height(height); }
  Index out_width() const { return window.out_width(width); }
  /// Weights of one output channel: kernel area times channels_in / groups (p^2 c / g, docs/theory.md 1.4).
  Index fan_in() const { return window.kernel_height * window.kernel_width * (channels_in / groups); }
  Index weight_count() const { return channels_out * fan_in(); }
  /// Multiply-adds for one sample.
  Index multiply_adds() const { return weight_count() * out_height() * out_width(); }
  bool operator==(const Convolution&) const = default;
};

}  // namespace quantbound::tensor
