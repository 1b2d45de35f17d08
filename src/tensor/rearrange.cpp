#include "quantbound/tensor/rearrange.hpp"

#include <algorithm>

#include "quantbound/core/assert.hpp"

namespace quantbound::tensor {

namespace {

template <class T>
void copy_axis(const Rearrangement& r, std::size_t axis, const T* in, T* out) {
  const Index count = r.count[axis], in_stride = r.in_stride[axis], out_stride = r.out_stride[axis];
  if (axis + 1 < r.count.size()) {
    for (Index i = 0; i < count; ++i) copy_axis(r, axis + 1, in + i * in_stride, out + i * out_stride);
  } else if (in_stride == 1 && out_stride == 1) {
    std::copy_n(in, count, out);
  } else {
    for (Index i = 0; i < count; ++i) out[i * out_stride] = in[i * in_stride];
  }
}

template <class T>
void copy_block(const Rearrangement& r, const T* in, T* out) {
  if (r.count.empty()) {
    out[r.out_offset] = in[r.in_offset];
  } else if (std::find(r.count.begin(), r.count.end(), 0) == r.count.end()) {
    copy_axis(r, 0, in + r.in_offset, out + r.out_offset);
  }
}

}  // namespace

std::vector<Index> row_major_strides(const Shape& shape) {
  std::vector<Index> strides(shape.size(), 1);
  for (std::size_t axis = shape.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * shape[axis];
  return strides;
}

Rearrangement permutation(const Shape& in, std::span<const Index> axes) {
  QUANTBOUND_ASSERT(axes.size() == in.size(), axes.size(), in.size());
  const std::vector<Index> strides = row_major_strides(in);
  Rearrangement r;
  for (const Index axis : axes) {
    r.count.push_back(in.at(static_cast<std::size_t>(axis)));
    r.in_stride.push_back(strides[static_cast<std::size_t>(axis)]);
  }
  r.out_stride = row_major_strides(r.count);
  return r;
}

Rearrangement slice(const Shape& in, std::span<const Index> start, std::span<const Index> step,
                    std::span<const Index> count) {
  QUANTBOUND_ASSERT(start.size() == in.size() && step.size() == in.size() && count.size() == in.size(), start.size(),
                    step.size(), count.size(), in.size());
  Rearrangement r{.count = {count.begin(), count.end()}, .in_stride = row_major_strides(in), .out_stride = {}};
  for (std::size_t axis = 0; axis < in.size(); ++axis) {
    const Index last = start[axis] + step[axis] * (count[axis] - 1);
    QUANTBOUND_ASSERT(count[axis] == 0 || (std::min(start[axis], last) >= 0 && std::max(start[axis], last) < in[axis]),
                      axis, start[axis], last, in[axis]);
    r.in_offset += start[axis] * r.in_stride[axis];
    r.in_stride[axis] *= step[axis];
  }
  r.out_stride = row_major_strides(r.count);
  return r;
}

Rearrangement placement(const Shape& in, const Shape& out, std::span<const Index> before) {
  QUANTBOUND_ASSERT(in.size() == out.size() && before.size() == in.size(), in.size(), out.size(), before.size());
  Rearrangement r{.count = in, .in_stride = row_major_strides(in), .out_stride = row_major_strides(out)};
  for (std::size_t axis = 0; axis < in.size(); ++axis) {
    QUANTBOUND_ASSERT(before[axis] >= 0 && before[axis] + in[axis] <= out[axis], axis, before[axis], in[axis],
                      out[axis]);
    r.out_offset += before[axis] * r.out_stride[axis];
  }
  return r;
}

void rearrange(const Rearrangement& rearrangement, const double* in, double* out) {
  copy_block(rearrangement, in, out);
}
void rearrange(const Rearrangement& rearrangement, const float* in, float* out) { copy_block(rearrangement, in, out); }

}  // namespace quantbound::tensor
