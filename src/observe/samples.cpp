#include "quantbound/observe/samples.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"

#include "array_file.hpp"
#include "normalizer.hpp"

namespace quantbound::observe {

namespace {

using core::InputError;

/// Bytes read at a time: few enough to stay in a cache, many enough that a call to the system does not count.
constexpr std::size_t piece_bytes = std::size_t{1} << 20;

/// use(i, bytes) for the raw rows first + i of the file, 0 <= i < count, one by one in their order, in bounded memory.
template <class Use>
void for_each_row(const ArrayFile& file, Index first, Index count, const Use& use) {
  const Index piece = std::max<Index>(1, static_cast<Index>(piece_bytes / file.row_bytes()));
  std::vector<std::byte> raw(static_cast<std::size_t>(std::min(piece, count)) * file.row_bytes());
  for (Index done = 0; done < count; done += piece) {
    const Index now = std::min(piece, count - done);
    const std::span<std::byte> rows(raw.data(), static_cast<std::size_t>(now) * file.row_bytes());
    file.read(first + done, now, rows);
    for (Index i = 0; i < now; ++i) {
      use(done + i, rows.subspan(static_cast<std::size_t>(i) * file.row_bytes(), file.row_bytes()));
    }
  }
}

/// use(i, input) for the normalised rows. Throws core::InputError for what is not finite.
template <class Use>
void for_each_input(const ArrayFile& file, const Normalizer& normalizer, ChannelOrder order, Index first, Index count,
                    const Use& use) {
  std::vector<float> input(static_cast<std::size_t>(normalizer.image().size()));
  for_each_row(file, first, count, [&](Index i, std::span<const std::byte> raw) {
    normalizer.apply(raw, order, input);
    if (!all_finite(input)) {
      throw InputError(fmt::format("row {}: {}", first + i, normalizer.describe_not_finite(raw)), file.location());
    }
    use(i, std::span<const float>(input));
  });
}

/// One past the last row; the largest number where there is no end.
Index end_of(const RowRange& rows) {
  Index end = 0;
  const bool endless = !rows.count || __builtin_add_overflow(rows.first, *rows.count, &end);
  return endless ? std::numeric_limits<Index>::max() : end;
}

/// How many rows the set takes.
Index checked_count(const SampleSpec& spec, const ArrayFile& file) {
  const Index rows = file.rows();
  const bool inside = spec.first_row >= 0 && spec.first_row < rows &&
                      (!spec.rows || (*spec.rows > 0 && *spec.rows <= rows - spec.first_row));
  if (inside) return spec.rows.value_or(rows - spec.first_row);
  throw InputError(fmt::format("samples '{}' take {}, but the file has {} rows, counted from 0", spec.name,
                               to_string(RowRange{.first = spec.first_row, .count = spec.rows}), rows),
                   spec.images);
}

/// A label of any type that holds whole numbers.
template <class T>
Index whole(T stored, Index row, const std::string& location) {
  constexpr double largest = 0x1p53;
  const auto value = static_cast<double>(stored);
  if (std::abs(value) <= largest && std::trunc(value) == value) return static_cast<Index>(value);
  throw InputError(fmt::format("label {} of row {} is not a whole number; labels are class indices", value, row),
                   location);
}

std::vector<Index> read_labels(const SampleSpec& spec, const ArrayFile& images, Index count) {
  if (!spec.labels) return {};
  const auto file = open_array(*spec.labels);
  const Index found = file->rows() * file->row_elements();
  if (file->rows() != images.rows() || file->row_elements() != 1) {
    throw InputError(fmt::format("{} labels for {} images of samples '{}': the array is {}; labels are one class index "
                                 "for every row of the images' file{}",
                                 found, images.rows(), spec.name, tensor::to_string(file->shape()),
                                 file->rows() == images.rows() ? " (of one-hot rows take numpy.argmax)" : ""),
                     *spec.labels);
  }
  std::vector<Index> labels;
  for_each_row(*file, spec.first_row, count, [&](Index i, std::span<const std::byte> raw) {
    with_type(file->type(), [&]<class T>(T value) {
      std::memcpy(&value, raw.data(), sizeof(T));
      labels.push_back(whole(value, spec.first_row + i, *spec.labels) + spec.label_offset);
    });
  });
  return labels;
}

// ------------------------------------------------------------------------ what to do about samples that do not fit

/// Whether an input of a network is an image like this, its channels first or last.
bool is_image(const Shape& input, const Image& image) {
  return input == Shape{image.channels, image.height, image.width} ||
         input == Shape{image.height, image.width, image.channels};
}

/// The image that a network with this input takes, channels first or last, whichever is nearer to what there is.
Image wanted_image(const Shape& input, const Image& have) {
  const Image first{.channels = input[0], .height = input[1], .width = input[2]};
  const Image last{.channels = input[2], .height = input[0], .width = input[1]};
  if (first.channels == have.channels || last.channels == have.channels) {
    return first.channels == have.channels ? first : last;
  }
  return first.channels <= last.channels ? first : last;
}

Shape without_ones(Shape shape) {
  std::erase(shape, 1);
  return shape;
}

/// Whether a flat sample of several axes has them in another order than the input: read as they lie in the file, its
/// numbers would be scrambled.
bool has_other_axes(const Shape& sample, const Shape& input) {
  const Shape found = without_ones(sample), wanted = without_ones(input);
  return found.size() > 1 && wanted.size() > 1 && found != wanted;
}

/// As many numbers, but in another order.
std::string order_remedy(const Shape& sample, const Shape& input) {
  if (input.size() == 1) {
    return "the network takes a flat row, where channels have no known order: layout = \"flat\" takes the numbers as "
           "they lie in the file";
  }
  for (const Layout other : {Layout::nhwc, Layout::nchw}) {
    if (sample.size() == 3 && is_image(input, image_of(sample, other))) {
      return fmt::format("they would with layout = \"{}\"", to_string(other));
    }
  }
  return "the axes have another order: numpy.transpose the array, or take another layout";
}

std::string size_remedy(const SampleSpec& spec, const Image& have, const Shape& input) {
  const std::string_view otherwise = "or name the samples that fit in the network's `samples` key";
  if (input.size() != 3 || spec.layout == Layout::flat) {
    return fmt::format(
        "{} numbers per sample where the network takes {}; quantbound does not resize: make the samples "
        "as the network was trained, {}",
        have.size(), tensor::elements(input), otherwise);
  }
  const Image want = wanted_image(input, have);
  if (want.height != have.height || want.width != have.width) {
    return fmt::format(
        "quantbound does not resize: do it as in the training of the network, e.g. "
        "numpy.stack([numpy.asarray(PIL.Image.fromarray(image).resize(({}, {}))) for image in images]), {}",
        want.width, want.height, otherwise);
  }
  return fmt::format("the images have {} channel{}, the network takes {}: convert them, e.g. {}, {}", have.channels,
                     have.channels == 1 ? "" : "s", want.channels,
                     want.channels == 1
                         ? "with PIL.Image.fromarray(image).convert('L')"
                         : fmt::format("with numpy.repeat(images[..., None], {}, axis=-1)", want.channels),
                     otherwise);
}

}  // namespace

std::string_view to_string(Layout layout) {
  switch (layout) {
    case Layout::nhwc:
      return "NHWC";
    case Layout::nchw:
      return "NCHW";
    case Layout::flat:
      return "flat";
  }
  return "?";
}

std::optional<Layout> parse_layout(std::string_view text) {
  for (const Layout layout : {Layout::nhwc, Layout::nchw, Layout::flat}) {
    if (to_string(layout) == text) return layout;
  }
  return std::nullopt;
}

std::string_view to_string(Role role) { return role == Role::evaluation ? "evaluation" : "calibration"; }

std::optional<Role> parse_role(std::string_view text) {
  for (const Role role : {Role::evaluation, Role::calibration}) {
    if (to_string(role) == text) return role;
  }
  return std::nullopt;
}

std::string to_string(const RowRange& rows) {
  if (!rows.count) return rows.first == 0 ? "all rows" : fmt::format("the rows from {} on", rows.first);
  if (*rows.count == 1) return fmt::format("row {}", rows.first);
  if (*rows.count < 1) return "no rows";
  return fmt::format("rows {} to {}", rows.first, end_of(rows) - 1);
}

std::optional<RowRange> shared_rows(const SampleSpec& one, const SampleSpec& other) {
  const Location a = split_location(one.images), b = split_location(other.images);
  const auto dataset = [](const Location& l) { return std::filesystem::path(l.dataset).lexically_normal(); };
  std::error_code failure;  // a file that does not exist is the same as no other
  if (!std::filesystem::equivalent(a.file, b.file, failure) || failure || dataset(a) != dataset(b)) return std::nullopt;
  const RowRange rows{.first = one.first_row, .count = one.rows}, others{.first = other.first_row, .count = other.rows};
  const Index first = std::max(rows.first, others.first), last = std::min(end_of(rows), end_of(others));
  if (first >= last) return std::nullopt;
  if (!one.rows && !other.rows) return RowRange{.first = first, .count = std::nullopt};
  return RowRange{.first = first, .count = last - first};
}

SampleSet::SampleSet(SampleSpec spec)
    : spec_(std::move(spec)),
      images_(open_array(spec_.images)),
      normalizer_(std::make_shared<Normalizer>(spec_, *images_)),
      count_(checked_count(spec_, *images_)),
      labels_(read_labels(spec_, *images_, count_)) {
  if (!is_floating_point(images_->type())) return;
  for_each_input(*images_, *normalizer_, ChannelOrder::first, spec_.first_row, count_, [](auto&&...) {});
}

void SampleSet::require_fits(const Shape& input_shape, const std::string& network) const {
  const Image& image = normalizer_->image();
  const Shape sample(images_->shape().begin() + 1, images_->shape().end());
  const bool in_order = spec_.layout == Layout::flat ? !has_other_axes(sample, input_shape)
                                                     : image.channels == 1 || is_image(input_shape, image);
  if (tensor::elements(input_shape) == image.size() && in_order) return;
  const std::string remedy = tensor::elements(input_shape) == image.size() ? order_remedy(sample, input_shape)
                                                                           : size_remedy(spec_, image, input_shape);
  throw InputError(
      fmt::format("samples '{}' of shape {} ({}) do not fit network '{}' with input {}; {}", spec_.name,
                  tensor::to_string(sample), to_string(spec_.layout), network, tensor::to_string(input_shape), remedy),
      spec_.images);
}

void SampleSet::require_labels_fit(Index outputs, const std::string& network) const {
  const auto wrong = std::ranges::find_if(labels_, [&](Index label) { return label < 0 || label >= outputs; });
  if (wrong == labels_.end()) return;
  throw InputError(
      fmt::format("row {} of samples '{}' has label {} (label_offset {} included), but network '{}' has {} outputs, "
                  "counted from 0; check `label_offset`, or name the samples that fit in the network's `samples` key",
                  spec_.first_row + (wrong - labels_.begin()), spec_.name, *wrong, spec_.label_offset, network,
                  outputs),
      *spec_.labels);
}

std::vector<double> SampleSet::block(const Shape& input_shape, Index first, Index count) const {
  QUANTBOUND_ASSERT(first >= 0 && count >= 0 && first + count <= count_, first, count);
  const Image& image = normalizer_->image();
  const auto size = static_cast<std::size_t>(image.size());
  const bool channels_first = input_shape == Shape{image.channels, image.height, image.width};
  const bool channels_last = !channels_first && input_shape == Shape{image.height, image.width, image.channels};
  std::vector<double> inputs(static_cast<std::size_t>(count) * size);
  for_each_input(*images_, *normalizer_, channels_last ? ChannelOrder::last : ChannelOrder::first,
                 spec_.first_row + first, count, [&](Index i, std::span<const float> input) {
                   widen(input, std::span(inputs).subspan(static_cast<std::size_t>(i) * size, size));
                 });
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
