#include "intervals.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include <omp.h>

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

/// 1 for a number that is neither zero nor far enough from it. Not a bool: loops that collect these are vector code.
inline Index is_near(double magnitude) {
  return static_cast<Index>(magnitude < safe) & static_cast<Index>(magnitude != 0.0);
}

/// How much of a loop a thread takes at once (as it comes: other programs may use the cores too); about so many
/// operations cost an element of the loops over boxes.
constexpr Index at_once = 2048, operations = 16;

/// The same of `size` numbers at once. A loop of its own: together with others, it keeps them from being vector code.
Index any_near(const double* values, Index size) {
  Index near = 0;
  for (Index i = 0; i < size; ++i) near |= is_near(std::abs(values[i]));
  return near;
}

/// target = source and magnitudes = |source|; whether one of them is near to underflow. `target` may be null.
Index copy_weights(std::span<const double> source, double* target, double* magnitudes) {
  Index near = 0;
#pragma omp parallel for schedule(static) reduction(| : near) if (worth_threads(std::ssize(source)))
  for (Index first = 0; first < std::ssize(source); first += at_once) {
    const Index end = std::min(first + at_once, std::ssize(source));
    if (target) std::copy(source.data() + first, source.data() + end, target + first);
#pragma GCC ivdep
    for (Index i = first; i < end; ++i) {
      magnitudes[i] = std::abs(source.data()[i]);
      near |= is_near(magnitudes[i]);
    }
  }
  return near;
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

/// What to add to the radius because the product with `mid` is rounded. 2^-1022, the least number that is not denormal
/// (those cost some processors many cycles): this number may underflow itself.
inline double error_of(double mid, double off) { return off * std::abs(mid) + (mid != 0.0 ? 0x1p-1022 : 0.0); }

/// What a computed |W| r may be short by, relatively.
double radius_inflation(const LinearMap& map) { return 1.0 + (static_cast<double>(map.fan_in()) + 4.0) * 0x1p-52; }

/// What products that underflowed may have taken from |W| r, and from the midpoints that the radii belong to: each up
/// to 2^-1075. Only products that are not zero, so that zeros stay zero.
void add_underflow(const LinearMap& map, const Multiplication& radii) {
  std::vector<double> products(radii.results.size());
  map.multiply(support(radii.weights), support(radii.columns), products);
  double* results = radii.results.data();
  for (std::size_t i = 0; i < products.size(); ++i) results[i] = nudge_up(results[i] + products[i] * 0x1p-1072);
}

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
  return convolution && convolution->geometry.groups == 1;
}

LinearMap LinearMap::stacked() const {
  QUANTBOUND_ASSERT(stackable(), network::operator_name(op_));
  LinearMap both = *this;
  std::get<network::Convolution>(both.op_).geometry.channels_out *= 2;
  return both;
}

Index LinearMap::separate_channels() const {
  const auto* convolution = std::get_if<network::Convolution>(&op_);
  return convolution && convolution->geometry.groups == convolution->geometry.channels_in ? convolution->geometry.groups
                                                                                          : 1;
}

