#include "quantbound/tensor/adjoint.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <omp.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/worth_threads.hpp"

#include "product.hpp"
#include "window_range.hpp"

namespace quantbound::tensor {

namespace {

using detail::places_inside;
using detail::Range;

Index in_elements(const Convolution& g) { return g.channels_in * g.height * g.width; }
Index out_plane(const Convolution& g) { return g.out_height() * g.out_width(); }
Index kernel_area(const Window& w) { return w.kernel_height * w.kernel_width; }

void check(const Convolution& g, std::span<const double> weights, std::span<const double> gradient, Index batch) {
  QUANTBOUND_ASSERT(g.groups > 0 && g.channels_in % g.groups == 0 && g.channels_out % g.groups == 0, g.channels_in,
                    g.channels_out, g.groups);
  QUANTBOUND_ASSERT(std::ssize(weights) == g.weight_count(), weights.size(), g.weight_count());
  QUANTBOUND_ASSERT(std::ssize(gradient) == batch * g.channels_out * out_plane(g), gradient.size(), batch);
}

bool is_pointwise(const Convolution& g) { return g.window == Window{}; }

/// What a window of one plane gives back to the image at one tap: where its places lie.
struct Tap {
  Range ys, xs;
  Index offset_y, offset_x;
};

Tap tap_of(const Window& w, Index height, Index width, Range rows, Index ky, Index kx) {
  const Index offset_y = ky * w.dilation_height - w.pad_top, offset_x = kx * w.dilation_width - w.pad_left;
  const Range ys = places_inside(offset_y, w.stride_height, height, rows.end);
  return {{std::max(ys.begin, rows.begin), std::max(ys.end, rows.begin)},
          places_inside(offset_x, w.stride_width, width, w.out_width(width)),
          offset_y,
          offset_x};
}

/// plane += values at one tap; `values` has a row of out_width places for each of `rows`.
void add_tap(const Window& w, Index width, const Tap& tap, Index first_row, const double* values, Index out_width,
             double* plane) {
  for (Index y = tap.ys.begin; y < tap.ys.end; ++y) {
    const double* source = values + (y - first_row) * out_width;
    double* row = plane + (y * w.stride_height + tap.offset_y) * width + tap.offset_x;
    if (w.stride_width == 1) {
      for (Index x = tap.xs.begin; x < tap.xs.end; ++x) row[x] += source[x];
    } else {
      for (Index x = tap.xs.begin; x < tap.xs.end; ++x) row[x * w.stride_width] += source[x];
    }
  }
}

/// Each group's weights with one row per input channel and tap, one column per output channel.
std::vector<double> transposed_groups(const Convolution& g, std::span<const double> weights) {
  const Index channels = g.channels_out / g.groups, taps = g.fan_in();
  std::vector<double> result(weights.size());
  for (Index group = 0; group < g.groups; ++group) {
    const double* from = weights.data() + group * channels * taps;
    double* to = result.data() + group * channels * taps;
    for (Index c = 0; c < channels; ++c)
      for (Index t = 0; t < taps; ++t) to[t * channels + c] = from[c * taps + t];
  }
  return result;
}

/// How the work of one convolution is cut: pieces of a few samples, a few output rows and a few input channels whose
/// products fill the second-level cache. Samples are taken together where their planes are small.
struct Cut {
  Index samples, rows, channels;
};

Cut cut_of(const Convolution& g) {
  constexpr Index places = 256, taps = 192;
  const Index width = std::max<Index>(1, g.out_width()), plane = std::max<Index>(1, out_plane(g));
  return {.samples = std::max<Index>(1, places / plane),
          .rows = std::clamp<Index>(places / width, 1, std::max<Index>(1, g.out_height())),
          .channels = std::clamp<Index>(taps / kernel_area(g.window), 1, g.channels_in / g.groups)};
}

/// The gradients of `count` samples and the output rows `rows` of one group, as {channels, count * places}.
void gather_rows(const Convolution& g, const double* gradient, Index count, Range rows, double* out) {
  const Index plane = out_plane(g), places = (rows.end - rows.begin) * g.out_width();
  for (Index c = 0; c < g.channels_out / g.groups; ++c)
    for (Index n = 0; n < count; ++n, out += places)
      std::copy_n(gradient + (n * g.channels_out + c) * plane + rows.begin * g.out_width(), places, out);
}

/// A run of input channels of one group, for `count` samples.
struct Piece {
  Index first_sample, count, group, first_channel, channels;
};

class ConvolutionAdjoint {
 public:
  ConvolutionAdjoint(const Convolution& g, std::span<const double> weights, std::span<const double> gradient)
      : g_(g), cut_(cut_of(g)), weights_(transposed_groups(g, weights)), gradient_(gradient.data()) {}

