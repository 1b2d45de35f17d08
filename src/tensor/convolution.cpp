#include "quantbound/tensor/convolution.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include <omp.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/worth_threads.hpp"

#include "product.hpp"
#include "window_range.hpp"

namespace quantbound::tensor {

namespace {

using detail::places_inside;
using detail::Range;

void check(const Convolution& geometry, std::span<const double> weights, std::span<const double> bias,
           std::span<const double> input, Index batch) {
  QUANTBOUND_ASSERT(geometry.groups > 0 && geometry.channels_in % geometry.groups == 0 &&
                        geometry.channels_out % geometry.groups == 0,
                    geometry.channels_in, geometry.channels_out, geometry.groups);
  QUANTBOUND_ASSERT(std::ssize(weights) == geometry.weight_count(), weights.size(), geometry.weight_count());
  QUANTBOUND_ASSERT(bias.empty() || std::ssize(bias) == geometry.channels_out, bias.size(), geometry.channels_out);
  QUANTBOUND_ASSERT(std::ssize(input) == batch * geometry.channels_in * geometry.height * geometry.width, input.size(),
                    batch);
}

/// dst[p] = source[p * stride] for `count` places.
void gather(const double* source, Index stride, double* dst, Index count) {
  if (stride == 1) {
    std::copy_n(source, count, dst);
  } else {
    for (Index p = 0; p < count; ++p) dst[p] = source[p * stride];
  }
}

/// Output rows [begin, end) of one group as a matrix: one row per tap and channel, one column per place.
void im2col(const Convolution& g, const double* image, Range rows, double* columns) {
  const Window& w = g.window;
  const Index out_width = g.out_width();
  for (Index channel = 0; channel < g.channels_in / g.groups; ++channel) {
    const double* plane = image + channel * g.height * g.width;
    for (Index ky = 0; ky < w.kernel_height; ++ky) {
      for (Index kx = 0; kx < w.kernel_width; ++kx) {
        const Index offset_x = kx * w.dilation_width - w.pad_left;
        const Range inside = places_inside(offset_x, w.stride_width, g.width, out_width);
        for (Index y = rows.begin; y < rows.end; ++y, columns += out_width) {
          const Index in_y = y * w.stride_height + ky * w.dilation_height - w.pad_top;
          if (in_y < 0 || in_y >= g.height) {
            std::fill_n(columns, out_width, 0.0);
            continue;
          }
          std::fill_n(columns, inside.begin, 0.0);
          gather(plane + in_y * g.width + inside.begin * w.stride_width + offset_x, w.stride_width,
                 columns + inside.begin, inside.end - inside.begin);
          std::fill(columns + inside.end, columns + out_width, 0.0);
        }
      }
    }
  }
}

bool is_pointwise(const Convolution& g) {
  const Window& w = g.window;
  return w.kernel_height == 1 && w.kernel_width == 1 && w.stride_height == 1 && w.stride_width == 1 && w.pad_top == 0 &&
         w.pad_left == 0 && w.pad_bottom == 0 && w.pad_right == 0;
}

/// One output channel of a depthwise layer: the taps in order, each added along whole rows.
void depthwise_plane(const Convolution& g, const double* kernel, double bias, const double* plane, double* out) {
  const Window& w = g.window;
  const Index out_height = g.out_height(), out_width = g.out_width();
  std::fill_n(out, out_height * out_width, bias);
  for (Index ky = 0; ky < w.kernel_height; ++ky) {
    const Index offset_y = ky * w.dilation_height - w.pad_top;
    const Range ys = places_inside(offset_y, w.stride_height, g.height, out_height);
    for (Index kx = 0; kx < w.kernel_width; ++kx) {
      const Index offset_x = kx * w.dilation_width - w.pad_left;
      const Range xs = places_inside(offset_x, w.stride_width, g.width, out_width);
      const double weight = kernel[ky * w.kernel_width + kx];
      for (Index y = ys.begin; y < ys.end; ++y) {
        const double* source = plane + (y * w.stride_height + offset_y) * g.width + offset_x;
        double* row = out + y * out_width;
        if (w.stride_width == 1) {
          for (Index x = xs.begin; x < xs.end; ++x) row[x] = std::fma(weight, source[x], row[x]);
        } else {
          for (Index x = xs.begin; x < xs.end; ++x) row[x] = std::fma(weight, source[x * w.stride_width], row[x]);
        }
      }
    }
  }
}

/// Output rows taken at once: enough columns to keep the product busy, few enough to stay in the second-level cache.
Index rows_at_once(const Convolution& g) {
  constexpr Index columns = 256, elements = Index{1} << 16;
  const Index width = std::max<Index>(1, g.out_width());
  const Index rows = std::max((columns + width - 1) / width, elements / (std::max<Index>(1, g.fan_in()) * width));
  return std::clamp<Index>(rows, 1, std::max<Index>(1, g.out_height()));
}

/// Output rows [begin, end) of all channels of one sample.
void convolve_rows(const Convolution& g, std::span<const double> weights, std::span<const double> bias,
                   const double* image, Range rows, double* output, double* scratch) {
  const Index channels = g.channels_out / g.groups, taps = g.fan_in(), out_plane = g.out_height() * g.out_width();
  const Index places = (rows.end - rows.begin) * g.out_width();
  for (Index group = 0; group < g.groups; ++group) {
    const double* group_image = image + group * (g.channels_in / g.groups) * g.height * g.width;
    double* out = output + group * channels * out_plane + rows.begin * g.out_width();
    for (Index c = 0; c < channels; ++c)
      std::fill_n(out + c * out_plane, places,
                  bias.empty() ? 0.0 : bias[static_cast<std::size_t>(group * channels + c)]);
    const bool pointwise = is_pointwise(g);
    if (!pointwise) im2col(g, group_image, rows, scratch);
    const Index stride = pointwise ? g.height * g.width : places;
    const double* columns = pointwise ? group_image + rows.begin * g.width : scratch;
    detail::add_product({weights.data() + group * channels * taps, channels, taps, taps, 1},
                        {columns, taps, places, stride, 1}, {out, channels, places, out_plane, 1});
  }
}

/// A convolution in pieces that threads take: blocks of rows of a sample or, if channels are apart, single channels.
class Pieces {
 public:
  Pieces(const Convolution& geometry, std::span<const double> weights, std::span<const double> bias,
         std::span<const double> input, Index batch, std::span<double> output)
      : g_(geometry),
        weights_(weights),
        bias_(bias),
        input_(input),
        output_(output),
        batch_(batch),
        depthwise_(geometry.groups == geometry.channels_in),
        rows_(rows_at_once(geometry)) {
    check(g_, weights, bias, input, batch);
    const Index elements = g_.channels_out * g_.out_height() * g_.out_width();
    QUANTBOUND_ASSERT(std::ssize(output) == batch * elements, output.size(), batch, elements);
  }

