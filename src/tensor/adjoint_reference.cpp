// The adjoints by their definition: every place of the output, in order, gives back what it read.
#include <cmath>

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/adjoint.hpp"

namespace quantbound::tensor {

namespace {

/// visit(tap, element of the plane) for the part of the window at (y, x) that lies inside the image.
template <class Visit>
void for_each_inside(const Window& w, Index height, Index width, Index y, Index x, Visit visit) {
  for (Index ky = 0; ky < w.kernel_height; ++ky)
    for (Index kx = 0; kx < w.kernel_width; ++kx) {
      const Index in_y = y * w.stride_height - w.pad_top + ky * w.dilation_height;
      const Index in_x = x * w.stride_width - w.pad_left + kx * w.dilation_width;
      if (in_y >= 0 && in_y < height && in_x >= 0 && in_x < width) visit(ky * w.kernel_width + kx, in_y * width + in_x);
    }
}

}  // namespace

std::vector<double> convolve_adjoint_reference(const Convolution& geometry, std::span<const double> weights,
                                               std::span<const double> gradient, Index batch) {
  const Convolution& g = geometry;
  const Index in_group = g.channels_in / g.groups, out_group = g.channels_out / g.groups;
  const Index area = g.window.kernel_height * g.window.kernel_width, pixels = g.height * g.width;
  QUANTBOUND_ASSERT(std::ssize(gradient) == batch * g.channels_out * g.out_height() * g.out_width(), gradient.size());
  std::vector<double> result(static_cast<std::size_t>(batch * g.channels_in * pixels), 0.0);
  for (Index n = 0; n < batch; ++n)
    for (Index i = 0; i < g.channels_in; ++i)
      for (Index y = 0; y < g.out_height(); ++y)
        for (Index x = 0; x < g.out_width(); ++x)
          for_each_inside(g.window, g.height, g.width, y, x, [&](Index tap, Index element) {
            double sum = 0.0;
            for (Index o = i / in_group * out_group; o < (i / in_group + 1) * out_group; ++o) {
              const Index at = ((n * g.channels_out + o) * g.out_height() + y) * g.out_width() + x;
              sum = std::fma(weights[static_cast<std::size_t>((o * in_group + i % in_group) * area + tap)],
                             gradient[static_cast<std::size_t>(at)], sum);
            }
            result[static_cast<std::size_t>((n * g.channels_in + i) * pixels + element)] += sum;
          });
  return result;
}

std::vector<double> dense_adjoint_reference(Index outputs, std::span<const double> weights,
                                            std::span<const double> gradient, Index batch) {
  const Index inputs = std::ssize(weights) / outputs;
  QUANTBOUND_ASSERT(std::ssize(gradient) == batch * outputs, gradient.size(), batch, outputs);
  std::vector<double> result;
  for (Index n = 0; n < batch; ++n)
    for (Index i = 0; i < inputs; ++i) {
      double sum = 0.0;
      for (Index o = 0; o < outputs; ++o)
        sum = std::fma(gradient[static_cast<std::size_t>(n * outputs + o)],
                       weights[static_cast<std::size_t>(o * inputs + i)], sum);
      result.push_back(sum);
    }
  return result;
}

std::vector<double> convolve_weight_adjoint_reference(const Convolution& geometry, std::span<const double> input,
                                                      std::span<const double> gradient, Index batch) {
  const Convolution& g = geometry;
  const Index in_group = g.channels_in / g.groups, out_group = g.channels_out / g.groups;
  const Index area = g.window.kernel_height * g.window.kernel_width, pixels = g.height * g.width;
  QUANTBOUND_ASSERT(std::ssize(input) == batch * g.channels_in * pixels, input.size());
  QUANTBOUND_ASSERT(std::ssize(gradient) == batch * g.channels_out * g.out_height() * g.out_width(), gradient.size());
  std::vector<double> result(static_cast<std::size_t>(g.weight_count()), 0.0);
  std::size_t place = 0;
  for (Index n = 0; n < batch; ++n)
    for (Index o = 0; o < g.channels_out; ++o)
      for (Index y = 0; y < g.out_height(); ++y)
        for (Index x = 0; x < g.out_width(); ++x, ++place)
          for_each_inside(g.window, g.height, g.width, y, x, [&](Index tap, Index element) {
            for (Index i = 0; i < in_group; ++i) {
              const Index channel = n * g.channels_in + o / out_group * in_group + i;
              result[static_cast<std::size_t>((o * in_group + i) * area + tap)] +=
                  gradient[place] * input[static_cast<std::size_t>(channel * pixels + element)];
            }
          });
  return result;
}

std::vector<double> dense_weight_adjoint_reference(Index outputs, std::span<const double> input,
                                                   std::span<const double> gradient, Index batch) {
  const Index inputs = std::ssize(input) / batch;
  QUANTBOUND_ASSERT(std::ssize(gradient) == batch * outputs, gradient.size(), batch, outputs);
  std::vector<double> result(static_cast<std::size_t>(outputs * inputs), 0.0);
  for (Index n = 0; n < batch; ++n)
    for (Index o = 0; o < outputs; ++o)
      for (Index i = 0; i < inputs; ++i)
        result[static_cast<std::size_t>(o * inputs + i)] +=
            gradient[static_cast<std::size_t>(n * outputs + o)] * input[static_cast<std::size_t>(n * inputs + i)];
  return result;
}

std::vector<double> sum_pool_adjoint_reference(const Window& window, const Image& image,
                                               std::span<const double> gradient, Index batch) {
  std::vector<double> result(static_cast<std::size_t>(batch * image.elements()), 0.0);
  std::size_t place = 0;
  for (Index item = 0; item < batch * image.channels; ++item)
    for (Index y = 0; y < window.out_height(image.height); ++y)
      for (Index x = 0; x < window.out_width(image.width); ++x, ++place)
        for_each_inside(window, image.height, image.width, y, x, [&](Index, Index element) {
          result[static_cast<std::size_t>(item * image.pixels() + element)] += gradient[place];
        });
  return result;
}

std::vector<double> max_pool_adjoint_reference(const Window& window, const Image& image, std::span<const double> input,
                                               std::span<const double> gradient, Index batch) {
  std::vector<double> result(input.size(), 0.0);
  std::size_t place = 0;
  for (Index item = 0; item < batch * image.channels; ++item)
    for (Index y = 0; y < window.out_height(image.height); ++y)
      for (Index x = 0; x < window.out_width(image.width); ++x, ++place) {
        Index best = -1;
        for_each_inside(window, image.height, image.width, y, x, [&](Index, Index element) {
          const auto at = static_cast<std::size_t>(item * image.pixels() + element);
          if (best < 0 || input[at] > input[static_cast<std::size_t>(best)]) best = static_cast<Index>(at);
        });
        QUANTBOUND_ASSERT(best >= 0, item, y, x);
        result[static_cast<std::size_t>(best)] += gradient[place];
      }
  return result;
}

}  // namespace quantbound::tensor
