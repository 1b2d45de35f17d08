/// What the program must know about oneDNN's memory layouts. All of ours have the batch outermost, so a sample is a
/// contiguous piece whose size does not depend on the batch; inside it the offset of an element is a sum of one term
/// per axis, whether the layout is plain or blocked.
#pragma once

#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::tensor::detail {

using Descriptor = dnnl::memory::desc;

/// batch x shape in row-major order.
Descriptor plain_descriptor(Index batch, const Shape& shape);
/// Whether a sample lies in memory in row-major order, whatever the descriptor calls itself.
bool is_plain(const Descriptor& descriptor);
/// The descriptor for convolutions and pools to choose the layout.
Descriptor any_descriptor(Index batch, const Shape& shape);
/// The same layout for another batch.
Descriptor with_batch(const Descriptor& descriptor, Index batch);
/// The layout of `like` for another shape: the same blocking where it has three axes and `like` a known one, else
/// plain.
Descriptor same_kind(const Descriptor& like, Index batch, const Shape& shape);
/// Floats of one sample, padding of blocked layouts included.
Index sample_size(const Descriptor& descriptor);
/// Whether blocked channels are filled up.
bool has_padding(const Descriptor& descriptor);
/// Offset of every index of a per-sample axis (0 = channels).
std::vector<Index> axis_offsets(const Descriptor& descriptor, Index axis);
/// Whether samples are contiguous and in order.
bool batch_is_outermost(const Descriptor& descriptor);

}  // namespace quantbound::tensor::detail
