#include "normalizer.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

namespace quantbound::observe {

namespace {

using core::InputError;

/// Where the number of a channel and pixel lies: channel * `channel` + pixel * `pixel`.
struct Strides {
  std::size_t channel, pixel;
};

Strides strides(const Image& image, ChannelOrder order) {
  if (order == ChannelOrder::first) return {.channel = static_cast<std::size_t>(image.pixels()), .pixel = 1};
  return {.channel = 1, .pixel = static_cast<std::size_t>(image.channels)};
}

Shape sample_shape(const ArrayFile& samples) { return {samples.shape().begin() + 1, samples.shape().end()}; }

Image checked_image(const ArrayFile& samples, Layout layout) {
  const auto axes = samples.shape().size();
  if (layout == Layout::flat || axes == 3 || axes == 4) return image_of(sample_shape(samples), layout);
  throw InputError(fmt::format("layout = \"{}\" needs an array of 3 or 4 axes, samples first; this one is {}: use "
                               "layout = \"flat\"",
                               to_string(layout), tensor::to_string(samples.shape())),
                   samples.location());
}

/// One number per channel, from none (the neutral element), one for all, or one each.
std::vector<double> per_channel(const std::vector<double>& given, double neutral, std::string_view key,
                                const SampleSpec& spec, const Image& image) {
  const auto channels = static_cast<std::size_t>(image.channels);
  if (given.empty()) return std::vector<double>(channels, neutral);
  if (given.size() == 1) return std::vector<double>(channels, given.front());
  if (given.size() == channels) return given;
  throw InputError(
      fmt::format("`{}` of samples '{}' has {} numbers for images of {} channel{} (layout = \"{}\"); give one, or one "
                  "per channel{}",
                  key, spec.name, given.size(), channels, channels == 1 ? "" : "s", to_string(spec.layout),
                  spec.layout == Layout::flat ? "; images with channels need layout = \"NHWC\" or \"NCHW\"" : ""),
      spec.images);
}

void require_normalisation(const SampleSpec& spec) {
  const auto fail = [&](std::string_view what) {
    throw InputError(fmt::format("{} (samples '{}')", what, spec.name), spec.images);
  };
  const auto finite = [](double x) { return std::isfinite(x); };
  const auto positive = [](double x) { return std::isfinite(x) && x > 0.0; };
  if (!positive(spec.scale)) fail("`scale` must be positive and finite: values are divided by it");
  if (!std::ranges::all_of(spec.std, positive)) fail("`std` must be positive and finite: values are divided by it");
  if (!std::ranges::all_of(spec.mean, finite)) fail("`mean` must be finite");
}

template <class T>
T element(std::span<const std::byte> raw, std::size_t i) {
  T value;
  std::memcpy(&value, raw.data() + i * sizeof(T), sizeof(T));
  return value;
}

}  // namespace

Image image_of(const Shape& sample, Layout layout) {
  if (layout == Layout::flat) return {.channels = 1, .height = 1, .width = tensor::elements(sample)};
  if (sample.size() == 2) return {.channels = 1, .height = sample[0], .width = sample[1]};
  if (layout == Layout::nhwc) return {.channels = sample[2], .height = sample[0], .width = sample[1]};
  return {.channels = sample[0], .height = sample[1], .width = sample[2]};
}

Normalizer::Normalizer(const SampleSpec& spec, const ArrayFile& samples)
    : image_(checked_image(samples, spec.layout)),
      stored_(spec.layout == Layout::nhwc ? ChannelOrder::last : ChannelOrder::first),
      type_(samples.type()),
      scale_(spec.scale),
      mean_(per_channel(spec.mean, 0.0, "mean", spec, image_)),
      std_(per_channel(spec.std, 1.0, "std", spec, image_)) {
  require_normalisation(spec);
  if (type_ != ElementType::u8) return;
  for (Index c = 0; c < image_.channels; ++c) {
    for (int value = 0; value < 256; ++value) table_.push_back(static_cast<float>(normalised(value, c)));
  }
}

template <class T>
double Normalizer::normalised(T value, Index channel) const {
  const auto c = static_cast<std::size_t>(channel);
  return (static_cast<double>(value) / scale_ - mean_[c]) / std_[c];
}

void Normalizer::apply(std::span<const std::byte> raw, ChannelOrder order, std::span<float> into) const {
  with_type(type_, [&]<class T>(T) { apply_as<T>(raw, order, into); });
}

template <class T>
void Normalizer::apply_as(std::span<const std::byte> raw, ChannelOrder order, std::span<float> into) const {
  QUANTBOUND_ASSERT(raw.size() == into.size() * sizeof(T) && into.size() == static_cast<std::size_t>(image_.size()),
                    raw.size(), into.size());
  const Strides from = strides(image_, stored_), to = strides(image_, order);
  const auto channels = static_cast<std::size_t>(image_.channels), pixels = static_cast<std::size_t>(image_.pixels());
  for (std::size_t c = 0; c < channels; ++c) {
    const std::byte* source = raw.data() + c * from.channel * sizeof(T);
    float* target = into.data() + c * to.channel;
    if constexpr (std::is_same_v<T, std::uint8_t>) {
      const float* table = table_.data() + c * 256;
      for (std::size_t p = 0; p < pixels; ++p) {
        target[p * to.pixel] = table[std::to_integer<std::size_t>(source[p * from.pixel])];
      }
    } else {
      const double scale = scale_, mean = mean_[c], deviation = std_[c];
      for (std::size_t p = 0; p < pixels; ++p) {
        T value;
        std::memcpy(&value, source + p * from.pixel * sizeof(T), sizeof(T));
        target[p * to.pixel] = static_cast<float>((static_cast<double>(value) / scale - mean) / deviation);
      }
    }
  }
}

std::string Normalizer::describe_not_finite(std::span<const std::byte> raw) const {
  const Strides from = strides(image_, stored_);
  const auto channels = static_cast<std::size_t>(image_.channels);
  const auto find = [&]<class T>(T) -> std::string {
    for (std::size_t i = 0; i < raw.size() / sizeof(T); ++i) {
      const auto channel = static_cast<Index>(i / from.channel % channels);
      const auto value = element<T>(raw, i);
      const double x = static_cast<double>(value);
      if (!std::isfinite(x)) return fmt::format("element {} is not a finite number but {}", i, x);
      if (std::abs(normalised(value, channel)) > static_cast<double>(std::numeric_limits<float>::max())) {
        return fmt::format("element {} = {} is too large for a float after normalisation; check scale, mean and std", i,
                           x);
      }
    }
    return {};
  };
  return with_type(type_, find);
}

bool all_finite(std::span<const float> values) {
  constexpr std::uint32_t exponent = 0x7f800000U;
  std::uint32_t found = 0;  // no early exit: the loop is vectorised
  for (const float x : values)
    found |= static_cast<std::uint32_t>((std::bit_cast<std::uint32_t>(x) & exponent) == exponent);
  return found == 0;
}

/// Apart from the loops that round and not inlined: GCC 12 drops the conversion to float and back where it sees both.
[[gnu::noinline]] void widen(std::span<const float> from, std::span<double> into) {
  for (std::size_t i = 0; i < from.size(); ++i) into[i] = static_cast<double>(from[i]);
}

}  // namespace quantbound::observe
