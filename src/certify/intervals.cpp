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

/// Numbers and whether products of them may underflow.
struct Column {
  std::vector<double> values;
  bool far_from_underflow = true;
};

/// 1 for a number that is neither zero nor far enough from it. Not a bool: loops that collect these are vector code.
inline Index is_near(double magnitude) {
  return static_cast<Index>(magnitude < safe) & static_cast<Index>(magnitude != 0.0);
}

Column absolute(std::span<const double> values) {
  Column result{std::vector<double>(values.size()), true};
  const double* source = values.data();
  double* target = result.values.data();
  Index near = 0;
#pragma omp parallel for simd schedule(static) reduction(| : near) if (worth_threads(std::ssize(values)))
  for (Index i = 0; i < std::ssize(values); ++i) {
    target[i] = std::abs(source[i]);
    near |= is_near(target[i]);
  }
  result.far_from_underflow = near == 0;
  return result;
}

std::vector<double> joined(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> result;
  result.reserve(a.size() + b.size());
  result.insert(result.end(), a.begin(), a.end());
  result.insert(result.end(), b.begin(), b.end());
  return result;
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

struct Ball {
  double mid, rad;
};

/// An interval as midpoint and radius; unbounded ones have midpoint 0.
inline Ball ball_of(double low, double high) {
  const double middle = low == high ? low : 0.5 * low + 0.5 * high;
  const bool bounded = std::abs(middle) < infinity;  // NaN where both ends are infinite
  const double radius = nudge_up(std::max(high - middle, middle - low));
  return {bounded ? middle : 0.0, bounded ? radius : infinity};
}

/// What to add to the radius because the product with `mid` is rounded. 2^-1074: this number may underflow itself.
inline double error_of(double mid, double off) { return off * std::abs(mid) + (mid != 0.0 ? 0x1p-1074 : 0.0); }

/// |W| r for radii, rounded up. Zeros stay zero: only products that are not, and may have underflowed, are paid for,
/// here and for the midpoints that the radii belong to: each may have lost 2^-1075.
class Magnitudes {
 public:
  Magnitudes(const LinearMap& map, std::span<const double> weights)
      : map_(map),
        absolute_(absolute(weights)),
        inflation_(1.0 + (static_cast<double>(map.fan_in()) + 4.0) * 0x1p-52) {}

  void multiply(std::span<const double> radii, bool far_from_underflow, std::span<double> results) const {
    map_.multiply(absolute_.values, radii, results);
    double* values = results.data();
    if (far_from_underflow && absolute_.far_from_underflow) {
#pragma omp parallel for simd schedule(static) if (worth_threads(std::ssize(results)))
      for (Index i = 0; i < std::ssize(results); ++i) values[i] = nudge_up(values[i] * inflation_);
      return;
    }
    std::vector<double> products(results.size());
    map_.multiply(support(absolute_.values), support(radii), products);
    for (std::size_t i = 0; i < results.size(); ++i) {
      values[i] = nudge_up(values[i] * inflation_ + products[i] * 0x1p-1072);
    }
  }

 private:
  LinearMap map_;
  Column absolute_;
  double inflation_;
};

/// Ends of mid +- rad + bias, where the bias is known to `relative`.
inline core::Interval ends(double mid, double rad, double bias, double relative) {
  // Infinite or NaN in any of the three. One comparison, no branch, so that loops over this are vector code.
  const bool bounded = std::abs(mid) + rad + std::abs(bias) < infinity;
  const double error = std::abs(bias) * relative;
  const double low = nudge_down(nudge_down(mid - rad) + nudge_down(bias - error));
  const double high = nudge_up(nudge_up(mid + rad) + nudge_up(bias + error));
  return {bounded ? low : -infinity, bounded ? high : infinity};
}

/// Ends of the sum of two such numbers and the change of a bias.
inline core::Interval ends_of_sum(double mid_a, double rad_a, double mid_b, double rad_b, double bias_change) {
  const double mid = mid_a + mid_b;
  return ends(mid, nudge_up(nudge_up(rad_a + rad_b) + std::abs(mid) * 0x1p-53), bias_change, 0x1p-52);
}

}  // namespace

LinearMap::LinearMap(network::Operator op) : op_(std::move(op)) {
  QUANTBOUND_ASSERT(std::holds_alternative<network::Convolution>(op_) || std::holds_alternative<network::Dense>(op_),
                    network::operator_name(op_));
}

bool LinearMap::stackable() const {
  const auto* convolution = std::get_if<network::Convolution>(&op_);
  return !convolution || convolution->geometry.groups == 1;
}

LinearMap LinearMap::stacked() const {
  QUANTBOUND_ASSERT(stackable(), network::operator_name(op_));
  LinearMap both = *this;
  if (auto* convolution = std::get_if<network::Convolution>(&both.op_)) {
    convolution->geometry.channels_out *= 2;
  } else {
    std::get<network::Dense>(both.op_).outputs *= 2;
  }
  return both;
}

