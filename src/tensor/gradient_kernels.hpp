/// The way back through operators that are not oneDNN's: elementwise functions and products. Slopes at kinks are those
/// of network::Tape wherever the output tells.
#pragma once

#include <vector>

#include "quantbound/tensor/float_program.hpp"

#include "layout.hpp"

namespace quantbound::tensor::detail {

/// Whether the slope at x is a function of f(x).
bool slope_follows_from_output(const PointFunction& f);
/// out = g times the slope, elementwise; `values` are the outputs of the function where its slope follows from them,
/// else its inputs. `out` may be `g`. Zero stays zero.
void multiply_by_slope(const PointFunction& f, const float* values, const float* g, float* out, Index size);

/// Values and what they should be: g = factor * weights * (values - targets), elementwise, and the sum of weights *
/// (values - targets)^2. Without weights (nullptr) they are 1. Floats are summed in lanes of a fixed number, a few
/// thousand at a time, these sums in double.
double pull_squared_error(const float* values, const float* targets, const float* weights, float factor, float* g,
                          Index size);

/// out[c] = sum over pixels of a[c, pixel] * g[c, pixel], for one sample: the factor {c, 1, 1} of a broadcast product.
class ProductOverPixels {
 public:
  ProductOverPixels(const Descriptor& a, const Descriptor& out);
  void operator()(const float* a, const float* g, float* out) const;

 private:
  Index out_size_;
  std::vector<Index> channels_, out_channels_, pixels_;  ///< offsets
};

}  // namespace quantbound::tensor::detail
