// Windows over images: pads, strides, dilations and auto_pad of Conv and pools; one-dimensional ones get height 1.
#include <algorithm>

#include <fmt/format.h>

#include "onnx_operators.hpp"

namespace quantbound::network::detail {

namespace {

constexpr Index largest = Index{1} << 20;  // of a kernel, stride, pad or dilation

/// A window along one spatial axis.
struct Axis {
  Index size, kernel, stride, dilation, before = 0, after = 0;

  Index reach() const { return dilation * (kernel - 1) + 1; }
  /// What `before` and `after` must add so that every stride has a window (SAME_UPPER and SAME_LOWER).
  Index same_padding() const { return std::max((((size - 1) / stride) * stride) + reach() - size, Index{0}); }
};

Integers list_attribute(const OnnxNode& node, std::string_view name, std::size_t count, Index otherwise, Index least) {
  Integers values = node.integers(name).value_or(Integers(count, otherwise));
  const bool in_range =
      std::all_of(values.begin(), values.end(), [&](Index value) { return value >= least && value <= largest; });
  if (values.size() != count || !in_range) {
    node.reject(fmt::format("'{}' needs {} values of {} to {}, it is [{}]", name, count, least, largest,
                            fmt::join(values, ", ")));
  }
  return values;
}

void read_pads(const OnnxNode& node, std::vector<Axis>& axes) {
  const Integers pads = list_attribute(node, "pads", 2 * axes.size(), 0, 0);
  const std::string automatic = node.text("auto_pad", "NOTSET");
  const bool any = std::any_of(pads.begin(), pads.end(), [](Index pad) { return pad != 0; });
  if (automatic != "NOTSET" && automatic != "" && any) node.reject("has both pads and auto_pad");
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const Index total = axes[i].same_padding();
    if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") {
      axes[i].before = automatic == "SAME_UPPER" ? total / 2 : total - total / 2;
      axes[i].after = total - axes[i].before;
    } else if (automatic == "NOTSET" || automatic == "" || automatic == "VALID") {
      axes[i].before = pads[i];
      axes[i].after = pads[i + axes.size()];
    } else {
      node.reject(fmt::format("auto_pad '{}' does not exist", automatic));
    }
  }
}

std::vector<Axis> read_axes(const OnnxNode& node, const Shape& spatial, const Shape& kernel) {
  const std::size_t n = spatial.size();
  const Integers strides = list_attribute(node, "strides", n, 1, 1),
                 dilations = list_attribute(node, "dilations", n, 1, 1);
  std::vector<Axis> axes;
  for (std::size_t i = 0; i < n; ++i) {
    if (kernel[i] < 1 || kernel[i] > largest) node.reject(fmt::format("kernel extent {} is out of range", kernel[i]));
    axes.push_back({spatial[i], kernel[i], strides[i], dilations[i]});
  }
  read_pads(node, axes);
  return axes;
}

tensor::Window window_from(const std::vector<Axis>& axes) {
  const Axis row = axes.size() == 2 ? axes.front() : Axis{1, 1, 1, 1}, column = axes.back();
  return {.kernel_height = row.kernel,
          .kernel_width = column.kernel,
          .stride_height = row.stride,
          .stride_width = column.stride,
          .pad_top = row.before,
          .pad_left = column.before,
          .pad_bottom = row.after,
          .pad_right = column.after,
          .dilation_height = row.dilation,
          .dilation_width = column.dilation};
}

/// ceil_mode lets the last window hang over the edge: the same as padding after it, which a maximum does not see and an
/// average does not count.
void apply_ceil_mode(const OnnxNode& node, std::vector<Axis>& axes) {
  for (Axis& axis : axes) {
    const Index room = axis.size + axis.before + axis.after - axis.reach();
    const Index overhang = room <= 0 ? 0 : (axis.stride - room % axis.stride) % axis.stride;
    if (overhang == 0) continue;
    const Index last_start = room + overhang;
    if (last_start >= axis.size + axis.before) node.refuse("with ceil_mode its last window lies in the padding alone");
    if (node.integer("count_include_pad", 0) != 0) node.refuse("it combines ceil_mode with count_include_pad");
    axis.after += overhang;
  }
}

tensor::Window read_pool_window(const OnnxNode& node, const Value& in) {
  if (in.batch == BatchAxis::absent || (in.shape.size() != 2 && in.shape.size() != 3)) {
    node.refuse(
        fmt::format("its input has shape {}; only images {{batch, channels, height, width}} and sequences "
                    "{{batch, channels, length}} are read",
                    tensor::to_string(full_shape(in))));
  }
  const auto kernel = node.integers("kernel_shape");
  const Shape spatial(in.shape.begin() + 1, in.shape.end());
  if (!kernel || kernel->size() != spatial.size()) {
    node.reject(fmt::format("needs a kernel_shape of {} values", spatial.size()));
  }
  std::vector<Axis> axes = read_axes(node, spatial, *kernel);
  if (node.integer("ceil_mode", 0) != 0) apply_ceil_mode(node, axes);
  return window_from(axes);
}