Index LinearMap::fan_in() const {
  const auto* convolution = std::get_if<network::Convolution>(&op_);
  return convolution ? convolution->geometry.fan_in() : std::get<network::Dense>(op_).inputs;
}

Index LinearMap::inputs() const {
  const auto* convolution = std::get_if<network::Convolution>(&op_);
  if (!convolution) return std::get<network::Dense>(op_).inputs;
  return convolution->geometry.channels_in * convolution->geometry.height * convolution->geometry.width;
}

Index LinearMap::multiply_adds() const {
  const auto* convolution = std::get_if<network::Convolution>(&op_);
  return convolution ? convolution->geometry.multiply_adds() : fan_in() * std::get<network::Dense>(op_).outputs;
}

Index LinearMap::outputs() const {
  const auto* convolution = std::get_if<network::Convolution>(&op_);
  if (!convolution) return std::get<network::Dense>(op_).outputs;
  return convolution->geometry.channels_out * convolution->geometry.out_height() * convolution->geometry.out_width();
}

void LinearMap::multiply(std::span<const double> weights, std::span<const double> columns,
                         std::span<double> results) const {
  const Index batch = std::ssize(columns) / inputs();
  if (const auto* convolution = std::get_if<network::Convolution>(&op_)) {
    tensor::convolve(convolution->geometry, weights, {}, columns, batch, results);
  } else {
    tensor::dense(std::get<network::Dense>(op_).outputs, weights, {}, columns, batch, results);
  }
}

namespace {

/// `count` vectors of `size` numbers; memory that is there already is kept.
std::span<double> room(std::vector<double>& memory, Index count, Index size) {
  if (std::ssize(memory) < count * size) {
    memory.clear();  // nothing to copy
    memory.resize(at(count * size));
  }
  return {memory.data(), at(count * size)};
}

}  // namespace

Box layer_image(const LinearMap& map, const LayerParameters& layer, const Box& y, Workspace& work) {
  const Index inputs = std::ssize(y.low), outputs = map.outputs();
  const double off = midpoint_error(map.fan_in());
  const std::span<double> mids = room(work.mids, 1, inputs), rads = room(work.rads, 1, inputs);
  Index near = 0;
#pragma omp parallel for simd schedule(static) reduction(| : near) if (worth_threads(inputs))
  for (Index i = 0; i < inputs; ++i) {
    const Ball ball = ball_of(y.low.data()[i], y.high.data()[i]);
    mids.data()[i] = ball.mid;
    rads.data()[i] = nudge_up(ball.rad + error_of(ball.mid, off));
    near |= is_near(std::abs(ball.mid)) | is_near(rads.data()[i]);
  }
  const std::span<double> mid = room(work.by_f, 1, outputs), rad = room(work.rad_f, 1, outputs);
  map.multiply(layer.weights, mids, mid);
  Magnitudes(map, layer.weights).multiply(rads, near == 0, rad);
  Box out = zero_box(mid.size());
  const Index rows = std::ssize(layer.bias), places = std::ssize(mid) / rows;
#pragma omp parallel for schedule(static) if (worth_threads(std::ssize(mid)))
  for (Index row = 0; row < rows; ++row) {
    const double bias = layer.bias.data()[row];
#pragma omp simd
    for (Index i = row * places; i < (row + 1) * places; ++i) {
      const core::Interval value = ends(mid.data()[i], rad.data()[i], bias, 0.0);
      out.low.data()[i] = value.low;
      out.high.data()[i] = value.high;
    }
  }
  return out;
}

namespace {

/// The columns that a changed layer meets; radii come with the rounding errors of the midpoints.
struct PairColumns {
  std::span<double> mids, rads;  ///< of y, d, y'
  bool far_from_underflow = true;

  static constexpr Index y = 0, d = 1, yq = 2;

  PairColumns(const PairBox& in, Index fan_in, Workspace& work)
      : mids(room(work.mids, 3, std::ssize(in.f.low))), rads(room(work.rads, 3, std::ssize(in.f.low))) {
    const Index size = std::ssize(in.f.low);
    const double off = midpoint_error(fan_in);
    double *mid = mids.data(), *rad = rads.data();
    Index near = 0;
#pragma omp parallel for simd schedule(static) reduction(| : near) if (worth_threads(size))
    for (Index i = 0; i < size; ++i) {
      const Ball f = ball_of(in.f.low.data()[i], in.f.high.data()[i]);
      const Ball fq = ball_of(in.fq.low.data()[i], in.fq.high.data()[i]);
      const Ball change = ball_of(in.difference.low.data()[i], in.difference.high.data()[i]);
      mid[y * size + i] = f.mid;
      mid[d * size + i] = change.mid;
      mid[yq * size + i] = fq.mid;
      rad[y * size + i] = nudge_up(f.rad + error_of(f.mid, off));
      rad[d * size + i] = nudge_up(change.rad + error_of(change.mid, off));
      rad[yq * size + i] = nudge_up(fq.rad + error_of(fq.mid, off));
      near |= is_near(std::abs(f.mid)) | is_near(std::abs(fq.mid)) | is_near(std::abs(change.mid));
      near |= is_near(rad[y * size + i]) | is_near(rad[d * size + i]) | is_near(rad[yq * size + i]);
    }
    far_from_underflow = near == 0;
  }