  Index count() const { return batch_ * per_sample(); }
  Index multiply_adds() const { return batch_ * g_.multiply_adds(); }
  Index scratch_size() const { return depthwise_ || is_pointwise(g_) ? 0 : g_.fan_in() * rows_ * g_.out_width(); }

  /// `scratch` has scratch_size() numbers.
  void run(Index piece, double* scratch) const {
    const Index sample = piece / per_sample(), part = piece % per_sample();
    const Index in_plane = g_.height * g_.width, out_plane = g_.out_height() * g_.out_width();
    const double* image = input_.data() + sample * g_.channels_in * in_plane;
    double* out = output_.data() + sample * g_.channels_out * out_plane;
    if (depthwise_) {
      const double bias = bias_.empty() ? 0.0 : bias_[static_cast<std::size_t>(part)];
      depthwise_plane(g_, weights_.data() + part * g_.fan_in(), bias,
                      image + part / (g_.channels_out / g_.groups) * in_plane, out + part * out_plane);
    } else {
      const Index first = part * rows_;
      convolve_rows(g_, weights_, bias_, image, {first, std::min(first + rows_, g_.out_height())}, out, scratch);
    }
  }

 private:
  Index per_sample() const { return depthwise_ ? g_.channels_out : (g_.out_height() + rows_ - 1) / rows_; }

