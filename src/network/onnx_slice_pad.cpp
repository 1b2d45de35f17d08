// Slice and Pad, whose bounds were attributes first and are inputs now. Their axes are counted with the batch axis,
// which may be neither cut nor padded.
#include <algorithm>
#include <cstdlib>
#include <numeric>

#include <fmt/format.h>

#include "onnx_operators.hpp"

namespace quantbound::network::detail {

namespace {

std::size_t at(Index axis) { return static_cast<std::size_t>(axis); }

Integers slice_list(const Importer& importer, const OnnxNode& node, std::string_view attribute, std::size_t input) {
  const auto list = node.opset() < 10 ? node.integers(attribute) : importer.optional_integers(node, input);
  if (!list) node.reject(fmt::format("'{}' is missing", attribute));
  return *list;
}

/// The elements that one axis of Slice takes, with ONNX's rules for bounds beyond the ends.
void slice_axis(const OnnxNode& node, Slice& slice, std::size_t axis, Index extent, Index start, Index end,
                Index step) {
  if (step == 0 || step < -max_elements || step > max_elements) node.reject(fmt::format("step {}", step));
  const Index low = step > 0 ? 0 : -1, high = step > 0 ? extent : extent - 1;
  const auto place = [&](Index bound) {
    const Index from_start = bound < 0 ? std::max(bound, -extent - 1) + extent : bound;
    return std::clamp(from_start, low, high);
  };
  // A negative step may begin at the last element, but not before the first.
  const Index first = step > 0 ? place(start) : std::max(place(start), Index{0}), last = place(end);
  const Index distance = step > 0 ? last - first : first - last;
  slice.start[axis] = first;
  slice.step[axis] = step;
  slice.count[axis] = distance <= 0 ? 0 : (distance + std::abs(step) - 1) / std::abs(step);
}

Slice read_slice(const Importer& importer, const OnnxNode& node, const Shape& dims) {
  check_form(node, 10, {"starts", "ends", "axes"});
  const Integers starts = slice_list(importer, node, "starts", 1), ends = slice_list(importer, node, "ends", 2);
  Integers axes(starts.size());
  std::iota(axes.begin(), axes.end(), 0);
  if (const auto given = node.opset() < 10 ? node.integers("axes") : importer.optional_integers(node, 3)) axes = *given;
  Integers steps(starts.size(), 1);
  if (node.opset() >= 10) steps = importer.optional_integers(node, 4).value_or(steps);
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size()) {
    node.reject("starts, ends, axes and steps differ in length");
  }
  static_cast<void>(marked_axes(node, axes, dims.size()));  // every axis exists and is named once
  Slice slice{Shape(dims.size(), 0), Shape(dims.size(), 1), dims};
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const std::size_t axis = at(from_front(node, axes[i], dims.size()));
    slice_axis(node, slice, axis, dims[axis], starts[i], ends[i], steps[i]);
  }
  return slice;
}

Constant sliced(const Constant& in, const Slice& slice) {
  Shape strides = row_major_strides(in.dims);
  Index offset = 0;
  for (std::size_t i = 0; i < strides.size(); ++i) {
    offset += slice.start[i] * strides[i];
    strides[i] *= slice.step[i];
  }
  return strided(in, offset, strides, slice.count);
}

bool takes_all(const Slice& slice, std::size_t axis, Index extent) {
  return slice.start[axis] == 0 && slice.step[axis] == 1 && slice.count[axis] == extent;
}

void drop_batch_axis(Shape& list, const Value& in) {
  if (in.batch == BatchAxis::leading) list.erase(list.begin());
}

/// The 2 * rank amounts of Pad: all befores, then all afters.
Integers read_pads(const Importer& importer, const OnnxNode& node, std::size_t rank) {
  check_form(node, 11, {"pads", "value"});
  const auto given = node.opset() < 11 ? node.integers("pads") : importer.optional_integers(node, 1);
  if (!given) node.reject("'pads' is missing");
  Integers axes(rank);
  std::iota(axes.begin(), axes.end(), 0);
  if (const auto listed = importer.optional_integers(node, 3)) axes = *listed;
  static_cast<void>(marked_axes(node, axes, rank));  // every axis exists and is named once
  if (given->size() != 2 * axes.size()) {
    node.reject(fmt::format("{} pads for {} axes", given->size(), axes.size()));
  }
  Integers pads(2 * rank, 0);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const std::size_t axis = at(from_front(node, axes[i], rank));
    pads[axis] = (*given)[i];
    pads[axis + rank] = (*given)[i + axes.size()];
  }
  for (const Index pad : pads) {
    if (pad < -max_elements || pad > max_elements) node.reject(fmt::format("pad {} is out of range", pad));
  }
  return pads;
}

