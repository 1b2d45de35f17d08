#include "quantbound/network/operator_boxes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/pooling.hpp"
#include "quantbound/tensor/rearrange.hpp"
#include "quantbound/tensor/worth_threads.hpp"

#include "image.hpp"

namespace quantbound::network {

namespace {

using core::clamp;
using core::Interval;
using core::point;

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

/// A library function that is nondecreasing and errs by a few units in the last place (glibc documents at most 2 for
/// tanh and 1 for exp): 8 units on each side, inside the range of the function.
template <class Function>
Interval widened(Interval x, Function function, double lowest, double highest) {
  constexpr double units = 0x1p-49, tiny = 0x1p-1071;  // where values are denormal, a unit is absolute
  const double low = function(x.low), high = function(x.high);
  const Interval wide{low - units * std::abs(low) - tiny, high + units * std::abs(high) + tiny};
  return clamp(wide, lowest, highest);
}

/// In the form whose relative error stays small on both sides.
double sigmoid(double t) {
  const double e = std::exp(-std::abs(t));
  return t >= 0.0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
}

Interval hard_sigmoid(Interval x, Interval alpha, Interval beta) { return clamp(x * alpha + beta, 0.0, 1.0); }

/// x * hard_sigmoid(x; 1/6, 1/2): 0 up to -3, falling to -3/8 at -3/2, rising from there.
Interval hard_swish(Interval x) {
  const Interval sixth{core::nudge_down(1.0 / 6.0), core::nudge_up(1.0 / 6.0)};
  const auto at = [&](double value) { return point(value) * hard_sigmoid(point(value), sixth, point(0.5)); };
  const Interval low_end = at(x.low), high_end = at(x.high);
  const bool holds_minimum = x.low <= -1.5 && x.high >= -1.5;
  return {holds_minimum ? -0.375 : std::min(low_end.low, high_end.low), std::max(low_end.high, high_end.high)};
}

}  // namespace

Interval activation_range(const Activation& f, Interval x) {
  switch (f.kind) {
    case ActivationKind::relu:
      return clamp(x, 0.0, std::numeric_limits<double>::infinity());
    case ActivationKind::leaky_relu: {
      // Written with both branches at both ends, so that a negative or large slope is right too.
      const Interval positive = clamp(x, 0.0, std::numeric_limits<double>::infinity());
      const Interval negative = clamp(x, -std::numeric_limits<double>::infinity(), 0.0) * point(f.alpha);
      if (x.low >= 0.0) return positive;
      if (x.high <= 0.0) return negative;
      return {std::min(positive.low, negative.low), std::max(positive.high, negative.high)};
    }
    case ActivationKind::clip:
      return clamp(x, f.alpha, f.beta);
    case ActivationKind::sigmoid:
      return widened(x, sigmoid, 0.0, 1.0);
    case ActivationKind::tanh:
      return widened(
          x, [](double t) { return std::tanh(t); }, -1.0, 1.0);
    case ActivationKind::hard_sigmoid:
      return hard_sigmoid(x, point(f.alpha), point(f.beta));
    case ActivationKind::hard_swish:
      return hard_swish(x);
  }
  QUANTBOUND_ASSERT(false, static_cast<int>(f.kind));
  return x;
}

namespace {

/// The boxes of the operands of one node, and its shape.
class BoxStep {
 public:
  BoxStep(const Shape& shape, std::span<const Shape* const> input_shapes, std::span<const Box* const> inputs)
      : shape_(shape), input_shapes_(input_shapes), inputs_(inputs) {}