  std::span<const double> mid(Index first, Index count = 1) const { return part(mids, first, count); }
  std::span<const double> rad(Index first, Index count = 1) const { return part(rads, first, count); }

 private:
  std::span<const double> part(std::span<const double> of, Index first, Index count) const {
    const std::size_t size = mids.size() / 3;
    return of.subspan(at(first) * size, at(count) * size);
  }
};

}  // namespace

PairBox pair_image(const LinearMap& map, const LayerParameters& f, const LayerParameters& fq,
                   const LayerParameters& change, const PairBox& in, Workspace& work, Index most_for_both) {
  const bool both = map.multiply_adds() <= most_for_both;
  const PairColumns columns(in, map.fan_in(), work);
  const bool far = columns.far_from_underflow;
  const Index size = map.outputs(), rows = std::ssize(f.bias), places = size / rows;
  const std::span<double> by_f = room(work.by_f, 2, size), by_yq = room(work.by_yq, 2, size),
                          rad_f = room(work.rad_f, 2, size), rad_yq = room(work.rad_yq, 2, size),
                          by_second = room(work.by_second, both ? 2 : 0, size),
                          rad_second = room(work.rad_second, both ? 2 : 0, size);
  map.multiply(f.weights, columns.mid(PairColumns::y, 2), by_f);
  Magnitudes(map, f.weights).multiply(columns.rad(PairColumns::y, 2), far, rad_f);
  // y' meets W' and dW.
  const std::span<const double> mid_yq = columns.mid(PairColumns::yq), radius_yq = columns.rad(PairColumns::yq);
  if (map.stackable() && !both) {
    const std::vector<double> rows_of_both = joined(fq.weights, change.weights);
    map.stacked().multiply(rows_of_both, mid_yq, by_yq);
    Magnitudes(map.stacked(), rows_of_both).multiply(radius_yq, far, rad_yq);
  } else {
    const Magnitudes absolute_fq(map, fq.weights), absolute_change(map, change.weights);
    map.multiply(fq.weights, mid_yq, by_yq.first(at(size)));
    map.multiply(change.weights, mid_yq, by_yq.last(at(size)));
    absolute_fq.multiply(radius_yq, far, rad_yq.first(at(size)));
    absolute_change.multiply(radius_yq, far, rad_yq.last(at(size)));
    if (both) {
      map.multiply(fq.weights, columns.mid(PairColumns::d), by_second.first(at(size)));
      map.multiply(change.weights, columns.mid(PairColumns::y), by_second.last(at(size)));
      absolute_fq.multiply(columns.rad(PairColumns::d), far, rad_second.first(at(size)));
      absolute_change.multiply(columns.rad(PairColumns::y), far, rad_second.last(at(size)));
    }
  }
  const double *mid_first = by_f.data() + size, *rad_first = rad_f.data() + size;
  // Without the second identity, the first twice.
  const double *mid_second = both ? by_second.data() : mid_first, *rad_second_d = both ? rad_second.data() : rad_first;
  const double* mid_second_y = (both ? by_second : by_yq).data() + size;
  const double* rad_second_y = (both ? rad_second : rad_yq).data() + size;
  PairBox out{zero_box(at(size)), zero_box(at(size)), zero_box(at(size))};
#pragma omp parallel for schedule(static) if (worth_threads(size))
  for (Index row = 0; row < rows; ++row) {
    const double b = f.bias.data()[row], bq = fq.bias.data()[row], db = change.bias.data()[row];
#pragma omp simd
    for (Index i = row * places; i < (row + 1) * places; ++i) {
      const core::Interval y = ends(by_f.data()[i], rad_f.data()[i], b, 0.0);
      const core::Interval yq = ends(by_yq.data()[i], rad_yq.data()[i], bq, 0.0);
      const core::Interval apart{core::quick_sum_floor(yq.low, -y.high), core::quick_sum_ceiling(yq.high, -y.low)};
      const core::Interval first =
          ends_of_sum(mid_first[i], rad_first[i], by_yq.data()[size + i], rad_yq.data()[size + i], db);
      const core::Interval second = ends_of_sum(mid_second[i], rad_second_d[i], mid_second_y[i], rad_second_y[i], db);
      const core::Interval d = core::intersection(apart, core::intersection(first, second));
      out.f.low.data()[i] = y.low;
      out.f.high.data()[i] = y.high;
      out.fq.low.data()[i] = yq.low;
      out.fq.high.data()[i] = yq.high;
      out.difference.low.data()[i] = d.low;
      out.difference.high.data()[i] = d.high;
    }
  }
  return out;
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
