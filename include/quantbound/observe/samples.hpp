/// Samples to measure on: images from .npy, idx or HDF5 files, read and normalised block by block, and uniform points
/// of a box. The file stays on disk: a set holds its labels and what the header says, and reads the rows that are asked
/// for. A sample is never resized: what does not fit the network is an error that says both shapes and what to do.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::observe {

using network::Box;
using network::Index;
using network::Shape;

/// How the file orders an image: {height, width, channels}, {channels, height, width}, or one flat row.
enum class Layout { nhwc, nchw, flat };
std::string_view to_string(Layout layout);
std::optional<Layout> parse_layout(std::string_view text);

/// What a set may be used for: kept apart so that no method is measured on what it was fitted to. Centres of balls may
/// come from any set.
enum class Role { evaluation, calibration };
std::string_view to_string(Role role);
std::optional<Role> parse_role(std::string_view text);

/// The parts of "file.h5:/dataset"; `dataset` is empty where none is named.
struct Location {
  std::string file, dataset;
};
Location split_location(const std::string& location);

/// Where samples are and how they become inputs: x = (value / scale - mean[c]) / std[c].
struct SampleSpec {
  std::string name;
  std::string images;                 ///< file.npy, an idx file, or file.h5:/dataset
  std::optional<std::string> labels;  ///< integers, one per row of the images' file
  Layout layout = Layout::flat;
  double scale = 1.0;
  std::vector<double> mean, std;  ///< empty, one number, or one per channel
  int label_offset = 0;           ///< added to every label (networks with a background class)
  Role role = Role::evaluation;
  Index first_row = 0;
  std::optional<Index> rows;  ///< from first_row on; none: all that follow
};

/// Rows of a file; without a count, all from `first` on.
struct RowRange {
  Index first = 0;
  std::optional<Index> count;
};
/// "rows 3 to 7", "rows from 3 on"
std::string to_string(const RowRange& rows);

/// The rows that two sets take from the same file and dataset, if any. The same file is the same however its path is
/// written; a copy is another file.
std::optional<RowRange> shared_rows(const SampleSpec& one, const SampleSpec& other);

class ArrayFile;
class Normalizer;

/// Copies share the open file. Any number of threads and processes may read .npy and idx files at once; HDF5 is not
/// thread-safe here: sets in HDF5 files are opened, read and closed by one thread of a process at a time.
class SampleSet {
 public:
  /// Opens the files of `spec` and checks all that can be checked before anything is computed: headers against the
  /// sizes of the files, rows, labels, the normalisation, and, of floating-point files, that every number is finite
  /// (one pass in bounded memory). Throws core::InputError.
  explicit SampleSet(SampleSpec spec);

  const std::string& name() const { return spec_.name; }
  const SampleSpec& spec() const { return spec_; }
  Index count() const { return count_; }
  bool has_labels() const { return !labels_.empty(); }
  /// With label_offset added; one per sample.
  const std::vector<Index>& labels() const { return labels_; }

  /// Throws core::InputError when a sample cannot be the input of a network with this input shape.
  void require_fits(const Shape& input_shape, const std::string& network) const;
  /// Throws core::InputError when a label is none of the outputs 0 .. outputs - 1 of a network.
  void require_labels_fit(Index outputs, const std::string& network) const;

  /// Normalised inputs first .. first + count, rounded to float, in the order of `input_shape`: channels last where it
  /// is {height, width, channels}, else channels first. Throws core::InputError where a number is not finite, and
  /// core::IoError where the file has shrunk since it was opened.
  std::vector<double> block(const Shape& input_shape, Index first, Index count) const;

 private:
  SampleSpec spec_;
  std::shared_ptr<const ArrayFile> images_;
  std::shared_ptr<const Normalizer> normalizer_;
  Index count_ = 0;
  std::vector<Index> labels_;
};

/// Points first .. first + count of the uniform sequence in `box` keyed by (seed, stream). Every coordinate is a float
/// inside the box, so that float and double measure at the same point of the domain.
std::vector<double> uniform_points(const Box& box, std::uint64_t seed, std::uint64_t stream, Index first, Index count);

}  // namespace quantbound::observe
