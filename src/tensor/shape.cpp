#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor {

namespace {
Index positions(Index size, Index pads, Index kernel, Index dilation, Index stride) {
  const Index reach = dilation * (kernel - 1) + 1;
  return size + pads < reach ? 0 : (size + pads - reach) / stride + 1;
}
}  // namespace

Index elements(const Shape& shape) {
  Index product = 1;
  for (const Index extent : shape) product *= extent;
  return product;
}

std::string to_string(const Shape& shape) {
  std::string text;
  for (const Index extent : shape) {
    if (!text.empty()) text += 'x';
    text += std::to_string(extent);
  }
  return text.empty() ? "scalar" : text;
}

Index Window::out_height(Index height) const {
  return positions(height, pad_top + pad_bottom, kernel_height, dilation_height, stride_height);
}

Index Window::out_width(Index width) const {
  return positions(width, pad_left + pad_right, kernel_width, dilation_width, stride_width);
}

}  // namespace quantbound::tensor
