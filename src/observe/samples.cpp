#include "quantbound/observe/samples.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"

namespace quantbound::observe {

namespace {

using core::InputError;

struct Image {
  Index channels, height, width;
};

/// The image a sample of the file is, whatever its layout.
Image image_of(const Shape& file_shape, Layout layout) {
  const Shape sample(file_shape.begin() + 1, file_shape.end());
  if (layout == Layout::flat) return {.channels = 1, .height = 1, .width = tensor::elements(sample)};
  if (sample.size() == 2) return {.channels = 1, .height = sample[0], .width = sample[1]};
  if (layout == Layout::nhwc) return {.channels = sample[2], .height = sample[0], .width = sample[1]};
  return {.channels = sample[0], .height = sample[1], .width = sample[2]};
}

Index offset_in_file(const Image& image, Layout layout, Index c, Index y, Index x) {
  return layout == Layout::nhwc ? (y * image.width + x) * image.channels + c : (c * image.height + y) * image.width + x;
}

/// One number per channel, from none (the neutral element), one for all, or one each.
std::vector<double> per_channel(const std::vector<double>& given, Index channels, double neutral) {
  if (given.empty()) return std::vector<double>(static_cast<std::size_t>(channels), neutral);
  if (given.size() == 1) return std::vector<double>(static_cast<std::size_t>(channels), given.front());
  return given;
}

void require_channels(const std::vector<double>& given, Index channels, std::string_view what, const SampleSpec& spec) {
  if (given.size() > 1 && static_cast<Index>(given.size()) != channels) {
    throw InputError(
        fmt::format("`{}` of samples '{}' has {} numbers for images of {} channels; give one, or one per channel", what,
                    spec.name, given.size(), channels),
        spec.images);
  }
}

std::vector<Index> read_labels(const SampleSpec& spec, Index count) {
  if (!spec.labels) return {};
  const Array array = read_array(*spec.labels);
  if (tensor::elements(array.shape) != count) {
    throw InputError(fmt::format("{} labels for {} images of samples '{}'; both files must describe the same samples",
                                 tensor::elements(array.shape), count, spec.name),
                     *spec.labels);
  }
  std::vector<Index> labels(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) {
    labels[static_cast<std::size_t>(i)] = static_cast<Index>(array.at(i)) + spec.label_offset;
  }
  return labels;
}

void require_finite(const Array& array, const std::string& location) {
  const Index size = tensor::elements(array.shape);
  for (Index i = 0; i < size; ++i) {
    if (!std::isfinite(array.at(i))) {
      throw InputError(fmt::format("element {} is not a finite number; remove or repair the sample", i), location);
    }
  }
}

}  // namespace

std::optional<Layout> parse_layout(std::string_view text) {
  if (text == "NHWC") return Layout::nhwc;
  if (text == "NCHW") return Layout::nchw;
  if (text == "flat") return Layout::flat;
  return std::nullopt;
}

double Array::at(Index i) const {
  return std::visit([i](const auto& v) { return static_cast<double>(v[static_cast<std::size_t>(i)]); }, values);
}

SampleSet::SampleSet(SampleSpec spec) : spec_(std::move(spec)), images_(read_array(spec_.images)) {
  if (images_.shape.empty() || images_.shape.front() == 0) throw InputError("no samples in the file", spec_.images);
  const auto axes = images_.shape.size();
  if (spec_.layout != Layout::flat && axes != 3 && axes != 4) {
    throw InputError(fmt::format("an image layout needs an array of 3 or 4 axes, this one is {}; use layout = \"flat\"",
                                 tensor::to_string(images_.shape)),
                     spec_.images);
  }
  if (std::holds_alternative<std::vector<float>>(images_.values) ||
      std::holds_alternative<std::vector<double>>(images_.values)) {
    require_finite(images_, spec_.images);
  }
  const Image image = image_of(images_.shape, spec_.layout);
  require_channels(spec_.mean, image.channels, "mean", spec_);
  require_channels(spec_.std, image.channels, "std", spec_);
  labels_ = read_labels(spec_, count());
}

void SampleSet::require_fits(const Shape& input_shape, const std::string& network) const {
  const Image image = image_of(images_.shape, spec_.layout);
  const Index size = image.channels * image.height * image.width;
  const bool same_image = input_shape == Shape{image.channels, image.height, image.width} ||
                          input_shape == Shape{image.height, image.width, image.channels};
  const bool one_row = spec_.layout == Layout::flat || image.channels == 1;  // no order of channels to get wrong
  if (tensor::elements(input_shape) == size && (same_image || one_row)) return;
  throw InputError(
      fmt::format("samples '{}' of shape {} do not fit network '{}' with input {}; quantbound does not resize: "
                  "name the samples that fit in the network's `samples` key",
                  spec_.name, tensor::to_string(Shape(images_.shape.begin() + 1, images_.shape.end())), network,
                  tensor::to_string(input_shape)),
      spec_.images);
}

std::vector<double> SampleSet::block(const Shape& input_shape, Index first, Index count) const {
  QUANTBOUND_ASSERT(first >= 0 && count >= 0 && first + count <= this->count(), first, count);
  const Image image = image_of(images_.shape, spec_.layout);
  const Index size = image.channels * image.height * image.width;
  const std::vector<double> mean = per_channel(spec_.mean, image.channels, 0.0);
  const std::vector<double> deviation = per_channel(spec_.std, image.channels, 1.0);
  const bool keeps_channels_last = spec_.layout == Layout::nhwc && image.channels > 1 && input_shape.size() == 3 &&
                                   input_shape == Shape{image.height, image.width, image.channels};
  std::vector<double> inputs(static_cast<std::size_t>(count * size));
  for (Index n = 0; n < count; ++n) {
    for (Index c = 0; c < image.channels; ++c) {
      for (Index y = 0; y < image.height; ++y) {
        for (Index x = 0; x < image.width; ++x) {
          const double raw = images_.at((first + n) * size + offset_in_file(image, spec_.layout, c, y, x));
          const auto channel = static_cast<std::size_t>(c);
          const double value = (raw / spec_.scale - mean[channel]) / deviation[channel];
          const Index target = offset_in_file(image, keeps_channels_last ? Layout::nhwc : Layout::nchw, c, y, x);
          inputs[static_cast<std::size_t>(n * size + target)] = static_cast<double>(static_cast<float>(value));
        }
      }
    }
  }
  return inputs;
}

std::vector<double> uniform_points(const Box& box, std::uint64_t seed, std::uint64_t stream, Index first, Index count) {
  const core::RandomStream random(seed, "uniform", stream);
  const std::size_t size = box.low.size();
  std::vector<double> points(static_cast<std::size_t>(count) * size);
  for (std::size_t k = 0; k < points.size(); ++k) {
    const double low = box.low[k % size], high = box.high[k % size];
    const auto index = static_cast<std::uint64_t>(first) * size + k;
    const double value = low + random.uniform(index) * (high - low);
    float rounded = static_cast<float>(value);
    if (static_cast<double>(rounded) < low) rounded = std::nextafter(rounded, HUGE_VALF);
    if (static_cast<double>(rounded) > high) rounded = std::nextafter(rounded, -HUGE_VALF);
    const auto inside = static_cast<double>(rounded);
    // A box thinner than the spacing of floats holds none: then the double point itself is taken.
    points[k] = inside >= low && inside <= high ? inside : std::clamp(value, low, high);
  }
  return points;
}

}  // namespace quantbound::observe
