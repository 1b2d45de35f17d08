/// Samples to measure on: images from .npy, idx or HDF5 files, normalised block by block, and uniform points of a box.
/// A sample is never resized: what does not fit the network is an error that says both shapes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::observe {

using network::Box;
using network::Index;
using network::Shape;

/// How the file orders an image: {height, width, channels}, {channels, height, width}, or one flat row.
enum class Layout { nhwc, nchw, flat };
std::optional<Layout> parse_layout(std::string_view text);

/// Where samples are and how they become inputs: x = (value / scale - mean[c]) / std[c].
struct SampleSpec {
  std::string name;
  std::string images;                 ///< file.npy, an idx file, or file.h5:/dataset
  std::optional<std::string> labels;  ///< integers, one per sample
  Layout layout = Layout::flat;
  double scale = 1.0;
  std::vector<double> mean, std;  ///< empty, one number, or one per channel
  int label_offset = 0;           ///< added to every label (networks with a background class)
};

/// An array from a file: the numbers as stored, row-major.
struct Array {
  Shape shape;
  std::variant<std::vector<std::uint8_t>, std::vector<std::uint16_t>, std::vector<std::int32_t>,
               std::vector<std::int64_t>, std::vector<float>, std::vector<double>>
      values;
  double at(Index i) const;
};

/// Reads .npy (C order), idx, or an HDF5 dataset. Throws core::InputError for anything else.
Array read_array(const std::string& location);

class SampleSet {
 public:
  /// Reads the files of `spec`. Throws core::InputError when they are missing, malformed, of unequal length, or not
  /// finite.
  explicit SampleSet(SampleSpec spec);

  const std::string& name() const { return spec_.name; }
  Index count() const { return images_.shape.front(); }
  bool has_labels() const { return !labels_.empty(); }
  const std::vector<Index>& labels() const { return labels_; }
  /// Throws core::InputError when a sample cannot be the input of a network with this input shape.
  void require_fits(const Shape& input_shape, const std::string& network) const;
  /// Normalised inputs first .. first + count, rounded to float, in the order of `input_shape`.
  std::vector<double> block(const Shape& input_shape, Index first, Index count) const;

 private:
  SampleSpec spec_;
  Array images_;
  std::vector<Index> labels_;
};

/// Points first .. first + count of the uniform sequence in `box` keyed by (seed, stream). Every coordinate is a float
/// inside the box, so that float and double measure at the same point of the domain.
std::vector<double> uniform_points(const Box& box, std::uint64_t seed, std::uint64_t stream, Index first, Index count);

}  // namespace quantbound::observe