LinearMap LinearMap::some_channels(Index count) const {
  const Index channels = separate_channels();
  QUANTBOUND_ASSERT(count > 0 && count <= channels, count, channels);
  LinearMap some = *this;
  if (channels > 1) {
    tensor::Convolution& geometry = std::get<network::Convolution>(some.op_).geometry;
    geometry.channels_out = geometry.channels_out / channels * count;
    geometry.channels_in = geometry.groups = count;
  }
  return some;
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

void LinearMap::multiply(std::span<const Multiplication> stacked, std::span<const Multiplication> single) const {
  const Index count = std::ssize(stacked) + std::ssize(single);
  const LinearMap both = stacked.empty() ? *this : this->stacked();
  const auto map_of = [&](Index i) -> const LinearMap& { return i < std::ssize(stacked) ? both : *this; };
  const auto one = [&](Index i) -> const Multiplication& {
    return i < std::ssize(stacked) ? stacked[at(i)] : single[at(i - std::ssize(stacked))];
  };
  if (std::holds_alternative<network::Convolution>(op_)) {
    std::vector<tensor::ConvolutionTask> tasks;
    for (Index i = 0; i < count; ++i) {
      const tensor::Convolution& geometry = std::get<network::Convolution>(map_of(i).op_).geometry;
      const Index batch = std::ssize(one(i).columns) / inputs();
      tasks.push_back({geometry, one(i).weights, one(i).columns, batch, one(i).results});
    }
    tensor::convolve(tasks);
    return;
  }
  // Few columns are one piece of work to tensor::dense.
#pragma omp parallel for schedule(dynamic) if (worth_threads(count * multiply_adds()))
  for (Index i = 0; i < count; ++i) map_of(i).multiply(one(i).weights, one(i).columns, one(i).results);
}

namespace {

/// A box whose numbers mean nothing yet.
Box uninitialised_box(Workspace& work, Index size) { return {work.take(size), work.take(size)}; }

/// `count` vectors of `size` numbers; memory that is there already is kept.
std::span<double> room(std::vector<double>& memory, Index count, Index size) {
  if (std::ssize(memory) < count * size) {
    memory.clear();  // nothing to copy
    memory.resize(at(count * size));
  }
  return {memory.data(), at(count * size)};
}

}  // namespace

namespace {

/// An interval per element, as midpoints and radii that come with the rounding errors of the products with the
/// midpoints; whether one is near to underflow.
Index fill_column(const double* low, const double* high, Index size, double off, double* mid, double* rad) {
#pragma GCC ivdep
  for (Index i = 0; i < size; ++i) {
    const Ball ball = ball_of(low[i], high[i]);
    mid[i] = ball.mid;
    rad[i] = nudge_up(ball.rad + error_of(ball.mid, off));
  }
  return any_near(mid, size) | any_near(rad, size);
}

}  // namespace

Box layer_image(const LinearMap& map, const LayerParameters& layer, const Box& y, Workspace& work) {
  const Index inputs = std::ssize(y.low), outputs = map.outputs();
  const double off = midpoint_error(map.fan_in()), inflation = radius_inflation(map);
  const std::span<double> columns = room(work.memory, 2, inputs + outputs);
  double *mids = columns.data(), *rads = mids + inputs, *mid = rads + inputs, *rad = mid + outputs;
  const std::span<double> magnitudes = room(work.weights, 1, std::ssize(layer.weights));
  Index near = copy_weights(layer.weights, nullptr, magnitudes.data());
#pragma omp parallel for schedule(static) reduction(| : near) if (worth_threads(operations * inputs))
  for (Index first = 0; first < inputs; first += at_once) {
    near |= fill_column(y.low.data() + first, y.high.data() + first, std::min(at_once, inputs - first), off,
                        mids + first, rads + first);
  }
  const Multiplication midpoints{layer.weights, {mids, at(inputs)}, {mid, at(outputs)}};
  const Multiplication radii{magnitudes, {rads, at(inputs)}, {rad, at(outputs)}};
  map.multiply({}, std::array{midpoints, radii});
  if (near != 0) add_underflow(map, radii);
  Box out = uninitialised_box(work, outputs);
  double *low = out.low.data(), *high = out.high.data();
  const Index rows = std::ssize(layer.bias), places = outputs / rows;
#pragma omp parallel for schedule(static) if (worth_threads(operations * outputs))
  for (Index row = 0; row < rows; ++row) {
    const double bias = layer.bias.data()[row];
#pragma GCC ivdep
    for (Index i = row * places; i < (row + 1) * places; ++i) {
      const core::Interval value = ends(mid[i], nudge_up(rad[i] * inflation), bias, 0.0);
      low[i] = value.low;
      high[i] = value.high;
    }
  }
  return out;
}

namespace {
/// The weights of a changed layer as its passes meet them, with their magnitudes. Those of dW are behind those of W'
/// where the map is stackable.
struct PairWeights {
  const double *f, *fq, *change, *f_magnitudes, *fq_magnitudes, *change_magnitudes;
  Index size;
  bool far_from_underflow;

  PairWeights(const LinearMap& map, const LayerParameters& layer, const LayerParameters& quantized,
              const LayerParameters& by, Workspace& work)
      : f(layer.weights.data()), size(std::ssize(layer.weights)) {
    // Copies for one map with the rows of both; without them, the magnitudes alone.
    double* const magnitudes = room(work.weights, map.stackable() ? 5 : 3, size).data();
    double* const both = map.stackable() ? magnitudes + 3 * size : nullptr;
    Index near = copy_weights(quantized.weights, both, magnitudes);
    near |= copy_weights(by.weights, both ? both + size : nullptr, magnitudes + size);
    near |= copy_weights(layer.weights, nullptr, magnitudes + 2 * size);
    far_from_underflow = near == 0;
    fq = both ? both : quantized.weights.data();
    change = both ? both + size : by.weights.data();
    fq_magnitudes = magnitudes;
    change_magnitudes = magnitudes + size;
    f_magnitudes = magnitudes + 2 * size;
  }

  PairWeights part(Index first, Index count) const {
    PairWeights result = *this;
    for (const double** pointer : {&result.f, &result.fq, &result.change, &result.f_magnitudes, &result.fq_magnitudes,
                                   &result.change_magnitudes}) {
      *pointer += first;
    }
    result.size = count;
    return result;
  }
};

struct Biases {
  const double *f, *fq, *change;
};

/// The six ends of a box of pairs, from some element on.
template <class Number>
struct PairEnds {
  Number *f_low, *f_high, *fq_low, *fq_high, *d_low, *d_high;
};
template <class Number, class Boxes>
PairEnds<Number> ends_from(Boxes& box, Index first) {
  return {box.f.low.data() + first,   box.f.high.data() + first,         box.fq.low.data() + first,
          box.fq.high.data() + first, box.difference.low.data() + first, box.difference.high.data() + first};
}

/// The products of a changed layer: midpoints and radii of W y, W d, W' y', dW y' and, where both identities are used,
/// of W' d, dW y.
struct Products {
  const double *mids, *rads, *second_mids, *second_rads;
  Index size;
  double inflation;
};

inline core::Interval ends_of_sum(const Products& in, Index a, Index b, double bias_change) {
  return ends_of_sum(in.mids[a], nudge_up(in.rads[a] * in.inflation), in.mids[b], nudge_up(in.rads[b] * in.inflation),
                     bias_change);
}

/// y, y' and d of the elements [begin, end), which share their biases.
void assemble_row(const Products& in, double b, double bq, double db, Index begin, Index end,
                  const PairEnds<double>& to) {
  const Products p = in;
  const PairEnds<double> out = to;
#pragma GCC ivdep
  for (Index i = begin; i < end; ++i) {
    const core::Interval y = ends(p.mids[i], nudge_up(p.rads[i] * p.inflation), b, 0.0);
    const core::Interval yq = ends(p.mids[2 * p.size + i], nudge_up(p.rads[2 * p.size + i] * p.inflation), bq, 0.0);
    const core::Interval apart{core::quick_sum_floor(yq.low, -y.high), core::quick_sum_ceiling(yq.high, -y.low)};
    const core::Interval d = core::intersection(apart, ends_of_sum(p, p.size + i, 3 * p.size + i, db));
    out.f_low[i] = y.low;
    out.f_high[i] = y.high;
    out.fq_low[i] = yq.low;
    out.fq_high[i] = yq.high;
    out.d_low[i] = d.low;
    out.d_high[i] = d.high;
  }
}

/// Keeps of d what W' d + dW y + db allows.
void intersect_row(const Products& in, double db, Index begin, Index end, const PairEnds<double>& out) {
  const Products second{in.second_mids, in.second_rads, nullptr, nullptr, in.size, in.inflation};
#pragma GCC ivdep
  for (Index i = begin; i < end; ++i) {
    const core::Interval d = core::intersection({out.d_low[i], out.d_high[i]}, ends_of_sum(second, i, in.size + i, db));
    out.d_low[i] = d.low;
    out.d_high[i] = d.high;
  }
}

enum class Identities { first, both };

/// The numbers that `part_image` keeps in memory.
Index part_memory(Index inputs, Index outputs, Identities identities) {
  return 6 * inputs + (identities == Identities::both ? 12 : 8) * outputs;
}

/// A layer, or some channels of one that keeps channels apart: `in` and `out` begin with their elements.
void part_image(const LinearMap& map, const PairWeights& weights, const Biases& bias, Index rows, Index inputs,
                const PairEnds<const double>& in, const PairEnds<double>& out, Identities identities, double* memory) {
  const Index outputs = map.outputs();
  const double off = midpoint_error(map.fan_in());
  double *mids = memory, *rads = mids + 3 * inputs;  // of y, d, y'
  Index near = weights.far_from_underflow ? 0 : 1;
#pragma omp parallel for schedule(dynamic) reduction(| : near) if (worth_threads(3 * operations * inputs))
  for (Index first = 0; first < inputs; first += at_once) {
    const Index count = std::min(at_once, inputs - first);
    const auto fill = [&](const double* low, const double* high, Index column) {
      const Index to = column * inputs + first;
      return fill_column(low + first, high + first, count, off, mids + to, rads + to);
    };
    near |= fill(in.f_low, in.f_high, 0);
    near |= fill(in.d_low, in.d_high, 1);
    near |= fill(in.fq_low, in.fq_high, 2);
  }
  double *mid = rads + 3 * inputs, *rad = mid + 4 * outputs, *second_mid = rad + 4 * outputs,
         *second_rad = second_mid + 2 * outputs;
  const Index size = weights.size;
  const auto midpoints = [&](const double* w, Index count, Index column, Index columns, double* to, Index result) {
    return Multiplication{{w, at(count)}, {mids + column * inputs, at(columns * inputs)}, {to, at(result * outputs)}};
  };
  const auto radii = [&](const double* w, Index count, Index column, Index columns, double* to, Index result) {
    return Multiplication{{w, at(count)}, {rads + column * inputs, at(columns * inputs)}, {to, at(result * outputs)}};
  };
  std::vector<Multiplication> stacked, single;  // midpoints and radii in turn
  single.push_back(midpoints(weights.f, size, 0, 2, mid, 2));
  single.push_back(radii(weights.f_magnitudes, size, 0, 2, rad, 2));
  const bool adjacent =
      weights.change == weights.fq + size && weights.change_magnitudes == weights.fq_magnitudes + size;
  if (adjacent && map.stackable() && identities == Identities::first) {
    stacked.push_back(midpoints(weights.fq, 2 * size, 2, 1, mid + 2 * outputs, 2));
    stacked.push_back(radii(weights.fq_magnitudes, 2 * size, 2, 1, rad + 2 * outputs, 2));
  } else {
    single.push_back(midpoints(weights.fq, size, 2, 1, mid + 2 * outputs, 1));
    single.push_back(radii(weights.fq_magnitudes, size, 2, 1, rad + 2 * outputs, 1));
    single.push_back(midpoints(weights.change, size, 2, 1, mid + 3 * outputs, 1));
    single.push_back(radii(weights.change_magnitudes, size, 2, 1, rad + 3 * outputs, 1));
  }
  if (identities == Identities::both) {
    single.push_back(midpoints(weights.fq, size, 1, 1, second_mid, 1));
    single.push_back(radii(weights.fq_magnitudes, size, 1, 1, second_rad, 1));
    single.push_back(midpoints(weights.change, size, 0, 1, second_mid + outputs, 1));
    single.push_back(radii(weights.change_magnitudes, size, 0, 1, second_rad + outputs, 1));
  }
  map.multiply(stacked, single);
  if (near != 0) {
    for (std::size_t i = 1; i < stacked.size(); i += 2) add_underflow(map.stacked(), stacked[i]);
    for (std::size_t i = 1; i < single.size(); i += 2) add_underflow(map, single[i]);
  }
  const Products products{mid, rad, second_mid, second_rad, outputs, radius_inflation(map)};
  const Index places = outputs / rows;
#pragma omp parallel for schedule(guided) if (worth_threads(3 * operations * outputs))
  for (Index row = 0; row < rows; ++row) {
    const Index begin = row * places, end = begin + places;
    assemble_row(products, bias.f[row], bias.fq[row], bias.change[row], begin, end, out);
    if (identities == Identities::both) intersect_row(products, bias.change[row], begin, end, out);
  }
}

/// Channels whose columns and products stay in the second-level cache together.
Index channels_at_once(Index channels, Index inputs, Index outputs) {
  constexpr Index most = Index{1} << 15;
  return std::clamp<Index>(most / std::max<Index>(1, 6 * inputs + 8 * outputs), 1, channels);
}

}  // namespace

PairBox pair_image(const LinearMap& map, const LayerParameters& f, const LayerParameters& fq,
                   const LayerParameters& change, const PairBox& in, Workspace& work, Index most_for_both) {
  const Identities identities = map.multiply_adds() <= most_for_both ? Identities::both : Identities::first;
  const Index inputs = std::ssize(in.f.low), outputs = map.outputs(), rows = std::ssize(f.bias);
  const PairWeights weights(map, f, fq, change, work);
  PairBox out{uninitialised_box(work, outputs), uninitialised_box(work, outputs), uninitialised_box(work, outputs)};
  // A layer that keeps channels apart goes a few channels at a time, so that what it computes for them is met again
  // while it is in the caches.
  const Index channels = map.separate_channels(), in_channel = inputs / channels, out_channel = outputs / channels;
  const Index block = channels == 1 ? 1 : channels_at_once(channels, in_channel, out_channel);
  const Index memory = part_memory(block * in_channel, block * out_channel, identities);
  const Index blocks = (channels + block - 1) / block;
  const bool threads = blocks > 1 && worth_threads(map.multiply_adds());
  double* const scratch = room(work.memory, threads ? omp_get_max_threads() : 1, memory).data();
#pragma omp parallel for schedule(dynamic) if (threads)
  for (Index item = 0; item < blocks; ++item) {
    const Index first = item * block, count = std::min(block, channels - first);
    const Index row = first * (rows / channels), taps = weights.size / channels;
    part_image(map.some_channels(count), weights.part(first * taps, count * taps),
               {f.bias.data() + row, fq.bias.data() + row, change.bias.data() + row}, count * (rows / channels),
               count * in_channel, ends_from<const double>(in, first * in_channel),
               ends_from<double>(out, first * out_channel), identities,
               scratch + (threads ? omp_get_thread_num() : 0) * memory);
  }
  return out;
}

std::vector<double> Workspace::take(Index size) {
  if (spare.empty()) return std::vector<double>(at(size));
  // The last one that is large enough, or else the last one.
  auto found = std::find_if(spare.rbegin(), spare.rend(), [&](const auto& v) { return std::ssize(v) >= size; });
  if (found == spare.rend()) found = spare.rbegin();
  std::swap(*found, spare.back());
  std::vector<double> result = std::move(spare.back());
  spare.pop_back();
  if (std::ssize(result) < size) result.clear();  // nothing to copy
  result.resize(at(size));
  return result;
}

void Workspace::give(PairBox box) {
  constexpr std::size_t most = 12;  // two boxes: what a chain of layers needs
  for (Box* part : {&box.f, &box.fq, &box.difference}) {
    for (std::vector<double>* numbers : {&part->low, &part->high}) {
      if (!numbers->empty() && spare.size() < most) spare.push_back(std::move(*numbers));
    }
  }
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