  const Cut& cut() const { return cut_; }
  Index scratch_size() const {
    const Index places = cut_.samples * cut_.rows * g_.out_width();
    const bool in_place = is_pointwise(g_) && cut_.samples == 1;
    return places * ((in_place ? 0 : cut_.channels * kernel_area(g_.window)) + gathered_channels());
  }

  void run(const Piece& piece, double* scratch, double* result) const {
    double* image = result + piece.first_sample * in_elements(g_) +
                    (piece.group * (g_.channels_in / g_.groups) + piece.first_channel) * g_.height * g_.width;
    for (Index row = 0; row < g_.out_height(); row += cut_.rows)
      add_rows(piece, {row, std::min(row + cut_.rows, g_.out_height())}, scratch, image);
  }

 private:
  Index gathered_channels() const { return cut_.samples > 1 ? g_.channels_out / g_.groups : 0; }

  void add_rows(const Piece& piece, Range rows, double* scratch, double* image) const {
    const Index places = (rows.end - rows.begin) * g_.out_width(), columns = piece.count * places;
    const Index channels = g_.channels_out / g_.groups, area = kernel_area(g_.window), taps = piece.channels * area;
    const double* source = gradient_ + (piece.first_sample * g_.channels_out + piece.group * channels) * out_plane(g_);
    const bool gathered = piece.count > 1;
    if (gathered) gather_rows(g_, source, piece.count, rows, scratch);
    const detail::Strided<const double> right{gathered ? scratch : source + rows.begin * g_.out_width(), channels,
                                              columns, gathered ? columns : out_plane(g_), 1};
    const detail::Strided<const double> left{
        weights_.data() + (piece.group * g_.fan_in() + piece.first_channel * area) * channels, taps, channels, channels,
        1};
    if (is_pointwise(g_) && !gathered) {
      detail::add_product(left, right, {image + rows.begin * g_.width, taps, columns, g_.height * g_.width, 1});
      return;
    }
    double* products = scratch + cut_.samples * cut_.rows * g_.out_width() * gathered_channels();
    std::fill_n(products, taps * columns, 0.0);
    detail::add_product(left, right, {products, taps, columns, columns, 1});
    scatter(piece, rows, products, image);
  }

  /// The taps from last to first, so that every element of the image meets the places of the output in order.
  void scatter(const Piece& piece, Range rows, const double* products, double* image) const {
    const Window& w = g_.window;
    const Index out_width = g_.out_width(), places = (rows.end - rows.begin) * out_width;
    for (Index ky = w.kernel_height; ky-- > 0;)
      for (Index kx = w.kernel_width; kx-- > 0;) {
        const Tap tap = tap_of(w, g_.height, g_.width, rows, ky, kx);
        for (Index c = 0; c < piece.channels; ++c) {
          const double* values = products + (c * kernel_area(w) + ky * w.kernel_width + kx) * piece.count * places;
          for (Index n = 0; n < piece.count; ++n)
            add_tap(w, g_.width, tap, rows.begin, values + n * places, out_width,
                    image + n * in_elements(g_) + c * g_.height * g_.width);
        }
      }
  }

