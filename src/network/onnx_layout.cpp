// Operators that change the shape or the order of values, not the values. Every axis is counted with the batch axis, as
// the file does; moving that axis is refused.
#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "onnx_operators.hpp"

namespace quantbound::network::detail {

namespace {

std::size_t at(Index axis) { return static_cast<std::size_t>(axis); }

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

void import_reshape(Importer& importer, const OnnxNode& node) {
  const Integers wanted = *importer.optional_integers(node, 1);
  give_with_shape(importer, node, reshape_target(node, wanted, importer.dims(node, 0)));
}

void import_flatten(Importer& importer, const OnnxNode& node) {
  const Shape dims = importer.dims(node, 0);
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
  const Shape dims = importer.dims(node, 0);
  const auto axes = axes_of(importer, node, 13);
  const bool has_batch = !importer.is_constant(node, 0) && importer.has_batch_axis();
  if (!axes && has_batch) node.refuse("without axes it drops the batch axis too; name the axes");
  std::vector<char> dropped(dims.size(), 0);
  if (axes) {
    dropped = marked_axes(node, *axes, dims.size());
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
  const Shape dims = importer.dims(node, 0);
  const auto axes = axes_of(importer, node, 13);
  if (!axes) node.reject("'axes' is missing");
  if (axes->size() > 8) node.reject("adds more than 8 axes");
  const std::vector<char> added = marked_axes(node, *axes, dims.size() + axes->size());
  if (!added.empty() && added.front() != 0 && !importer.is_constant(node, 0) && importer.has_batch_axis()) {
    node.refuse("it puts an axis before the batch axis");
  }
  Shape out;
  auto next = dims.begin();
  for (const char is_new : added) out.push_back(is_new != 0 ? 1 : *next++);
  give_with_shape(importer, node, out);
}

void import_transpose(Importer& importer, const OnnxNode& node) {
  const Shape dims = importer.dims(node, 0);
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
  const NodeId joined = importer.append(node, Concat{per_sample}, parts);
  importer.give_result(node, first, joined, importer.shape_of(joined));
}

}  // namespace quantbound::network::detail