template <class Pool>
void import_pool(Importer& importer, const OnnxNode& node, const Value& in, Pool pool) {
  give_image(importer, node, in, importer.append(node, pool, {image_node(importer, node, in)}));
}

/// Axes of the per-sample shape that ReduceMean averages over.
std::vector<char> reduced_axes(const Importer& importer, const OnnxNode& node, const Value& in) {
  check_form(node, 18, {"axes"});
  const auto listed = node.opset() < 18 ? node.integers("axes") : importer.optional_integers(node, 1);
  if (!listed || listed->empty()) node.refuse("it averages over all axes, the batch among them; name the axes");
  std::vector<char> reduced = marked_axes(node, *listed, full_shape(in).size());
  if (in.batch == BatchAxis::absent) return reduced;
  if (reduced.front() != 0) node.refuse("it averages over the batch axis");
  reduced.erase(reduced.begin());
  return reduced;
}

struct KeptFirst {
  std::vector<Index> axes;  ///< the kept axes, then the reduced ones
  Index kept = 1;           ///< elements of the kept ones
};

KeptFirst kept_first(const Shape& shape, const std::vector<char>& reduced) {
  KeptFirst order;
  for (const char pass : {'\0', '\1'}) {
    for (std::size_t i = 0; i < shape.size(); ++i) {
      if (reduced[i] != pass) continue;
      order.axes.push_back(static_cast<Index>(i));
      if (pass == 0) order.kept *= shape[i];
    }
  }
  return order;
}

}  // namespace

tensor::Window read_window(const OnnxNode& node, const Shape& spatial, const Shape& kernel) {
  return window_from(read_axes(node, spatial, kernel));
}

NodeId image_node(Importer& importer, const OnnxNode& node, const Value& value) {
  if (value.shape.size() == 3) return importer.shaped(node, value, value.shape);
  return importer.shaped(node, value, {value.shape[0], 1, value.shape[1]});
}

void give_image(Importer& importer, const OnnxNode& node, const Value& in, NodeId result) {
  Shape shape = importer.shape_of(result);
  if (in.shape.size() == 2) shape.erase(shape.begin() + 1);
  importer.give_result(node, in, result, std::move(shape));
}

void import_max_pool(Importer& importer, const OnnxNode& node) {
  const Value in = importer.value(node, 0);
  import_pool(importer, node, in, MaxPool{read_pool_window(node, in)});
}

void import_average_pool(Importer& importer, const OnnxNode& node) {
  const Value in = importer.value(node, 0);
  import_pool(importer, node, in, AveragePool{read_pool_window(node, in), node.integer("count_include_pad", 0) != 0});
}

void import_global_average_pool(Importer& importer, const OnnxNode& node) {
  const Value in = importer.value(node, 0);
  if (in.batch == BatchAxis::absent || (in.shape.size() != 2 && in.shape.size() != 3)) {
    node.refuse(
        fmt::format("its input has shape {}; only images and sequences are read", tensor::to_string(full_shape(in))));
  }
  import_pool(importer, node, in, GlobalAveragePool{});
}

void import_reduce_mean(Importer& importer, const OnnxNode& node) {
  const Value in = importer.value(node, 0);
  const std::vector<char> reduced = reduced_axes(importer, node, in);
  const KeptFirst order = kept_first(in.shape, reduced);
  Value out = in;
  if (!std::is_sorted(order.axes.begin(), order.axes.end())) {
    out.node = importer.append(node, Permute{order.axes}, {importer.shaped(node, in, in.shape)});
  }
  const bool is_image = reduced == std::vector<char>{0, 1, 1};
  const Shape image = is_image ? in.shape : Shape{order.kept, 1, tensor::elements(in.shape) / order.kept};
  out.node = importer.append(node, GlobalAveragePool{}, {importer.shaped(node, out, image)});
  out.readers = Readers::exclusive;
  const bool keeps_axes = node.integer("keepdims", 1) != 0;
  Shape full = in.batch == BatchAxis::leading ? Shape{1} : Shape{};
  for (std::size_t i = 0; i < reduced.size(); ++i) {
    if (reduced[i] == 0 || keeps_axes) full.push_back(reduced[i] == 0 ? in.shape[i] : 1);
  }
  importer.give_reshaped(node, out, full);
}

}  // namespace quantbound::network::detail