  const Convolution& g_;
  Cut cut_;
  std::vector<double> weights_;
  const double* gradient_;
};

/// One input channel of a depthwise layer; `products` holds a row of the output.
void depthwise_plane(const Convolution& g, const double* kernels, const double* gradient, double* products,
                     double* plane) {
  const Window& w = g.window;
  const Index multiplier = g.channels_out / g.groups, area = kernel_area(w), out_width = g.out_width();
  for (Index ky = w.kernel_height; ky-- > 0;)
    for (Index kx = w.kernel_width; kx-- > 0;) {
      const Tap tap = tap_of(w, g.height, g.width, {0, g.out_height()}, ky, kx);
      for (Index y = tap.ys.begin; y < tap.ys.end; ++y) {
        std::fill(products + tap.xs.begin, products + tap.xs.end, 0.0);
        for (Index m = 0; m < multiplier; ++m) {
          const double weight = kernels[m * area + ky * w.kernel_width + kx];
          const double* source = gradient + m * out_plane(g) + y * out_width;
          for (Index x = tap.xs.begin; x < tap.xs.end; ++x) products[x] = std::fma(weight, source[x], products[x]);
        }
        add_tap(w, g.width, {{y, y + 1}, tap.xs, tap.offset_y, tap.offset_x}, y, products, out_width, plane);
      }
    }
}

std::vector<double> depthwise_adjoint(const Convolution& g, std::span<const double> weights,
                                      std::span<const double> gradient, Index batch) {
  const Index multiplier = g.channels_out / g.groups;
  std::vector<double> result(static_cast<std::size_t>(batch * in_elements(g)), 0.0);
  std::vector<double> scratch(static_cast<std::size_t>(g.out_width() * omp_get_max_threads()));
#pragma omp parallel for schedule(static) if (worth_threads(batch * g.multiply_adds()))
  for (Index item = 0; item < batch * g.channels_in; ++item) {
    const Index channel = item % g.channels_in;
    depthwise_plane(g, weights.data() + channel * multiplier * kernel_area(g.window),
                    gradient.data() + item * multiplier * out_plane(g),
                    scratch.data() + omp_get_thread_num() * g.out_width(), result.data() + item * g.height * g.width);
  }
  return result;
}

/// The average's share of each place of the output.
std::vector<double> divided(const Window& window, const Image& image, Divisor divisor, std::span<const double> gradient,
                            Index batch) {
  std::vector<Index> counts = inside_counts(window, image);
  if (divisor == Divisor::window) std::fill(counts.begin(), counts.end(), kernel_area(window));
  for (const Index count : counts) QUANTBOUND_ASSERT(count > 0, count);
  QUANTBOUND_ASSERT(std::ssize(gradient) == batch * image.channels * std::ssize(counts), gradient.size(), batch);
  std::vector<double> result(gradient.begin(), gradient.end());
#pragma omp parallel for schedule(static) if (worth_threads(std::ssize(result)))
  for (Index item = 0; item < batch * image.channels; ++item) {
    double* plane = result.data() + item * std::ssize(counts);
    for (std::size_t place = 0; place < counts.size(); ++place) plane[place] /= static_cast<double>(counts[place]);
  }
  return result;
}

/// Where the first largest element under each place of the window lies in the plane.
void first_largest(const Window& w, const Image& image, const double* plane, std::vector<double>& largest,
                   std::vector<Index>& where) {
  std::fill(largest.begin(), largest.end(), -std::numeric_limits<double>::infinity());
  std::fill(where.begin(), where.end(), Index{-1});
  const Index out_width = w.out_width(image.width);
  for (Index ky = 0; ky < w.kernel_height; ++ky)
    for (Index kx = 0; kx < w.kernel_width; ++kx) {
      const Tap tap = tap_of(w, image.height, image.width, {0, w.out_height(image.height)}, ky, kx);
      for (Index y = tap.ys.begin; y < tap.ys.end; ++y)
        for (Index x = tap.xs.begin; x < tap.xs.end; ++x) {
          const Index at = (y * w.stride_height + tap.offset_y) * image.width + x * w.stride_width + tap.offset_x;
          const auto place = static_cast<std::size_t>(y * out_width + x);
          if (where[place] >= 0 && !(plane[at] > largest[place])) continue;
          largest[place] = plane[at];
          where[place] = at;
        }
    }
}

template <class T>
void add_axis(const Rearrangement& r, std::size_t axis, const T* from, T* to) {
  const Index count = r.count[axis], in_stride = r.in_stride[axis], out_stride = r.out_stride[axis];
  if (axis + 1 < r.count.size()) {
    for (Index i = 0; i < count; ++i) add_axis(r, axis + 1, from + i * out_stride, to + i * in_stride);
  } else {
    for (Index i = 0; i < count; ++i) to[i * in_stride] += from[i * out_stride];
  }
}

Index inputs_of(Index outputs, std::span<const double> weights, std::span<const double> gradient, Index batch) {
  QUANTBOUND_ASSERT(outputs > 0 && std::ssize(weights) % outputs == 0, outputs, weights.size());
  QUANTBOUND_ASSERT(std::ssize(gradient) == batch * outputs, gradient.size(), batch, outputs);
  return std::ssize(weights) / outputs;
}

}  // namespace

std::vector<double> convolve_adjoint(const Convolution& geometry, std::span<const double> weights,
                                     std::span<const double> gradient, Index batch) {
  check(geometry, weights, gradient, batch);
  const Convolution& g = geometry;
  if (g.groups == g.channels_in) return depthwise_adjoint(g, weights, gradient, batch);

  const ConvolutionAdjoint adjoint(g, weights, gradient);
  const Cut& cut = adjoint.cut();
  const Index group_channels = g.channels_in / g.groups;
  const Index runs = (group_channels + cut.channels - 1) / cut.channels,
              blocks = (batch + cut.samples - 1) / cut.samples;
  std::vector<double> result(static_cast<std::size_t>(batch * in_elements(g)), 0.0);
  std::vector<double> scratch(static_cast<std::size_t>(adjoint.scratch_size() * omp_get_max_threads()));
#pragma omp parallel for schedule(static) if (worth_threads(batch * g.multiply_adds()))
  for (Index item = 0; item < blocks * g.groups * runs; ++item) {
    const Index first_sample = item / (g.groups * runs) * cut.samples, first_channel = item % runs * cut.channels;
    adjoint.run({.first_sample = first_sample,
                 .count = std::min(cut.samples, batch - first_sample),
                 .group = item / runs % g.groups,
                 .first_channel = first_channel,
                 .channels = std::min(cut.channels, group_channels - first_channel)},
                scratch.data() + adjoint.scratch_size() * omp_get_thread_num(), result.data());
  }
  return result;
}

std::vector<double> dense_adjoint(Index outputs, std::span<const double> weights, std::span<const double> gradient,
                                  Index batch) {
  constexpr Index block_rows = 192, block_columns = 256, few_rows = 4;
  const Index inputs = inputs_of(outputs, weights, gradient, batch);
  const Index row_blocks = (batch + block_rows - 1) / block_rows;
  const Index column_blocks = (inputs + block_columns - 1) / block_columns;
  std::vector<double> result(static_cast<std::size_t>(batch * inputs), 0.0);
#pragma omp parallel for schedule(static) if (worth_threads(batch * std::ssize(weights)))
  for (Index item = 0; item < row_blocks * column_blocks; ++item) {
    const Index row = item / column_blocks * block_rows, rows = std::min(block_rows, batch - row);
    const Index column = item % column_blocks * block_columns, columns = std::min(block_columns, inputs - column);
    const double* g = gradient.data() + row * outputs;
    double* y = result.data() + row * inputs + column;
    if (rows >= few_rows) {
      detail::add_product({g, rows, outputs, outputs, 1}, {weights.data() + column, outputs, columns, inputs, 1},
                          {y, rows, columns, inputs, 1});
      continue;
    }
    for (Index n = 0; n < rows; ++n)  // too few rows to pack the weights for
      for (Index o = 0; o < outputs; ++o) {
        const double* w = weights.data() + o * inputs + column;
        const double factor = g[n * outputs + o];
        for (Index i = 0; i < columns; ++i) y[n * inputs + i] = std::fma(factor, w[i], y[n * inputs + i]);
      }
  }
  return result;
}

std::vector<double> sum_pool_adjoint(const Window& window, const Image& image, std::span<const double> gradient,
                                     Index batch) {
  const Index out_height = window.out_height(image.height), out_width = window.out_width(image.width);
  QUANTBOUND_ASSERT(std::ssize(gradient) == batch * image.channels * out_height * out_width, gradient.size(), batch);
  std::vector<double> result(static_cast<std::size_t>(batch * image.elements()), 0.0);
#pragma omp parallel for schedule(static) if (worth_threads(batch * image.elements()))
  for (Index item = 0; item < batch * image.channels; ++item) {
    const double* values = gradient.data() + item * out_height * out_width;
    double* plane = result.data() + item * image.pixels();
    for (Index ky = window.kernel_height; ky-- > 0;)
      for (Index kx = window.kernel_width; kx-- > 0;)
        add_tap(window, image.width, tap_of(window, image.height, image.width, {0, out_height}, ky, kx), 0, values,
                out_width, plane);
  }
  return result;
}

std::vector<double> average_pool_adjoint(const Window& window, const Image& image, Divisor divisor,
                                         std::span<const double> gradient, Index batch) {
  return sum_pool_adjoint(window, image, divided(window, image, divisor, gradient, batch), batch);
}

std::vector<double> global_average_pool_adjoint(const Image& image, std::span<const double> gradient, Index batch) {
  const Window whole{.kernel_height = image.height, .kernel_width = image.width};
  return average_pool_adjoint(whole, image, Divisor::window, gradient, batch);
}

std::vector<double> max_pool_adjoint(const Window& window, const Image& image, std::span<const double> input,
                                     std::span<const double> gradient, Index batch) {
  const Index places = window.out_height(image.height) * window.out_width(image.width);
  QUANTBOUND_ASSERT(std::ssize(input) == batch * image.elements(), input.size(), batch);
  QUANTBOUND_ASSERT(std::ssize(gradient) == batch * image.channels * places, gradient.size(), batch);
  for (const Index count : inside_counts(window, image)) QUANTBOUND_ASSERT(count > 0, count);
  std::vector<double> result(static_cast<std::size_t>(batch * image.elements()), 0.0);
#pragma omp parallel if (worth_threads(batch * image.elements()))
  {
    std::vector<double> largest(static_cast<std::size_t>(places));
    std::vector<Index> where(static_cast<std::size_t>(places));
#pragma omp for schedule(static)
    for (Index item = 0; item < batch * image.channels; ++item) {
      first_largest(window, image, input.data() + item * image.pixels(), largest, where);
      double* plane = result.data() + item * image.pixels();
      for (Index place = 0; place < places; ++place)
        plane[where.data()[place]] += gradient.data()[item * places + place];
    }
  }
  return result;
}

void rearrange_adjoint(const Rearrangement& rearrangement, const double* out_gradient, double* in_gradient) {
  const Rearrangement& r = rearrangement;
  if (r.count.empty()) {
    in_gradient[r.in_offset] += out_gradient[r.out_offset];
  } else if (std::find(r.count.begin(), r.count.end(), 0) == r.count.end()) {
    add_axis(r, 0, out_gradient + r.out_offset, in_gradient + r.in_offset);
  }
}

}  // namespace quantbound::tensor
