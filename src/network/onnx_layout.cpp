// Operators that move elements without changing them, and the constants that describe shapes. Every axis is counted
// with the batch axis, as the file does; moving that axis is refused.
#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <numeric>

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include "onnx_operators.hpp"

namespace quantbound::network::detail {

namespace {

constexpr Index max_elements = Index{1} << 30;

std::size_t at(Index axis) { return static_cast<std::size_t>(axis); }

/// ONNX's shape of input 0, constant or not.
Shape dims_of(const Importer& importer, const OnnxNode& node) {
  return importer.is_constant(node, 0) ? importer.constant(node, 0).dims : full_shape(importer.value(node, 0));
}

/// Input 0 under a new shape.
void give_with_shape(Importer& importer, const OnnxNode& node, const Shape& dims) {
  if (!importer.is_constant(node, 0)) return importer.give_reshaped(node, importer.value(node, 0), dims);
  Constant constant = importer.constant(node, 0);
  constant.dims = dims;
  importer.give(node, std::move(constant));
}

/// Axes given as an attribute before opset `moved` and as input 1 since.
std::optional<Integers> axes_of(const Importer& importer, const OnnxNode& node, Index moved) {
  check_form(node, moved, {"axes"});
  return node.opset() < moved ? node.integers("axes") : importer.optional_integers(node, 1);
}

std::vector<char> marked(const OnnxNode& node, const Integers& axes, std::size_t rank) {
  std::vector<char> marks(rank, 0);
  for (const Index raw : axes) {
    char& mark = marks[at(from_front(node, raw, rank))];
    if (mark != 0) node.reject(fmt::format("axis {} is listed twice", raw));
    mark = 1;
  }
  return marks;
}

Shape reshape_target(const OnnxNode& node, const Integers& wanted, const Shape& dims) {
  const Index total = std::accumulate(dims.begin(), dims.end(), Index{1}, std::multiplies{});
  Shape target;
  Index unknown = -1, known = 1;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    Index extent = wanted[i];
    if (extent == 0 && node.integer("allowzero", 0) == 0) {
      if (i >= dims.size()) node.reject("a 0 in the new shape copies an axis that does not exist");
      extent = dims[i];
    }
    if (extent < -1 || extent > max_elements || (extent == -1 && unknown >= 0)) {
      node.reject(fmt::format("the new shape is [{}]", fmt::join(wanted, ", ")));
    }
    if (extent == -1) {
      unknown = static_cast<Index>(i);
    } else {
      known = extent > 0 && known > max_elements / extent ? max_elements + 1 : known * extent;
    }
    target.push_back(extent);
  }
  if (unknown >= 0) target[at(unknown)] = known > 0 && known <= max_elements ? total / known : 0;
  const Index product = unknown >= 0 ? known * target[at(unknown)] : known;
  if (product != total) {
    node.reject(fmt::format("cannot turn {} into [{}]", tensor::to_string(dims), fmt::join(wanted, ", ")));
  }
  return target;
}

// ---- Slice and Pad -------------------------------------------------------------------------------------------------

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
  static_cast<void>(marked(node, axes, dims.size()));  // every axis exists and is listed once
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

/// Appends a Slice or Pad node over the per-sample axes and gives the result.
void give_moved(Importer& importer, const OnnxNode& node, const Value& in, NodeId result) {
  Value out = in;
  out.node = result;
  out.shape = importer.shape_of(result);
  out.readers = Readers::exclusive;
  importer.give(node, std::move(out));
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
  static_cast<void>(marked(node, axes, rank));
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

bool is_integer_type(Index type) {
  using Type = ::onnx::TensorProto;
  return type == Type::INT64 || type == Type::INT32 || type == Type::INT16 || type == Type::INT8 ||
         type == Type::UINT8 || type == Type::UINT16 || type == Type::UINT32 || type == Type::UINT64;
}

bool is_real_type(Index type) {
  using Type = ::onnx::TensorProto;
  return type == Type::FLOAT || type == Type::DOUBLE || type == Type::FLOAT16 || type == Type::BFLOAT16;
}

std::vector<Index> permutation_of(const OnnxNode& node, std::size_t rank) {
  std::vector<Index> axes(rank);
  std::iota(axes.rbegin(), axes.rend(), 0);
  if (const auto given = node.integers("perm")) axes = *given;
  std::vector<Index> sorted = axes;
  std::sort(sorted.begin(), sorted.end());
  bool is_permutation = sorted.size() == rank;
  for (std::size_t i = 0; is_permutation && i < rank; ++i) is_permutation = sorted[i] == static_cast<Index>(i);
  if (!is_permutation) node.reject(fmt::format("perm [{}] is no permutation of {} axes", fmt::join(axes, ", "), rank));
  return axes;
}

/// Whether a permutation leaves the axes longer than 1 in order, so that no element moves.
bool keeps_order(const std::vector<Index>& axes, const Shape& shape) {
  Index last = -1;
  for (const Index axis : axes) {
    if (shape[at(axis)] == 1) continue;
    if (axis < last) return false;
    last = axis;
  }
  return true;
}

}  // namespace

void import_identity(Importer& importer, const OnnxNode& node) {
  if (importer.is_constant(node, 0)) return importer.give(node, importer.constant(node, 0));
  importer.give(node, importer.value(node, 0));
}

void import_dropout(Importer& importer, const OnnxNode& node) {
  if (const auto training = importer.optional_constant(node, 2); training && training->reals() != Reals{0.0}) {
    node.refuse("it is in training mode; export the network for inference");
  }
  import_identity(importer, node);
}

void import_constant(Importer& importer, const OnnxNode& node) {
  const std::vector<std::string> names = node.attribute_names();
  if (names.size() != 1) node.reject("needs exactly one value");
  importer.give(node, *node.constant(names.front()));
}

void import_constant_of_shape(Importer& importer, const OnnxNode& node) {
  constexpr Index limit = Index{1} << 24;  // a constant without data: nothing else bounds its size
  const Constant value = node.constant("value").value_or(Constant{{1}, Reals{0.0}});
  if (value.size() != 1) node.reject("its value is not one number");
  const Integers shape = *importer.optional_integers(node, 0);
  const Index count = node.guard([&] { return checked_elements(shape, limit); });
  importer.give(node, std::visit(
                          [&](const auto& list) {
                            return Constant{shape, std::remove_cvref_t<decltype(list)>(at(count), list.front())};
                          },
                          value.values));
}

void import_cast(Importer& importer, const OnnxNode& node) {
  const Index type = node.integer("to", 0);
  if (!is_integer_type(type) && !is_real_type(type)) node.refuse(fmt::format("type {} is not a number", type));
  if (importer.is_constant(node, 0)) {
    const Constant constant = importer.constant(node, 0);
    return importer.give(node,
                         node.guard([&] { return is_real_type(type) ? to_reals(constant) : to_integers(constant); }));
  }
  if (!is_real_type(type)) node.refuse("it turns values computed at run time into integers");
  importer.give(node, importer.value(node, 0));
}

void import_shape(Importer& importer, const OnnxNode& node) {
  const Shape dims = dims_of(importer, node);
  const auto rank = std::ssize(dims);
  const auto bound = [&](std::string_view attribute, Index otherwise) {
    const Index raw = node.integer(attribute, otherwise);
    return std::clamp(raw < 0 ? std::max(raw, -rank) + rank : raw, Index{0}, rank);
  };
  const Index first = bound("start", 0), last = std::max(bound("end", rank), first);
  importer.give(node, Constant{{last - first}, Integers(dims.begin() + first, dims.begin() + last)});
}

void import_gather(Importer& importer, const OnnxNode& node) {
  if (!importer.all_constant(node)) node.refuse("it picks from values computed at run time; only shapes are read");
  importer.give(node, node.guard([&] {
    return gathered(importer.constant(node, 0), importer.constant(node, 1), node.integer("axis", 0));
  }));
}

void import_reshape(Importer& importer, const OnnxNode& node) {
  const Integers wanted = *importer.optional_integers(node, 1);
  give_with_shape(importer, node, reshape_target(node, wanted, dims_of(importer, node)));
}

void import_flatten(Importer& importer, const OnnxNode& node) {
  const Shape dims = dims_of(importer, node);
  const Index raw = node.integer("axis", 1), rank = std::ssize(dims);
  const Index axis = raw == rank ? rank : from_front(node, raw, dims.size());  // one past the end is allowed
  if (axis == 0 && importer.has_batch_axis() && !importer.is_constant(node, 0)) {
    node.refuse("with axis 0 it merges the samples of a batch; export it with axis 1");
  }
  const Index rows = std::accumulate(dims.begin(), dims.begin() + axis, Index{1}, std::multiplies{});
  const Index columns = std::accumulate(dims.begin() + axis, dims.end(), Index{1}, std::multiplies{});
  give_with_shape(importer, node, {rows, columns});
}

void import_squeeze(Importer& importer, const OnnxNode& node) {
  const Shape dims = dims_of(importer, node);
  const auto axes = axes_of(importer, node, 13);
  const bool has_batch = !importer.is_constant(node, 0) && importer.has_batch_axis();
  if (!axes && has_batch) node.refuse("without axes it drops the batch axis too; name the axes");
  std::vector<char> dropped(dims.size(), 0);
  if (axes) {
    dropped = marked(node, *axes, dims.size());
  } else {
    std::transform(dims.begin(), dims.end(), dropped.begin(), [](Index extent) { return extent == 1 ? 1 : 0; });
  }
  if (has_batch && dropped.front() != 0) node.refuse("it drops the batch axis");
  Shape out;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dropped[i] == 0) out.push_back(dims[i]);
    if (dropped[i] != 0 && dims[i] != 1) node.reject(fmt::format("axis {} has {} elements, not 1", i, dims[i]));
  }
  give_with_shape(importer, node, out);
}

