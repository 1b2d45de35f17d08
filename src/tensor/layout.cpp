#include "layout.hpp"

#include <algorithm>
#include <array>

#include "quantbound/core/assert.hpp"

namespace quantbound::tensor::detail {

namespace {

using Tag = dnnl::memory::format_tag;
constexpr auto f32 = dnnl::memory::data_type::f32;

dnnl::memory::dims dims_of(Index batch, const Shape& shape) {
  dnnl::memory::dims dims{batch};
  dims.insert(dims.end(), shape.begin(), shape.end());
  return dims;
}

const dnnl_blocking_desc_t& blocking(const Descriptor& descriptor) {
  QUANTBOUND_ASSERT(descriptor.data.format_kind == dnnl_blocked, static_cast<int>(descriptor.data.format_kind));
  return descriptor.data.format_desc.blocking;
}

}  // namespace

Descriptor plain_descriptor(Index batch, const Shape& shape) {
  const dnnl::memory::dims dims = dims_of(batch, shape);
  dnnl::memory::dims strides(dims.size(), 1);
  for (std::size_t axis = dims.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * dims[axis];
  return {dims, f32, strides};
}

bool is_plain(const Descriptor& descriptor) {
  if (has_padding(descriptor)) return false;
  Index stride = 1;
  for (Index axis = descriptor.data.ndims - 2; axis >= 0; --axis) {
    const std::vector<Index> offsets = axis_offsets(descriptor, axis);
    for (std::size_t i = 0; i < offsets.size(); ++i)
      if (offsets[i] != static_cast<Index>(i) * stride) return false;
    stride *= std::ssize(offsets);
  }
  return true;
}

Descriptor any_descriptor(Index batch, const Shape& shape) { return {dims_of(batch, shape), f32, Tag::any}; }

Descriptor with_batch(const Descriptor& descriptor, Index batch) {
  Descriptor changed = descriptor;
  changed.data.dims[0] = batch;
  changed.data.padded_dims[0] = batch;
  return changed;
}

Descriptor same_kind(const Descriptor& like, Index batch, const Shape& shape) {
  if (like.data.ndims == 4 && shape.size() == 3) {
    for (const Tag tag : {Tag::nChw16c, Tag::nChw8c, Tag::nChw4c, Tag::nhwc})
      if (like == Descriptor(like.dims(), f32, tag)) return {dims_of(batch, shape), f32, tag};
  }
  return plain_descriptor(batch, shape);
}

Index sample_size(const Descriptor& descriptor) {
  return static_cast<Index>(descriptor.get_size() / sizeof(float)) / descriptor.data.dims[0];
}

bool has_padding(const Descriptor& descriptor) {
  const auto* first = descriptor.data.dims + 1;
  const auto* last = descriptor.data.dims + descriptor.data.ndims;
  return !std::equal(first, last, descriptor.data.padded_dims + 1);
}

std::vector<Index> axis_offsets(const Descriptor& descriptor, Index axis) {
  const dnnl_blocking_desc_t& layout = blocking(descriptor);
  const auto dnnl_axis = static_cast<std::size_t>(axis) + 1;
  std::vector<Index> offsets(static_cast<std::size_t>(descriptor.data.dims[dnnl_axis]), 0);
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    auto rest = static_cast<Index>(i);
    Index inner_stride = 1;
    for (int block = layout.inner_nblks; block-- > 0;) {
      const Index size = layout.inner_blks[block];
      if (layout.inner_idxs[block] == axis + 1) {
        offsets[i] += rest % size * inner_stride;
        rest /= size;
      }
      inner_stride *= size;
    }
    offsets[i] += rest * layout.strides[dnnl_axis];
  }
  return offsets;
}

bool batch_is_outermost(const Descriptor& descriptor) {
  const dnnl_blocking_desc_t& layout = blocking(descriptor);
  const bool batch_blocked =
      std::any_of(layout.inner_idxs, layout.inner_idxs + layout.inner_nblks, [](dnnl_dim_t axis) { return axis == 0; });
  return !batch_blocked && descriptor.data.padded_dims[0] == descriptor.data.dims[0] && descriptor.data.offset0 == 0 &&
         (descriptor.data.dims[0] == 1 || layout.strides[0] == sample_size(descriptor));
}

}  // namespace quantbound::tensor::detail
