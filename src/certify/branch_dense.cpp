#include "branch_dense.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"

#include "branch_lines.hpp"

namespace quantbound::certify::detail {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
/// Added wherever a product may have underflowed: far above what thousands of denormals sum to, far below any bound.
constexpr double tiny = 1e-300;

/// Relative rounding error of a sum of `terms` fused products and whatever few operations surround it, with room for
/// the 2^-53 that the stored change may be off.
double gamma(Index terms) { return static_cast<double>(terms + 16) * 0x1p-53 * (1.0 + 0x1p-20); }

/// Lines of all neurons of a layer, for one network or for the difference.
struct LineArrays {
  AlignedDoubles slope_high, slope_low, offset_high, offset_low, weight, gap_high, gap_low;

  explicit LineArrays(Index size)
      : slope_high(size),
        slope_low(size),
        offset_high(size),
        offset_low(size),
        weight(size),
        gap_high(size),
        gap_low(size) {}
  LineView view() const {
    return {slope_high.data(), slope_low.data(), offset_high.data(), offset_low.data(), weight.data()};
  }
  void set(Index i, const HingeLines& lines, double line_weight) {
    slope_high[i] = lines.slope_high;
    slope_low[i] = lines.slope_low;
    offset_high[i] = lines.offset_high;
    offset_low[i] = lines.offset_low;
    gap_high[i] = lines.gap_high;
    gap_low[i] = lines.gap_low;
    weight[i] = line_weight;
  }
};

/// A list of neurons.
struct IndexList {
  std::vector<std::int32_t> items;
  Index count = 0;

  explicit IndexList(Index room) : items(static_cast<std::size_t>(room)) {}
  void clear() { count = 0; }
  void add(Index i) { items[static_cast<std::size_t>(count++)] = static_cast<std::int32_t>(i); }
  Index operator[](Index i) const { return items[static_cast<std::size_t>(i)]; }
  const std::int32_t* data() const { return items.data(); }
};

/// Intervals of a vector as midpoints and radii, and which are not exactly zero.
struct Centered {
  AlignedDoubles center, radius;
  IndexList nonzero;

  explicit Centered(Index size) : center(size), radius(size), nonzero(padded(size)) {}
  void set(Index i, const Interval& x) {
    const double middle = 0.5 * x.low + 0.5 * x.high;
    const double reach = std::max(x.high - middle, middle - x.low) * (1.0 + 0x1p-51);
    const bool bounded = reach < infinity;
    center[i] = bounded ? middle : 0.0;
    radius[i] = bounded ? reach : infinity;
    if (x.low != 0.0 || x.high != 0.0) nonzero.add(i);
  }
};

/// What is known of one vector of values before the activation: interval and a bound of |W| |in| + |b|, which the
/// rounding errors of anything computed from it are proportional to.
struct Ranges {
  AlignedDoubles low, high, mass;

  explicit Ranges(Index size) : low(size), high(size), mass(size) {}
  Interval operator[](Index i) const { return {low[i], high[i]}; }
  void set(Index i, const Interval& x) {
    low[i] = x.low;
    high[i] = x.high;
  }
};

/// One network at one layer.
struct NetScratch {
  Ranges before;
  Centered after;
  LineArrays lines;      ///< of the activation
  LineArrays with_bias;  ///< the same with the bias of the layer in the offsets
  std::vector<Phase> phase;
  IndexList open;               ///< neurons that are not on one piece
  IndexList sloped;             ///< neurons whose lines are not constant: the others drop out of every product
  AlignedDoubles input_slopes;  ///< {neurons, padded inputs}: largest |coefficient| of an open neuron's bounds in x

  NetScratch(Index outputs, Index input_stride)
      : before(padded(outputs)),
        after(padded(outputs)),
        lines(padded(outputs)),
        with_bias(padded(outputs)),
        phase(static_cast<std::size_t>(outputs), Phase::open),
        open(outputs),
        sloped(outputs),
        input_slopes(outputs * input_stride) {}
};

struct LayerScratch {
  NetScratch f, fq;
  Ranges difference;
  Centered difference_after;
  LineArrays difference_lines;
  IndexList sloped;       ///< of either network
  AlignedDoubles losses;  ///< {functionals, padded neurons}

  LayerScratch(const DenseLayer& layer, Index input_stride, Index functionals, Index widest)
      : f(layer.outputs, input_stride),
        fq(layer.outputs, input_stride),
        difference(layer.output_stride()),
        difference_after(layer.output_stride()),
        difference_lines(layer.output_stride()),
        sloped(layer.outputs),
        losses(std::max(functionals, 2 * widest) * layer.output_stride()) {}
};

/// Rows of coefficients with their sums, in two buffers that swap.
struct Rows {
  AlignedDoubles now, next;
  RowBlock block(Index stride, Index rows) { return {now.data(), stride, rows}; }
  RowBlock next_block(Index stride, Index rows) { return {next.data(), stride, rows}; }
  void swap() { std::swap(now, next); }