  const Convolution& g_;
  std::span<const double> weights_, bias_, input_;
  std::span<double> output_;
  Index batch_;
  bool depthwise_;
  Index rows_;  ///< of a block
};

using Scratch = std::unique_ptr<double[]>;

/// `size` numbers for each thread.
Scratch scratch_for_threads(Index size) {
  return std::make_unique_for_overwrite<double[]>(static_cast<std::size_t>(size * omp_get_max_threads()));
}

}  // namespace

void convolve(const Convolution& geometry, std::span<const double> weights, std::span<const double> bias,
              std::span<const double> input, Index batch, std::span<double> output) {
  const Pieces pieces(geometry, weights, bias, input, batch, output);
  const Index size = pieces.scratch_size();
  const Scratch scratch = scratch_for_threads(size);
#pragma omp parallel for schedule(static) if (worth_threads(pieces.multiply_adds()))
  for (Index piece = 0; piece < pieces.count(); ++piece) {
    pieces.run(piece, scratch.get() + size * omp_get_thread_num());
  }
}

void convolve(std::span<const ConvolutionTask> tasks) {
  std::vector<Pieces> work;
  std::vector<Index> ends;  // of the numbers of each task's pieces
  Index size = 0, multiply_adds = 0;
  for (const ConvolutionTask& task : tasks) {
    work.emplace_back(task.geometry, task.weights, std::span<const double>(), task.input, task.batch, task.output);
    ends.push_back((ends.empty() ? 0 : ends.back()) + work.back().count());
    size = std::max(size, work.back().scratch_size());
    multiply_adds += work.back().multiply_adds();
  }
  const Scratch scratch = scratch_for_threads(size);
#pragma omp parallel for schedule(dynamic) if (worth_threads(multiply_adds))
  for (Index piece = 0; piece < (ends.empty() ? 0 : ends.back()); ++piece) {
    const auto which = std::upper_bound(ends.begin(), ends.end(), piece) - ends.begin();
    const Pieces& pieces = work.data()[which];
    pieces.run(piece - (ends.data()[which] - pieces.count()), scratch.get() + size * omp_get_thread_num());
  }
}

std::vector<double> convolve(const Convolution& geometry, std::span<const double> weights, std::span<const double> bias,
                             std::span<const double> input, Index batch) {
  std::vector<double> output(
      static_cast<std::size_t>(batch * geometry.channels_out * geometry.out_height() * geometry.out_width()));
  convolve(geometry, weights, bias, input, batch, output);
  return output;
}

std::vector<double> convolve_reference(const Convolution& geometry, std::span<const double> weights,
                                       std::span<const double> bias, std::span<const double> input, Index batch) {
  check(geometry, weights, bias, input, batch);
  const Convolution& g = geometry;
  const Window& w = g.window;
  const Index in_group = g.channels_in / g.groups, out_group = g.channels_out / g.groups;
  std::vector<double> output;
  output.reserve(static_cast<std::size_t>(batch * g.channels_out * g.out_height() * g.out_width()));
  for (Index n = 0; n < batch; ++n)
    for (Index o = 0; o < g.channels_out; ++o)
      for (Index y = 0; y < g.out_height(); ++y)
        for (Index x = 0; x < g.out_width(); ++x) {
          double sum = bias.empty() ? 0.0 : bias[static_cast<std::size_t>(o)];
          for (Index i = 0; i < in_group; ++i)
            for (Index ky = 0; ky < w.kernel_height; ++ky)
              for (Index kx = 0; kx < w.kernel_width; ++kx) {
                const Index in_y = y * w.stride_height - w.pad_top + ky * w.dilation_height;
                const Index in_x = x * w.stride_width - w.pad_left + kx * w.dilation_width;
                if (in_y < 0 || in_y >= g.height || in_x < 0 || in_x >= g.width) continue;
                const Index channel = o / out_group * in_group + i;
                const Index at = ((n * g.channels_in + channel) * g.height + in_y) * g.width + in_x;
                const Index tap = ((o * in_group + i) * w.kernel_height + ky) * w.kernel_width + kx;
                sum = std::fma(weights[static_cast<std::size_t>(tap)], input[static_cast<std::size_t>(at)], sum);
              }
          output.push_back(sum);
        }
  return output;
}

}  // namespace quantbound::tensor