  Box operator()(const Activation& op) const {
    return each_element([&](Index i) { return activation_range(op, at(0, i)); });
  }
  Box operator()(const Add&) const {
    const double *a_low = box(0).low.data(), *a_high = box(0).high.data();
    const double *b_low = box(1).low.data(), *b_high = box(1).high.data();
    return each_element([=](Index i) { return Interval{a_low[i], a_high[i]} + Interval{b_low[i], b_high[i]}; });
  }
  Box operator()(const Product&) const {
    const Index size = tensor::elements(shape_), first = std::ssize(box(0).low), second = std::ssize(box(1).low);
    return each_element([&](Index i) { return at(0, i / (size / first)) * at(1, i / (size / second)); });
  }
  Box operator()(const ScaleShift& op) const {
    const Index size = tensor::elements(shape_);
    const Index per_scale = size / std::ssize(op.scale), per_shift = size / std::ssize(op.shift);
    return each_element([&](Index i) {
      return at(0, i) * point(op.scale[index(i / per_scale)]) + point(op.shift[index(i / per_shift)]);
    });
  }
  Box operator()(const Reshape&) const { return box(0); }
  Box operator()(const Permute& op) const { return moved(tensor::permutation(shape(0), op.axes)); }
  Box operator()(const Slice& op) const { return moved(tensor::slice(shape(0), op.start, op.step, op.count)); }
  Box operator()(const Pad& op) const {
    Box out = filled(op.value);
    move_into(out, 0, tensor::placement(shape(0), shape_, op.before));
    return out;
  }
  Box operator()(const Concat& op) const {
    Box out = filled(0.0);
    std::vector<Index> before(shape_.size(), 0);
    for (std::size_t which = 0; which < inputs_.size(); ++which) {
      move_into(out, which, tensor::placement(shape(which), shape_, before));
      before[index(op.axis)] += shape(which)[index(op.axis)];
    }
    return out;
  }
  Box operator()(const MaxPool& op) const {
    const tensor::Image image = image_of(shape(0));
    return {tensor::max_pool(op.window, image, box(0).low, 1), tensor::max_pool(op.window, image, box(0).high, 1)};
  }
  Box operator()(const AveragePool& op) const { return average(op.window, divisor_of(op)); }
  Box operator()(const GlobalAveragePool&) const {
    const tensor::Image image = image_of(shape(0));
    return average({.kernel_height = image.height, .kernel_width = image.width}, tensor::Divisor::window);
  }
  template <class Other>
  Box operator()(const Other&) const {
    QUANTBOUND_ASSERT(false, tensor::to_string(shape_));  // An Input is node 0; weight layers end the prefix.
    return {};
  }

 private:
  const Box& box(std::size_t which) const { return *inputs_[which]; }
  const Shape& shape(std::size_t which) const { return *input_shapes_[which]; }
  Interval at(std::size_t which, Index i) const { return {box(which).low[index(i)], box(which).high[index(i)]}; }

  template <class Function>
  Box each_element(Function function) const {
    constexpr Index operations = 16;  // of one element, about
    Box out = filled(0.0);
    double *low = out.low.data(), *high = out.high.data();
#pragma omp parallel for schedule(static) if (tensor::worth_threads(operations * std::ssize(out.low)))
    for (Index i = 0; i < std::ssize(out.low); ++i) {
      const Interval value = function(i);
      low[i] = value.low;
      high[i] = value.high;
    }
    return out;
  }

  Box filled(double value) const {
    const std::size_t size = index(tensor::elements(shape_));
    return {std::vector<double>(size, value), std::vector<double>(size, value)};
  }

  void move_into(Box& out, std::size_t which, const tensor::Rearrangement& rearrangement) const {
    tensor::rearrange(rearrangement, box(which).low.data(), out.low.data());
    tensor::rearrange(rearrangement, box(which).high.data(), out.high.data());
  }

  Box moved(const tensor::Rearrangement& rearrangement) const {
    Box out = filled(0.0);
    move_into(out, 0, rearrangement);
    return out;
  }

  Box average(const tensor::Window& window, tensor::Divisor divisor) const {
    const tensor::Image image = image_of(shape(0));
    const Index out_width = window.out_width(image.width), places = window.out_height(image.height) * out_width;
    const std::vector<Index> inside = tensor::inside_counts(window, image);
    return each_element([&](Index i) {
      const Index channel = i / places, place = i % places;
      Interval sum = point(0.0);
      for (Index ky = 0; ky < window.kernel_height; ++ky)
        for (Index kx = 0; kx < window.kernel_width; ++kx) {
          const Index y = place / out_width * window.stride_height - window.pad_top + ky * window.dilation_height;
          const Index x = place % out_width * window.stride_width - window.pad_left + kx * window.dilation_width;
          if (y < 0 || y >= image.height || x < 0 || x >= image.width) continue;
          sum = sum + at(0, (channel * image.height + y) * image.width + x);
        }
      const Index area = window.kernel_height * window.kernel_width;
      return sum / static_cast<double>(divisor == tensor::Divisor::window ? area : inside[index(place)]);
    });
  }

  const Shape& shape_;
  std::span<const Shape* const> input_shapes_;
  std::span<const Box* const> inputs_;
};

}  // namespace

Box operator_box(const Operator& op, const Shape& shape, std::span<const Shape* const> input_shapes,
                 std::span<const Box* const> inputs) {
  return std::visit(BoxStep(shape, input_shapes, inputs), op);
}

}  // namespace quantbound::network