void import_unsqueeze(Importer& importer, const OnnxNode& node) {
  const Shape dims = dims_of(importer, node);
  const auto axes = axes_of(importer, node, 13);
  if (!axes) node.reject("'axes' is missing");
  if (axes->size() > 8) node.reject("adds more than 8 axes");
  const std::vector<char> added = marked(node, *axes, dims.size() + axes->size());
  if (!added.empty() && added.front() != 0 && !importer.is_constant(node, 0) && importer.has_batch_axis()) {
    node.refuse("it puts an axis before the batch axis");
  }
  Shape out;
  auto next = dims.begin();
  for (const char is_new : added) out.push_back(is_new != 0 ? 1 : *next++);
  give_with_shape(importer, node, out);
}

void import_transpose(Importer& importer, const OnnxNode& node) {
  const Shape dims = dims_of(importer, node);
  const std::vector<Index> axes = permutation_of(node, dims.size());
  if (importer.is_constant(node, 0)) {
    return importer.give(node, node.guard([&] { return permuted(importer.constant(node, 0), axes); }));
  }
  const Value in = importer.value(node, 0);
  const bool keeps_batch = in.batch == BatchAxis::leading && axes.front() == 0;
  if (in.batch == BatchAxis::leading && importer.has_batch_axis() && !keeps_batch) {
    node.refuse(fmt::format("perm [{}] moves the batch axis; only axes after it may change", fmt::join(axes, ", ")));
  }
  Shape full;
  for (const Index axis : axes) full.push_back(dims[at(axis)]);
  if (keeps_order(axes, dims)) return importer.give_reshaped(node, in, full);
  Permute permute{axes};
  if (keeps_batch) {
    permute.axes.erase(permute.axes.begin());
    for (Index& axis : permute.axes) --axis;
  }
  Value out = in;
  out.node = importer.append(node, permute, {importer.shaped(node, in, keeps_batch ? in.shape : dims)});
  out.readers = Readers::exclusive;
  importer.give_reshaped(node, out, full);
}