  explicit Rows(Index size) : now(size), next(size) {}
};

class DenseBounder final : public BranchBounder {
 public:
  DenseBounder(const Pair& pair, const DenseKernels& kernels) : pair_(compile_dense_pair(pair)), kernels_(kernels) {}

  PieceShape shape() const override;
  void make_root(const Box& region, const PieceView& piece) const override;
  void divide(const PieceView& piece, const PieceView& other) const override;
  std::unique_ptr<BranchWorker> make_worker() const override;

  const DensePair& pair() const { return pair_; }
  const DenseKernels& kernels() const { return kernels_; }

 private:
  DensePair pair_;
  const DenseKernels& kernels_;
};

class DenseWorker final : public BranchWorker {
 public:
  explicit DenseWorker(const DenseBounder& bounder);

  Verdict bound(const PieceView& piece, std::span<const double> levels) override;
  std::span<const double> candidate() const override { return candidate_; }
  std::span<const double> deviation(std::span<const double> x) override;
  std::span<const double> gradient(std::span<const double> x, Index output) override;
  Box enclose(std::span<const double> x) override;

 private:
  enum class Depth { intervals, relaxations, difference_rows };

  const DenseLayer& layer(Index l) const { return pair_.layers[static_cast<std::size_t>(l)]; }
  LayerScratch& scratch(Index l) { return scratch_[static_cast<std::size_t>(l)]; }
  Index layers() const { return std::ssize(pair_.layers); }

  void set_input(std::span<const double> low, std::span<const double> high);
  void load_phases(std::span<const std::uint64_t> phases);
  void store_phases(std::span<std::uint64_t> phases);

  void forward(Index l, Depth depth);
  void ranges_of(const DenseWeights& weights, Index l, const Centered& in, Ranges& out);
  void ranges_of_difference(Index l);
  void apply_phases(Index l, NetScratch& net);
  void refine(Index l, NetScratch LayerScratch::*net, DenseWeights DenseLayer::*weights);
  void refine_difference(Index l);
  void lower_pair_rows(Index top, Index count);
  void finish(Index l, NetScratch LayerScratch::*net, const DenseWeights& weights);
  void finish_difference(Index l);
  double sum_tiny() const { return tiny * (1.0 + mass_sum_); }
  void concretize(const RowBlock& rows, const RowSums& sums);

  Index bound_at(Depth depth, const PieceView& piece, std::span<const double> levels);
  Index pick_functionals(const PieceView& piece, std::span<const double> levels);
  void bound_functionals(const PieceView& piece, Index count);
  Verdict choose_split(const PieceView& piece, std::span<const double> levels, Index count);
  void score_dimensions(Index row);
  void set_candidate(const PieceView& piece, const double* coefficients);