double pad_value(const Importer& importer, const OnnxNode& node) {
  if (node.opset() < 11) return node.real("value", 0.0F);
  const auto given = importer.optional_constant(node, 2);
  if (!given) return 0.0;
  if (given->size() != 1) node.reject("the padding value is not one number");
  return given->reals().front();
}

/// Negative pads cut off: the Slice that does it, on the per-sample axes.
Slice cropping(const Shape& shape, const Shape& before, const Shape& after) {
  Slice crop{Shape(shape.size(), 0), Shape(shape.size(), 1), shape};
  for (std::size_t i = 0; i < shape.size(); ++i) {
    crop.start[i] = std::max(-before[i], Index{0});
    crop.count[i] = shape[i] - crop.start[i] - std::max(-after[i], Index{0});
  }
  return crop;
}

bool any_negative(const Shape& list) {
  return std::any_of(list.begin(), list.end(), [](Index x) { return x < 0; });
}

/// Gives the node `result`, whose shape is that of the value.
void give_node(Importer& importer, const OnnxNode& node, const Value& in, NodeId result) {
  importer.give_result(node, in, result, importer.shape_of(result));
}

}  // namespace

void import_slice(Importer& importer, const OnnxNode& node) {
  const Shape dims = importer.dims(node, 0);
  Slice slice = read_slice(importer, node, dims);
  if (importer.is_constant(node, 0)) {
    return importer.give(node, node.guard([&] { return sliced(importer.constant(node, 0), slice); }));
  }
  const Value in = importer.value(node, 0);
  if (in.batch == BatchAxis::leading && !takes_all(slice, 0, 1)) node.refuse("it cuts the batch axis");
  bool changes = false;
  for (std::size_t i = 0; i < dims.size(); ++i) changes = changes || !takes_all(slice, i, dims[i]);
  if (!changes) return importer.give(node, in);
  for (Shape* list : {&slice.start, &slice.step, &slice.count}) drop_batch_axis(*list, in);
  give_node(importer, node, in, importer.append(node, std::move(slice), {importer.shaped(node, in, in.shape)}));
}

void import_pad(Importer& importer, const OnnxNode& node) {
  const Value in = importer.value(node, 0);
  if (const std::string mode = node.text("mode", "constant"); mode != "constant") {
    node.refuse(fmt::format("mode '{}'; only constant padding is read", mode));
  }
  const std::size_t rank = full_shape(in).size();
  const Integers pads = read_pads(importer, node, rank);
  if (in.batch == BatchAxis::leading && (pads[0] != 0 || pads[rank] != 0)) node.refuse("it pads the batch axis");
  Shape before(pads.begin(), pads.begin() + static_cast<Index>(rank));
  Shape after(pads.begin() + static_cast<Index>(rank), pads.end());
  drop_batch_axis(before, in);
  drop_batch_axis(after, in);
  NodeId result = in.node;
  if (any_negative(before) || any_negative(after)) {
    result = importer.append(node, cropping(in.shape, before, after), {importer.shaped(node, in, in.shape)});
  }
  const auto positive = [](Shape list) {
    std::transform(list.begin(), list.end(), list.begin(), [](Index x) { return std::max(x, Index{0}); });
    return list;
  };
  Pad pad{positive(before), positive(after), pad_value(importer, node)};
  const auto is_zero = [](Index x) { return x == 0; };
  const bool pads_nothing = std::all_of(pad.before.begin(), pad.before.end(), is_zero) &&
                            std::all_of(pad.after.begin(), pad.after.end(), is_zero);
  if (pads_nothing && result == in.node) return importer.give(node, in);
  if (!pads_nothing) {
    if (result == in.node) result = importer.shaped(node, in, in.shape);
    result = importer.append(node, std::move(pad), {result});
  }
  give_node(importer, node, in, result);
}

}  // namespace quantbound::network::detail
