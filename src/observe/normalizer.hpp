/// From a sample as a file stores it to the input of a network: x = (value / scale - mean[c]) / std[c] in double,
/// rounded to float, its channels first or last. Nothing is resized. Used by the sources of this folder only.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "quantbound/observe/samples.hpp"

#include "array_file.hpp"

namespace quantbound::observe {

struct Image {
  Index channels, height, width;
  Index pixels() const { return height * width; }
  Index size() const { return channels * pixels(); }
};

/// The image that a sample of this shape is.
/// @pre the layout is flat or the shape has 2 or 3 axes
Image image_of(const Shape& sample, Layout layout);

enum class ChannelOrder { first, last };

class Normalizer {
 public:
  /// `samples` is the array of all samples. Throws core::InputError where layout, scale, mean or std do not fit it.
  Normalizer(const SampleSpec& spec, const ArrayFile& samples);

  const Image& image() const { return image_; }
  /// One sample: `raw` as ArrayFile::read gives it. What is not finite is written as it comes.
  void apply(std::span<const std::byte> raw, ChannelOrder order, std::span<float> into) const;
  /// Why `raw` does not become finite numbers, for errors; empty where it does.
  std::string describe_not_finite(std::span<const std::byte> raw) const;

 private:
  template <class T>
  double normalised(T value, Index channel) const;
  template <class T>
  void apply_as(std::span<const std::byte> raw, ChannelOrder order, std::span<float> into) const;

  Image image_;
  ChannelOrder stored_;
  ElementType type_;
  double scale_;
  std::vector<double> mean_, std_;  ///< one per channel
  std::vector<float> table_;        ///< of bytes: channel by channel, what each of the 256 becomes
};

/// Whether no number is infinite or NaN.
bool all_finite(std::span<const float> values);
/// `from` as double, number by number.
void widen(std::span<const float> from, std::span<double> into);

}  // namespace quantbound::observe
