#include "quantbound/tensor/pooling.hpp"

#include <algorithm>
#include <limits>

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/worth_threads.hpp"

#include "window_range.hpp"

namespace quantbound::tensor {

namespace {

using detail::places_inside;
using detail::Range;

/// out(place) = combine(out(place), value) over the taps in order, one channel at a time, starting from `initial`.
template <class Combine>
std::vector<double> pool(const Window& w, const Image& image, std::span<const double> input, Index batch,
                         double initial, Combine combine) {
  QUANTBOUND_ASSERT(std::ssize(input) == batch * image.elements(), input.size(), batch, image.elements());
  const Index out_height = w.out_height(image.height), out_width = w.out_width(image.width);
  std::vector<double> output(static_cast<std::size_t>(batch * image.channels * out_height * out_width), initial);
#pragma omp parallel for schedule(static) if (worth_threads(batch * image.elements()))
  for (Index item = 0; item < batch * image.channels; ++item) {
    const double* plane = input.data() + item * image.pixels();
    double* out = output.data() + item * out_height * out_width;
    for (Index ky = 0; ky < w.kernel_height; ++ky) {
      const Index offset_y = ky * w.dilation_height - w.pad_top;
      const Range ys = places_inside(offset_y, w.stride_height, image.height, out_height);
      for (Index kx = 0; kx < w.kernel_width; ++kx) {
        const Index offset_x = kx * w.dilation_width - w.pad_left;
        const Range xs = places_inside(offset_x, w.stride_width, image.width, out_width);
        for (Index y = ys.begin; y < ys.end; ++y) {
          const double* source = plane + (y * w.stride_height + offset_y) * image.width + offset_x;
          double* row = out + y * out_width;
          for (Index x = xs.begin; x < xs.end; ++x) row[x] = combine(row[x], source[x * w.stride_width]);
        }
      }
    }
  }
  return output;
}

/// The values of the window at one place of one plane, inside the image, row by row.
std::vector<double> window_values(const Window& w, const Image& image, const double* plane, Index y, Index x) {
  std::vector<double> values;
  for (Index ky = 0; ky < w.kernel_height; ++ky)
    for (Index kx = 0; kx < w.kernel_width; ++kx) {
      const Index in_y = y * w.stride_height - w.pad_top + ky * w.dilation_height;
      const Index in_x = x * w.stride_width - w.pad_left + kx * w.dilation_width;
      if (in_y >= 0 && in_y < image.height && in_x >= 0 && in_x < image.width)
        values.push_back(plane[in_y * image.width + in_x]);
    }
  return values;
}

template <class Reduce>
std::vector<double> pool_reference(const Window& w, const Image& image, std::span<const double> input, Index batch,
                                   Reduce reduce) {
  QUANTBOUND_ASSERT(std::ssize(input) == batch * image.elements(), input.size(), batch, image.elements());
  std::vector<double> output;
  for (Index item = 0; item < batch * image.channels; ++item)
    for (Index y = 0; y < w.out_height(image.height); ++y)
      for (Index x = 0; x < w.out_width(image.width); ++x)
        output.push_back(reduce(window_values(w, image, input.data() + item * image.pixels(), y, x)));
  return output;
}

double sum_of(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return sum;
}

}  // namespace

std::vector<Index> inside_counts(const Window& window, const Image& image) {
  const std::vector<double> ones(static_cast<std::size_t>(image.pixels()), 1.0);
  const std::vector<double> counts = sum_pool(window, {1, image.height, image.width}, ones, 1);
  return {counts.begin(), counts.end()};
}

std::vector<double> max_pool(const Window& window, const Image& image, std::span<const double> input, Index batch) {
  for (const Index count : inside_counts(window, image)) QUANTBOUND_ASSERT(count > 0, count);
  return pool(window, image, input, batch, -std::numeric_limits<double>::infinity(),
              [](double largest, double value) { return value > largest ? value : largest; });
}

std::vector<double> sum_pool(const Window& window, const Image& image, std::span<const double> input, Index batch) {
  return pool(window, image, input, batch, 0.0, [](double sum, double value) { return sum + value; });
}

std::vector<double> average_pool(const Window& window, const Image& image, Divisor divisor,
                                 std::span<const double> input, Index batch) {
  std::vector<double> output = sum_pool(window, image, input, batch);
  std::vector<Index> counts = inside_counts(window, image);
  if (divisor == Divisor::window) std::fill(counts.begin(), counts.end(), window.kernel_height * window.kernel_width);
  for (const Index count : counts) QUANTBOUND_ASSERT(count > 0, count);
#pragma omp parallel for schedule(static) if (worth_threads(std::ssize(output)))
  for (Index item = 0; item < batch * image.channels; ++item) {
    double* plane = output.data() + item * std::ssize(counts);
    for (std::size_t place = 0; place < counts.size(); ++place) plane[place] /= static_cast<double>(counts[place]);
  }
  return output;
}

std::vector<double> global_average_pool(const Image& image, std::span<const double> input, Index batch) {
  const Window whole{.kernel_height = image.height, .kernel_width = image.width};
  return average_pool(whole, image, Divisor::window, input, batch);
}

std::vector<double> max_pool_reference(const Window& window, const Image& image, std::span<const double> input,
                                       Index batch) {
  return pool_reference(window, image, input, batch, [](const std::vector<double>& values) {
    return *std::max_element(values.begin(), values.end());
  });
}

std::vector<double> average_pool_reference(const Window& window, const Image& image, Divisor divisor,
                                           std::span<const double> input, Index batch) {
  const auto area = static_cast<double>(window.kernel_height * window.kernel_width);
  return pool_reference(window, image, input, batch, [&](const std::vector<double>& values) {
    return sum_of(values) / (divisor == Divisor::window ? area : static_cast<double>(values.size()));
  });
}

std::vector<double> sum_pool_reference(const Window& window, const Image& image, std::span<const double> input,
                                       Index batch) {
  return pool_reference(window, image, input, batch, sum_of);
}

}  // namespace quantbound::tensor