void import_concat(Importer& importer, const OnnxNode& node) {
  if (!node.has("axis")) node.reject("'axis' is missing");
  for (std::size_t i = 0; i < node.input_count(); ++i) static_cast<void>(node.input(i));  // none is optional
  if (importer.all_constant(node)) {
    std::vector<Constant> parts;
    for (std::size_t i = 0; i < node.input_count(); ++i) parts.push_back(importer.constant(node, i));
    return importer.give(node, node.guard([&] { return concatenated(parts, node.integer("axis", 0)); }));
  }
  const Value first = importer.value(node, 0);
  const Index axis = from_front(node, node.integer("axis", 0), full_shape(first).size());
  if (axis == 0 && first.batch == BatchAxis::leading) node.refuse("it concatenates along the batch axis");
  std::vector<NodeId> parts;
  for (std::size_t i = 0; i < node.input_count(); ++i) {
    const Value part = importer.value(node, i);
    if (part.batch != first.batch) node.reject("inputs with and without batch axis");
    parts.push_back(importer.shaped(node, part, part.shape));
  }
  if (parts.size() == 1) return importer.give(node, first);
  const Index per_sample = first.batch == BatchAxis::leading ? axis - 1 : axis;
  give_moved(importer, node, first, importer.append(node, Concat{per_sample}, parts));
}

void import_slice(Importer& importer, const OnnxNode& node) {
  const Shape dims = dims_of(importer, node);
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
  give_moved(importer, node, in, importer.append(node, std::move(slice), {importer.shaped(node, in, in.shape)}));
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
  give_moved(importer, node, in, result);
}

}  // namespace quantbound::network::detail