  const DensePair& pair_;
  const DenseKernels& kernels_;
  Index input_stride_, functionals_;
  double gamma_rows_;  ///< of the sums along a whole backward pass
  double mass_sum_ = 0.0;
  Plan plan_;
  std::vector<LayerScratch> scratch_;
  Ranges mapped_;  ///< the input of the first layer
  Centered input_, no_difference_;
  LineArrays input_lines_;
  Rows y_rows_, d_rows_;
  AlignedDoubles constants_, masses_, sums_[3];
  std::vector<Index> picked_;
  std::vector<double> candidate_, deviation_, gradient_, scores_;
  AlignedDoubles f_value_, d_value_, f_next_, d_next_;
  IndexList y_list_, d_list_, both_open_;
};

// ---- the pair and its pieces

Index phase_count(const DensePair& pair) {
  Index count = 0;
  for (const DenseLayer& layer : pair.layers) count += 2 * layer.outputs;
  return count;
}

PieceShape DenseBounder::shape() const { return {pair_.inputs, 2 * pair_.outputs, (phase_count(pair_) + 31) / 32}; }

void DenseBounder::make_root(const Box& region, const PieceView& piece) const {
  std::copy(region.low.begin(), region.low.end(), piece.low.begin());
  std::copy(region.high.begin(), region.high.end(), piece.high.begin());
  std::fill(piece.bounds.begin(), piece.bounds.end(), infinity);
  std::fill(piece.phases.begin(), piece.phases.end(), 0);
  *piece.split = SplitWord{}.pack();
}

double midpoint(double low, double high) { return 0.5 * low + 0.5 * high; }

void DenseBounder::divide(const PieceView& piece, const PieceView& other) const {
  std::copy(piece.low.begin(), piece.low.end(), other.low.begin());
  std::copy(piece.high.begin(), piece.high.end(), other.high.begin());
  std::copy(piece.bounds.begin(), piece.bounds.end(), other.bounds.begin());
  std::copy(piece.phases.begin(), piece.phases.end(), other.phases.begin());
  *other.split = *piece.split;
  const auto at = static_cast<std::size_t>(SplitWord::unpack(*piece.split).dimension);
  piece.high[at] = other.low[at] = midpoint(piece.low[at], piece.high[at]);
}

std::unique_ptr<BranchWorker> DenseBounder::make_worker() const { return std::make_unique<DenseWorker>(*this); }

// ---- a worker

double gamma_of_rows(const DensePair& pair) {
  Index widest = 0, sums = pair.inputs + 16;
  for (const DenseLayer& layer : pair.layers) {
    widest = std::max(widest, layer.outputs);
    sums += layer.output_stride() / 2 + 16;  // six fused terms per group of eight, and the lanes' own sum
  }
  return gamma(2 * widest + sums + 2 * pair.inputs);
}

DenseWorker::DenseWorker(const DenseBounder& bounder)
    : pair_(bounder.pair()),
      kernels_(bounder.kernels()),
      input_stride_(padded(pair_.inputs)),
      functionals_(2 * pair_.outputs),
      gamma_rows_(gamma_of_rows(pair_)),
      mapped_(input_stride_),
      input_(input_stride_),
      no_difference_(input_stride_),
      input_lines_(input_stride_),
      y_rows_(2 * pair_.width * pair_.width),
      d_rows_(2 * pair_.width * pair_.width),
      constants_(2 * pair_.width),
      masses_(2 * pair_.width),
      sums_{AlignedDoubles(pair_.width), AlignedDoubles(pair_.width), AlignedDoubles(pair_.width)},
      picked_(static_cast<std::size_t>(functionals_)),
      candidate_(static_cast<std::size_t>(pair_.inputs)),
      deviation_(static_cast<std::size_t>(pair_.outputs)),
      gradient_(static_cast<std::size_t>(pair_.inputs)),
      scores_(static_cast<std::size_t>(pair_.inputs)),
      f_value_(pair_.width),
      d_value_(pair_.width),
      f_next_(pair_.width),
      d_next_(pair_.width),
      y_list_(pair_.width),
      d_list_(pair_.width),
      both_open_(pair_.width) {
  for (const DenseLayer& each : pair_.layers) scratch_.emplace_back(each, input_stride_, functionals_, pair_.width);
}

void DenseWorker::set_input(std::span<const double> low, std::span<const double> high) {
  input_.nonzero.clear();
  no_difference_.nonzero.clear();
  mass_sum_ = 0.0;
  for (Index i = 0; i < pair_.inputs; ++i) {
    const auto at = static_cast<std::size_t>(i);
    Interval x{low[at], high[at]};
    for (const InputMap& map : pair_.maps) {
      const double scale = map.scale[at], shift = map.shift[at];
      if (scale < 0.0) std::swap(x.low, x.high);
      x = {-core::add_up(core::multiply_up(-scale, x.low), -shift),
           core::add_up(core::multiply_up(scale, x.high), shift)};
    }
    mapped_.set(i, x);
    input_.set(i, x);
    const double magnitude = std::max(std::abs(x.low), std::abs(x.high));
    input_lines_.set(i, {1.0, 1.0, x.high, x.low, 0.0, 0.0}, magnitude);
    mass_sum_ += magnitude;
  }
}

/// Two bits per neuron, f before f_q within a layer.
template <class Visit>
void for_each_phase(std::vector<LayerScratch>& layers, const Visit& visit) {
  std::size_t bit = 0;
  for (LayerScratch& layer : layers) {
    for (std::vector<Phase>* phases : {&layer.f.phase, &layer.fq.phase}) {
      for (Phase& phase : *phases) {
        visit(phase, bit / 64, bit % 64);
        bit += 2;
      }
    }
  }
}

void DenseWorker::load_phases(std::span<const std::uint64_t> phases) {
  for_each_phase(scratch_, [&](Phase& phase, std::size_t word, std::size_t shift) {
    phase = static_cast<Phase>((phases[word] >> shift) & 3U);
  });
}

void DenseWorker::store_phases(std::span<std::uint64_t> phases) {
  std::fill(phases.begin(), phases.end(), 0);
  for_each_phase(scratch_, [&](const Phase& phase, std::size_t word, std::size_t shift) {
    phases[word] |= static_cast<std::uint64_t>(phase) << shift;
  });
}

// ---- forward

/// center +- (radius + errors); what overflowed is unbounded.
Interval outward(double center, double radius, double mass, double relative) {
  const double reach = radius + relative * (mass + radius) + tiny;
  const double low = center - reach, high = center + reach;
  return {low > -infinity ? low : -infinity, high < infinity ? high : infinity};
}

void DenseWorker::ranges_of(const DenseWeights& weights, Index l, const Centered& in, Ranges& out) {
  const Index stride = layer(l).output_stride();
  auto& [center, radius, mass] = sums_;
  std::copy_n(weights.bias.data(), stride, center.data());
  std::fill_n(radius.data(), stride, 0.0);
  std::transform(center.data(), center.data() + stride, mass.data(), [](double b) { return std::abs(b); });
  kernels_.interval(weights.columns.data(), stride, in.nonzero.data(), in.nonzero.count, in.center.data(),
                    in.radius.data(), center.data(), radius.data(), mass.data());
  const double relative = gamma(layer(l).inputs + 1);
  for (Index i = 0; i < layer(l).outputs; ++i) {
    out.set(i, outward(center[i], radius[i], mass[i], relative));
    out.mass[i] = (mass[i] + radius[i]) * (1.0 + relative) + tiny;
  }
}

void DenseWorker::ranges_of_difference(Index l) {
  const DenseLayer& of = layer(l);
  const Index stride = of.output_stride();
  LayerScratch& to = scratch(l);
  const Centered& d_in = l == 0 ? no_difference_ : scratch(l - 1).difference_after;
  const Centered& y_in = l == 0 ? input_ : scratch(l - 1).f.after;
  auto& [center, radius, mass] = sums_;
  std::copy_n(of.change.bias.data(), stride, center.data());
  std::fill_n(radius.data(), stride, 0.0);
  std::transform(center.data(), center.data() + stride, mass.data(), [](double b) { return std::abs(b); });
  kernels_.interval(of.fq.columns.data(), stride, d_in.nonzero.data(), d_in.nonzero.count, d_in.center.data(),
                    d_in.radius.data(), center.data(), radius.data(), mass.data());
  kernels_.interval(of.change.columns.data(), stride, y_in.nonzero.data(), y_in.nonzero.count, y_in.center.data(),
                    y_in.radius.data(), center.data(), radius.data(), mass.data());
  const double relative = gamma(2 * of.inputs + 1);
  for (Index i = 0; i < of.outputs; ++i) {
    const bool zero = d_in.nonzero.count == 0 && of.unchanged[static_cast<std::size_t>(i)] != 0;
    to.difference.set(i, zero ? Interval{} : outward(center[i], radius[i], mass[i], relative));
    to.difference.mass[i] = zero ? 0.0 : (mass[i] + radius[i]) * (1.0 + relative) + tiny;
  }
}

void DenseWorker::apply_phases(Index l, NetScratch& net) {
  const Hinges& hinges = layer(l).activation;
  net.open.clear();
  for (Index i = 0; i < layer(l).outputs; ++i) {
    Phase& phase = net.phase[static_cast<std::size_t>(i)];
    if (phase == Phase::open)
      phase = phase_of(hinges, net.before[i]);
    else
      net.before.set(i, within(hinges, phase, net.before[i]));
    if (phase == Phase::open) net.open.add(i);
  }
}

/// Rows become bounds: what their linear functions reach over the input, constants and slack included.
void DenseWorker::concretize(const RowBlock& rows, const RowSums& sums) {
  kernels_.relax(rows, input_stride_, input_lines_.view(), sums);
  const double floor = sum_tiny();
  for (Index r = 0; r < rows.rows; ++r) {
    const double bound = sums.constant[r] + (gamma_rows_ * sums.mass[r] + floor);
    sums.constant[r] = bound < infinity ? bound : infinity;  // NaN too
  }
}

/// Backward relaxations of the open neurons of one network at layer l, both signs: rows 0..n-1 bound y, n..2n-1 -y.
void DenseWorker::refine(Index l, NetScratch LayerScratch::*net, DenseWeights DenseLayer::*weights) {
  NetScratch& to = scratch(l).*net;
  const Index n = to.open.count;
  if (n == 0) return;
  const Index stride = layer(l).input_stride();
  const DenseWeights& own = layer(l).*weights;
  for (Index r = 0; r < n; ++r) {
    const Index i = to.open[r];
    const double* row = own.rows.data() + i * stride;
    std::copy_n(row, stride, y_rows_.now.data() + r * stride);
    std::transform(row, row + stride, y_rows_.now.data() + (n + r) * stride, [](double w) { return -w; });
    constants_[r] = own.bias[i];
    constants_[n + r] = -own.bias[i];
    masses_[r] = masses_[n + r] = std::abs(own.bias[i]);
  }
  const RowSums sums{constants_.data(), masses_.data()};
  for (Index k = l - 1; k >= 0; --k) {
    const NetScratch& at = scratch(k).*net;
    const DenseLayer& below = layer(k);
    const RowBlock rows = y_rows_.block(below.output_stride(), 2 * n);
    kernels_.relax(rows, below.output_stride(), at.with_bias.view(), sums);
    kernels_.multiply(rows, at.sloped.data(), at.sloped.count, (below.*weights).rows.data(), below.input_stride(),
                      y_rows_.next_block(below.input_stride(), 2 * n));
    y_rows_.swap();
  }
  concretize(y_rows_.block(input_stride_, 2 * n), sums);
  for (Index r = 0; r < n; ++r) {
    const Index i = to.open[r];
    to.before.set(i, {std::max(to.before.low[i], -constants_[n + r]), std::min(to.before.high[i], constants_[r])});
    const double *up = y_rows_.now.data() + r * input_stride_, *down = up + n * input_stride_;
    for (Index j = 0; j < input_stride_; ++j)
      to.input_slopes[i * input_stride_ + j] = std::max(std::abs(up[j]), std::abs(down[j]));
  }
  apply_phases(l, to);
}

void DenseWorker::finish(Index l, NetScratch LayerScratch::*net, const DenseWeights& weights) {
  const Hinges& hinges = layer(l).activation;
  NetScratch& to = scratch(l).*net;
  to.sloped.clear();
  to.after.nonzero.clear();
  for (Index i = 0; i < layer(l).outputs; ++i) {
    const Interval before = to.before[i];
    HingeLines lines = activation_lines(hinges, to.phase[static_cast<std::size_t>(i)], before);
    const double steepest = std::max(lines.slope_high, lines.slope_low);
    const double farthest = std::max(std::abs(lines.offset_high), std::abs(lines.offset_low));
    to.lines.set(i, lines, (steepest * to.before.mass[i] + farthest) * (1.0 + 0x1p-50));
    if (steepest > 0.0) to.sloped.add(i);
    if (const double bias = weights.bias[i]; bias != 0.0 && steepest > 0.0) {
      lines.offset_high = core::add_up(lines.offset_high, core::multiply_up(lines.slope_high, bias));
      lines.offset_low = -core::add_up(-lines.offset_low, core::multiply_up(-lines.slope_low, bias));
    }
    to.with_bias.set(i, lines, to.lines.weight[i]);
    const Interval after = activation_range(hinges, before);
    to.after.set(i, after);
    mass_sum_ += std::max(std::abs(after.low), std::abs(after.high));
  }
}

void DenseWorker::finish_difference(Index l) {
  LayerScratch& to = scratch(l);
  to.difference_after.nonzero.clear();
  to.sloped.clear();
  for (Index i = 0; i < layer(l).outputs; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const Phase f = to.f.phase[at], fq = to.fq.phase[at];
    const Interval y = to.f.before[i], fq_y = to.fq.before[i];
    const Interval d{std::max(to.difference.low[i], -core::add_up(y.high, -fq_y.low)),
                     std::min(to.difference.high[i], core::add_up(fq_y.high, -y.low))};
    to.difference.set(i, d);
    const HingeLines lines = change_lines(layer(l).activation, f, fq, d);
    const double farthest = std::max(lines.offset_high, -lines.offset_low);
    to.difference_lines.set(i, lines, (to.difference.mass[i] + farthest) * (1.0 + 0x1p-50));
    to.fq.lines.weight[i] = (to.fq.lines.weight[i] + to.difference.mass[i]) * (1.0 + 0x1p-50);
    to.difference_after.set(i, change_range(layer(l).activation, f, fq, y, fq_y, d));
    if (lines.slope_high > 0.0 || lines.slope_low > 0.0 || to.f.lines.slope_high[i] > 0.0 ||
        to.f.lines.slope_low[i] > 0.0 || to.fq.lines.slope_high[i] > 0.0 || to.fq.lines.slope_low[i] > 0.0)
      to.sloped.add(i);
  }
}

void DenseWorker::forward(Index l, Depth depth) {
  LayerScratch& to = scratch(l);
  ranges_of(layer(l).f, l, l == 0 ? input_ : scratch(l - 1).f.after, to.f.before);
  ranges_of(layer(l).fq, l, l == 0 ? input_ : scratch(l - 1).fq.after, to.fq.before);
  ranges_of_difference(l);
  apply_phases(l, to.f);
  apply_phases(l, to.fq);
  if (depth != Depth::intervals && l > 0) {
    refine(l, &LayerScratch::f, &DenseLayer::f);
    refine(l, &LayerScratch::fq, &DenseLayer::fq);
    if (depth == Depth::difference_rows) refine_difference(l);
  }
  finish(l, &LayerScratch::f, layer(l).f);
  finish(l, &LayerScratch::fq, layer(l).fq);
  finish_difference(l);
}

// ---- functionals

/// Takes what the intervals prove, and lists the functionals that are still above their level.
Index DenseWorker::pick_functionals(const PieceView& piece, std::span<const double> levels) {
  const LayerScratch& last = scratch(layers() - 1);
  Index count = 0;
  for (Index i = 0; i < functionals_; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const double center = last.difference_after.center[i / 2], radius = last.difference_after.radius[i / 2];
    const double farthest = core::add_up(i % 2 == 0 ? center : -center, radius);
    piece.bounds[at] = std::min(piece.bounds[at], farthest);
    if (piece.bounds[at] > levels[at]) picked_[static_cast<std::size_t>(count++)] = i;
  }
  return count;
}

/// Rows in (y, d) of the values before the activation of layer `top` go down to the input and become bounds.
void DenseWorker::lower_pair_rows(Index top, Index count) {
  const RowSums sums{constants_.data(), masses_.data()};
  for (Index l = top; l >= 0; --l) {
    LayerScratch& at = scratch(l);
    const DenseLayer& below = layer(l);
    const Index stride = below.output_stride(), next = below.input_stride();
    const RowBlock y = y_rows_.block(stride, count), d = d_rows_.block(stride, count);
    const PairLineView lines{at.f.lines.view(),          at.fq.lines.view(),
                             at.difference_lines.view(), at.f.lines.gap_high.data(),
                             at.f.lines.gap_low.data(),  at.fq.lines.gap_high.data(),
                             at.fq.lines.gap_low.data(), at.difference_lines.gap_high.data(),
                             below.f.bias.data(),        below.change.bias.data()};
    kernels_.relax_pair(y, d, stride, lines, sums, {at.losses.data(), stride, count});
    const RowBlock next_y = y_rows_.next_block(next, count), next_d = d_rows_.next_block(next, count);
    kernels_.multiply(y, at.sloped.data(), at.sloped.count, below.f.rows.data(), next, next_y);
    kernels_.add_product(d, at.sloped.data(), at.sloped.count, below.change.rows.data(), next, next_y);
    if (l > 0) kernels_.multiply(d, at.sloped.data(), at.sloped.count, below.fq.rows.data(), next, next_d);
    y_rows_.swap();
    d_rows_.swap();
  }
  concretize(y_rows_.block(input_stride_, count), sums);  // d of the input is zero
}

/// Backward relaxations of d at neurons open in both networks, both signs as in refine().
void DenseWorker::refine_difference(Index l) {
  LayerScratch& to = scratch(l);
  const DenseLayer& of = layer(l);
  const Index stride = of.input_stride();
  both_open_.clear();
  for (Index r = 0; r < to.f.open.count; ++r) {
    const Index i = to.f.open[r];
    if (to.fq.phase[static_cast<std::size_t>(i)] == Phase::open) both_open_.add(i);
  }
  const Index n = both_open_.count;
  if (n == 0) return;
  for (Index r = 0; r < n; ++r) {
    const Index i = both_open_[r];
    for (const auto& [rows, from] : {std::pair{&y_rows_, &of.change}, std::pair{&d_rows_, &of.fq}}) {
      const double* row = from->rows.data() + i * stride;
      std::copy_n(row, stride, rows->now.data() + r * stride);
      std::transform(row, row + stride, rows->now.data() + (n + r) * stride, [](double w) { return -w; });
    }
    constants_[r] = of.change.bias[i];
    constants_[n + r] = -of.change.bias[i];
    masses_[r] = masses_[n + r] = std::abs(of.change.bias[i]);
  }
  lower_pair_rows(l - 1, 2 * n);
  for (Index r = 0; r < n; ++r) {
    const Index i = both_open_[r];
    to.difference.set(
        i, {std::max(to.difference.low[i], -constants_[n + r]), std::min(to.difference.high[i], constants_[r])});
  }
}

void DenseWorker::bound_functionals(const PieceView& piece, Index count) {
  const Index top = layers() - 1, stride = layer(top).output_stride();
  std::fill_n(y_rows_.now.data(), count * stride, 0.0);
  std::fill_n(d_rows_.now.data(), count * stride, 0.0);
  for (Index r = 0; r < count; ++r) {
    const Index functional = picked_[static_cast<std::size_t>(r)];
    d_rows_.now[r * stride + functional / 2] = functional % 2 == 0 ? 1.0 : -1.0;
    constants_[r] = masses_[r] = 0.0;
  }
  lower_pair_rows(top, count);
  for (Index r = 0; r < count; ++r) {
    double& bound = piece.bounds[static_cast<std::size_t>(picked_[static_cast<std::size_t>(r)])];
    bound = std::min(bound, constants_[r]);
  }
}

/// The corner that the linear bound says is worst.
void DenseWorker::set_candidate(const PieceView& piece, const double* coefficients) {
  for (std::size_t j = 0; j < candidate_.size(); ++j) {
    double coefficient = coefficients[j];
    for (const InputMap& map : pair_.maps)
      if (map.scale[j] < 0.0) coefficient = -coefficient;
    candidate_[j] = coefficient > 0.0 ? piece.high[j] : piece.low[j];
  }
}

/// What row `row` lost at open neurons, dealt to the inputs that make them open.
void DenseWorker::score_dimensions(Index row) {
  std::fill(scores_.begin(), scores_.end(), 0.0);
  for (Index l = 0; l < layers(); ++l) {
    LayerScratch& at = scratch(l);
    const Index stride = layer(l).output_stride();
    for (Index i = 0; i < layer(l).outputs; ++i) {
      const double loss = at.losses[row * stride + i];
      if (!(loss > 0.0)) continue;
      for (const NetScratch* net : {&at.f, &at.fq}) {
        if (net->phase[static_cast<std::size_t>(i)] != Phase::open) continue;
        const double* slopes = l == 0 ? (net == &at.f ? layer(0).f : layer(0).fq).rows.data() + i * input_stride_
                                      : net->input_slopes.data() + i * input_stride_;
        double total = 0.0;
        for (Index j = 0; j < pair_.inputs; ++j) total += std::abs(slopes[j]) * input_.radius[j];
        if (!(total > 0.0)) continue;
        for (Index j = 0; j < pair_.inputs; ++j)
          scores_[static_cast<std::size_t>(j)] += loss * (std::abs(slopes[j]) * input_.radius[j] / total);
      }
    }
  }
}

Verdict DenseWorker::choose_split(const PieceView& piece, std::span<const double> levels, Index count) {
  Index worst = -1;
  double excess = 0.0, loss = 0.0;
  for (Index r = 0; r < count; ++r) {
    const auto functional = static_cast<std::size_t>(picked_[static_cast<std::size_t>(r)]);
    const double over = piece.bounds[functional] - levels[functional];
    if (!(over > 0.0)) continue;
    if (worst < 0 || over > excess) worst = r, excess = over;
    for (Index l = 0; l < layers(); ++l) {
      const double* losses = scratch(l).losses.data() + r * layer(l).output_stride();
      for (Index i = 0; i < layer(l).outputs; ++i) loss += losses[i];
    }
  }
  if (worst < 0) return Verdict::finished;
  const double* coefficients = y_rows_.now.data() + worst * input_stride_;
  set_candidate(piece, coefficients);
  if (loss == 0.0) return Verdict::finished;
  score_dimensions(worst);
  Index best = -1;
  double best_score = -1.0;
  for (Index j = 0; j < pair_.inputs; ++j) {
    const auto at = static_cast<std::size_t>(j);
    const double middle = midpoint(piece.low[at], piece.high[at]);
    if (!(piece.low[at] < middle && middle < piece.high[at])) continue;
    if (scores_[at] > best_score) best = j, best_score = scores_[at];
  }
  if (best < 0) return Verdict::finished;
  *piece.split = SplitWord{best, plan_}.pack();
  return Verdict::open;
}

/// Lowers the bounds and returns how many functionals are still in rows.
Index DenseWorker::bound_at(Depth depth, const PieceView& piece, std::span<const double> levels) {
  load_phases(piece.phases);
  for (Index l = 0; l < layers(); ++l) forward(l, depth);
  store_phases(piece.phases);
  const Index count = pick_functionals(piece, levels);
  if (count > 0) bound_functionals(piece, count);
  return count;
}

double largest(std::span<const double> values) { return *std::max_element(values.begin(), values.end()); }

Verdict DenseWorker::bound(const PieceView& piece, std::span<const double> levels) {
  std::copy(piece.low.begin(), piece.low.end(), candidate_.begin());
  if (pair_.identical) {
    std::fill(piece.bounds.begin(), piece.bounds.end(), 0.0);
    return Verdict::finished;
  }
  set_input(piece.low, piece.high);
  plan_ = SplitWord::unpack(*piece.split).plan;
  Index count = 0;
  if (plan_.until_trial > 0) {
    --plan_.until_trial;
    count = bound_at(plan_.difference_rows ? Depth::difference_rows : Depth::relaxations, piece, levels);
  } else {
    count = bound_at(Depth::relaxations, piece, levels);
    const double without = largest(piece.bounds);
    if (count > 0) {
      count = bound_at(Depth::difference_rows, piece, levels);
      plan_.difference_rows = !(largest(piece.bounds) > Plan::worthwhile * without);
      plan_.until_trial = plan_.difference_rows ? Plan::with_rows_for : Plan::without_rows_for;
    }
  }
  return count == 0 ? Verdict::finished : choose_split(piece, levels, count);
}

Box DenseWorker::enclose(std::span<const double> x) {
  set_input(x, x);
  for_each_phase(scratch_, [](Phase& phase, std::size_t, std::size_t) { phase = Phase::open; });
  for (Index l = 0; l < layers(); ++l) forward(l, Depth::intervals);
  const Centered& last = scratch(layers() - 1).difference_after;
  Box box;
  for (Index i = 0; i < pair_.outputs; ++i) {
    box.low.push_back(-core::add_up(-last.center[i], last.radius[i]));
    box.high.push_back(core::add_up(last.center[i], last.radius[i]));
  }
  return box;
}

// ---- points, in plain arithmetic

std::span<const double> DenseWorker::deviation(std::span<const double> x) {
  for (Index i = 0; i < pair_.inputs; ++i) {
    const auto at = static_cast<std::size_t>(i);
    double value = x[at];
    for (const InputMap& map : pair_.maps) value = map.scale[at] * value + map.shift[at];
    f_value_[i] = value;
    d_value_[i] = 0.0;
  }
  for (Index l = 0; l < layers(); ++l) {
    const DenseLayer& of = layer(l);
    const Index stride = of.output_stride();
    LayerScratch& at = scratch(l);
    y_list_.clear();
    d_list_.clear();
    for (Index i = 0; i < of.inputs; ++i) {
      if (f_value_[i] != 0.0) y_list_.add(i);
      if (d_value_[i] != 0.0) d_list_.add(i);
    }
    std::copy_n(of.f.bias.data(), stride, f_next_.data());
    std::copy_n(of.change.bias.data(), stride, d_next_.data());
    kernels_.affine(of.f.columns.data(), stride, y_list_.data(), y_list_.count, f_value_.data(), f_next_.data());
    kernels_.affine(of.fq.columns.data(), stride, d_list_.data(), d_list_.count, d_value_.data(), d_next_.data());
    kernels_.affine(of.change.columns.data(), stride, y_list_.data(), y_list_.count, f_value_.data(), d_next_.data());
    for (Index i = 0; i < of.outputs; ++i) {
      const double y = f_next_[i], fq_y = y + d_next_[i];
      const bool middle =
          y >= of.activation.low && y <= of.activation.high && fq_y >= of.activation.low && fq_y <= of.activation.high;
      f_value_[i] = of.activation(y);
      d_value_[i] = middle ? d_next_[i] : of.activation(fq_y) - f_value_[i];
      at.f.before.set(i, {y, y});
      at.fq.before.set(i, {fq_y, fq_y});
    }
  }
  for (Index i = 0; i < pair_.outputs; ++i) deviation_[static_cast<std::size_t>(i)] = d_value_[i];
  return deviation_;
}

double slope_at(const Hinges& hinges, double x) { return x < hinges.low ? hinges.below : x > hinges.high ? 0.0 : 1.0; }

std::span<const double> DenseWorker::gradient(std::span<const double> x, Index output) {
  deviation(x);
  const Index top = layers() - 1;
  std::fill_n(y_rows_.now.data(), layer(top).output_stride(), 0.0);
  std::fill_n(d_rows_.now.data(), layer(top).output_stride(), 0.0);
  d_rows_.now[output] = 1.0;
  for (Index l = top; l >= 0; --l) {
    const DenseLayer& below = layer(l);
    LayerScratch& at = scratch(l);
    at.sloped.clear();
    for (Index i = 0; i < below.outputs; ++i) {
      const double slope = slope_at(below.activation, at.f.before.low[i]);
      const double fq_slope = slope_at(below.activation, at.fq.before.low[i]);
      const double a = y_rows_.now[i], b = d_rows_.now[i];
      y_rows_.now[i] = a * slope + b * (fq_slope - slope);
      d_rows_.now[i] = b * fq_slope;
      if (y_rows_.now[i] != 0.0 || d_rows_.now[i] != 0.0) at.sloped.add(i);
    }
    const Index stride = below.output_stride(), next = below.input_stride();
    const RowBlock y = y_rows_.block(stride, 1), d = d_rows_.block(stride, 1), next_y = y_rows_.next_block(next, 1);
    kernels_.multiply(y, at.sloped.data(), at.sloped.count, below.f.rows.data(), next, next_y);
    kernels_.add_product(d, at.sloped.data(), at.sloped.count, below.change.rows.data(), next, next_y);
    kernels_.multiply(d, at.sloped.data(), at.sloped.count, below.fq.rows.data(), next, d_rows_.next_block(next, 1));
    y_rows_.swap();
    d_rows_.swap();
  }
  for (std::size_t j = 0; j < gradient_.size(); ++j) {
    double slope = y_rows_.now[static_cast<Index>(j)];
    for (const InputMap& map : pair_.maps) slope *= map.scale[j];
    gradient_[j] = slope;
  }
  return gradient_;
}

}  // namespace

std::unique_ptr<BranchBounder> make_dense_bounder(const Pair& pair, const DenseKernels& kernels) {
  QUANTBOUND_ASSERT(not_dense(pair).empty(), not_dense(pair));
  return std::make_unique<DenseBounder>(pair, kernels);
}

}  // namespace quantbound::certify::detail
