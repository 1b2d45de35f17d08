#include "intervals.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quantbound/certify/pair_bounds.hpp"
#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/convolution.hpp"
#include "quantbound/tensor/matrix.hpp"
#include "quantbound/tensor/worth_threads.hpp"

namespace quantbound::certify::detail {

namespace {

using core::nudge_down;
using core::nudge_up;
using tensor::worth_threads;

constexpr double infinity = std::numeric_limits<double>::infinity();
/// Products of magnitudes above this neither underflow nor lose digits in an FMA.
constexpr double safe = 0x1p-450;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

std::vector<double> absolute(std::span<const double> values) {
  std::vector<double> result(values.size());
#pragma omp parallel for schedule(static) if (worth_threads(std::ssize(values)))
  for (Index i = 0; i < std::ssize(values); ++i) result.data()[i] = std::abs(values.data()[i]);
  return result;
}

/// Whether every number is zero or at least `safe` in magnitude.
bool far_from_underflow(std::span<const double> values) {
  bool far = true;
#pragma omp parallel for schedule(static) reduction(&& : far) if (worth_threads(std::ssize(values)))
  for (Index i = 0; i < std::ssize(values); ++i) {
    const double magnitude = std::abs(values.data()[i]);
    far = far && (magnitude == 0.0 || !(magnitude < safe));
  }
  return far;
}

/// 1 where a number is not zero.
std::vector<double> support(std::span<const double> values) {
  std::vector<double> result(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) result[i] = values[i] != 0.0 ? 1.0 : 0.0;
  return result;
}

/// What a computed midpoint may be off by, relative to the sum of magnitudes: gamma_n, and four units for the rounding
/// of the weights themselves, of the radii and of this number.
double midpoint_error(Index terms) { return (static_cast<double>(terms) + 4.0) * 0x1p-53 * (1.0 + 0x1p-20); }

}  // namespace

MidpointRadius::MidpointRadius(const Box& box) : mid(box.low.size()), rad(box.low.size()) {
  QUANTBOUND_ASSERT(box.low.size() == box.high.size(), box.low.size(), box.high.size());
  const double *low = box.low.data(), *high = box.high.data();
  bool zero = true;
#pragma omp parallel for schedule(static) reduction(&& : zero) if (worth_threads(std::ssize(mid)))
  for (Index i = 0; i < std::ssize(mid); ++i) {
    const double middle = low[i] == high[i] ? low[i] : 0.5 * low[i] + 0.5 * high[i];
    const bool bounded = std::abs(middle) < infinity;  // NaN where both ends are infinite
    const double radius = nudge_up(std::max(high[i] - middle, middle - low[i]));
    mid.data()[i] = bounded ? middle : 0.0;
    rad.data()[i] = bounded ? radius : infinity;
    zero = zero && low[i] == 0.0 && high[i] == 0.0;
  }
  zero_ = zero;
}

LinearMap::LinearMap(const network::Operator& op) : op_(&op) {
  QUANTBOUND_ASSERT(std::holds_alternative<network::Convolution>(op) || std::holds_alternative<network::Dense>(op),
                    network::operator_name(op));
}

Index LinearMap::fan_in() const {
  const auto* convolution = std::get_if<network::Convolution>(op_);
  return convolution ? convolution->geometry.fan_in() : std::get<network::Dense>(*op_).inputs;
}

std::vector<double> LinearMap::multiply(std::span<const double> weights, std::span<const double> columns,
                                        Index batch) const {
  if (const auto* convolution = std::get_if<network::Convolution>(op_)) {
    return tensor::convolve(convolution->geometry, weights, {}, columns, batch);
  }
  return tensor::dense(std::get<network::Dense>(*op_).outputs, weights, {}, columns, batch);
}

std::vector<Box> LinearMap::images(std::span<const double> weights,
                                   std::span<const MidpointRadius* const> boxes) const {
  const Index batch = std::ssize(boxes), inputs = std::ssize(boxes.front()->mid);
  const double off = midpoint_error(fan_in());
  std::vector<double> mids(at(batch * inputs)), rads(mids.size());
  for (Index b = 0; b < batch; ++b) {
    const double *mid = boxes[at(b)]->mid.data(), *rad = boxes[at(b)]->rad.data();
    double *mid_out = mids.data() + b * inputs, *rad_out = rads.data() + b * inputs;
#pragma omp parallel for schedule(static) if (worth_threads(inputs))
    for (Index i = 0; i < inputs; ++i) {
      mid_out[i] = mid[i];
      // 2^-1074: the error itself may underflow.
      const double error = off * std::abs(mid[i]) + (mid[i] != 0.0 ? 0x1p-1074 : 0.0);
      rad_out[i] = nudge_up(rad[i] + error);
    }
  }
  const std::vector<double> centers = multiply(weights, mids, batch);
  const std::vector<double> magnitudes = absolute(weights);
  const std::vector<double> radii = multiply(magnitudes, rads, batch);
  // Zeros stay zero: only products that are not, and may have underflowed, are paid for.
  std::vector<double> products;
  if (!far_from_underflow(weights) || !far_from_underflow(mids) || !far_from_underflow(rads)) {
    products = multiply(support(weights), support(rads), batch);
  }
  const double inflation = 1.0 + (static_cast<double>(fan_in()) + 4.0) * 0x1p-52;
  const Index outputs = std::ssize(centers) / batch;
  std::vector<Box> result;
  for (Index b = 0; b < batch; ++b) {
    Box box{std::vector<double>(at(outputs)), std::vector<double>(at(outputs))};
    const double *center = centers.data() + b * outputs, *radius = radii.data() + b * outputs;
    const double* lost = products.empty() ? nullptr : products.data() + b * outputs;
    double *low = box.low.data(), *high = box.high.data();
#pragma omp parallel for schedule(static) if (worth_threads(outputs))
    for (Index i = 0; i < outputs; ++i) {
      // Each product of the midpoints and each of the radii may have lost 2^-1075; twice that for this line's rounding.
      const double slack = lost ? lost[i] * 0x1p-1072 : 0.0;
      const double total = nudge_up(radius[i] * inflation + slack);
      const bool bounded = std::abs(center[i]) < infinity && total < infinity;
      low[i] = bounded ? nudge_down(center[i] - total) : -infinity;
      high[i] = bounded ? nudge_up(center[i] + total) : infinity;
    }
    result.push_back(std::move(box));
  }
  return result;
}

core::Interval interval_at(const Box& box, std::size_t i) { return {box.low[i], box.high[i]}; }

Box zero_box(std::size_t size) { return {std::vector<double>(size, 0.0), std::vector<double>(size, 0.0)}; }

Box sum(const Box& a, const Box& b) {
  QUANTBOUND_ASSERT(a.low.size() == b.low.size(), a.low.size(), b.low.size());
  Box result = a;
#pragma omp parallel for schedule(static) if (worth_threads(std::ssize(a.low)))
  for (Index i = 0; i < std::ssize(a.low); ++i) {
    result.low.data()[i] = core::sum_floor(a.low.data()[i], b.low.data()[i]);
    result.high.data()[i] = core::sum_ceiling(a.high.data()[i], b.high.data()[i]);
  }
  return result;
}

Box separate_difference(const Box& fq, const Box& f) {
  QUANTBOUND_ASSERT(fq.low.size() == f.low.size(), fq.low.size(), f.low.size());
  Box result = fq;
#pragma omp parallel for schedule(static) if (worth_threads(std::ssize(f.low)))
  for (Index i = 0; i < std::ssize(f.low); ++i) {
    result.low.data()[i] = core::sum_floor(fq.low.data()[i], -f.high.data()[i]);
    result.high.data()[i] = core::sum_ceiling(fq.high.data()[i], -f.low.data()[i]);
  }
  return result;
}

void add_bias(Box& box, std::span<const double> bias, double relative_error) {
  const Index size = std::ssize(box.low), repeats = size / std::ssize(bias);
  QUANTBOUND_ASSERT(repeats * std::ssize(bias) == size, size, bias.size());
#pragma omp parallel for schedule(static) if (worth_threads(size))
  for (Index row = 0; row < std::ssize(bias); ++row) {
    const double b = bias[at(row)], error = std::abs(b) * relative_error;
    const double least = std::abs(b) < infinity ? b - error : -infinity;
    const double most = std::abs(b) < infinity ? b + error : infinity;
    for (Index i = row * repeats; i < (row + 1) * repeats; ++i) {
      box.low.data()[i] = core::sum_floor(box.low.data()[i], least);
      box.high.data()[i] = core::sum_ceiling(box.high.data()[i], most);
    }
  }
}

void intersect(Box& box, const Box& other) {
  QUANTBOUND_ASSERT(box.low.size() == other.low.size(), box.low.size(), other.low.size());
  bool empty = false;
#pragma omp parallel for schedule(static) reduction(|| : empty) if (worth_threads(std::ssize(box.low)))
  for (Index i = 0; i < std::ssize(box.low); ++i) {
    box.low.data()[i] = std::max(box.low.data()[i], other.low.data()[i]);
    box.high.data()[i] = std::min(box.high.data()[i], other.high.data()[i]);
    empty = empty || !(box.low.data()[i] <= box.high.data()[i]);
  }
  QUANTBOUND_ASSERT(!empty, "two enclosures of the same numbers do not meet");
}

}  // namespace quantbound::certify::detail
