#include "mover.hpp"

#include <algorithm>

#include "quantbound/core/assert.hpp"

namespace quantbound::tensor::detail {

namespace {

/// How many elements from the first on are neighbours on both sides.
template <class Runs>
Runs joined(const Runs& single) {
  Runs runs;
  for (const auto& run : single) {
    const bool continues = !runs.empty() && runs.back().in + runs.back().length == run.in &&
                           runs.back().out + runs.back().length == run.out;
    if (continues) {
      ++runs.back().length;
    } else {
      runs.push_back(run);
    }
  }
  return runs;
}

}  // namespace

AxisMove reversed(const AxisMove& move) {
  return {.in_axis = move.out_axis,
          .in_start = move.out_start,
          .in_step = move.out_step,
          .out_axis = move.in_axis,
          .out_start = move.in_start,
          .out_step = move.in_step,
          .count = move.count};
}

Mover::Mover(const std::vector<AxisMove>& axes, const Descriptor& in, const Descriptor& out) {
  for (const AxisMove& move : axes) {
    const std::vector<Index> in_offsets = axis_offsets(in, move.in_axis),
                             out_offsets = axis_offsets(out, move.out_axis);
    Axis axis;
    for (Index i = 0; i < move.count; ++i)
      axis.push_back({in_offsets.at(static_cast<std::size_t>(move.in_start + i * move.in_step)),
                      out_offsets.at(static_cast<std::size_t>(move.out_start + i * move.out_step)), 1});
    axes_.push_back(std::move(axis));
  }
  QUANTBOUND_ASSERT(!axes_.empty(), axes.size());
  const auto mean_run = [](const Axis& axis) {
    return static_cast<double>(axis.size()) / static_cast<double>(joined(axis).size());
  };
  const auto inner = std::max_element(axes_.begin(), axes_.end(),
                                      [&](const Axis& a, const Axis& b) { return mean_run(a) < mean_run(b); });
  std::rotate(inner, inner + 1, axes_.end());
  axes_.back() = joined(axes_.back());
}

void Mover::copy(std::size_t axis, const float* in, float* out) const {
  if (axis + 1 == axes_.size()) {
    for (const Run& run : axes_[axis]) std::copy_n(in + run.in, run.length, out + run.out);
  } else {
    for (const Run& run : axes_[axis]) copy(axis + 1, in + run.in, out + run.out);
  }
}

void Mover::operator()(const float* in, float* out) const { copy(0, in, out); }

std::vector<float> spread(const std::vector<double>& constants, const Shape& shape, const Descriptor& layout) {
  const Index size = elements(shape), repeat = size / std::ssize(constants);
  std::vector<float> plain, result(static_cast<std::size_t>(sample_size(layout)), 0.0F);
  for (Index i = 0; i < size; ++i) plain.push_back(static_cast<float>(constants[static_cast<std::size_t>(i / repeat)]));
  std::vector<AxisMove> all;
  for (Index axis = 0; axis < std::ssize(shape); ++axis)
    all.push_back({.in_axis = axis, .out_axis = axis, .count = shape[static_cast<std::size_t>(axis)]});
  Mover(all, plain_descriptor(1, shape), layout)(plain.data(), result.data());
  return result;
}

}  // namespace quantbound::tensor::detail
