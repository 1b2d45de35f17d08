#include "../../../src/certify/branch_dense.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "../../../src/certify/branch_lines.hpp"
#include "../../../src/certify/branch_pieces.hpp"
#include "../../support/dense_pairs.hpp"

namespace quantbound::certify::detail {
namespace {

using quantbound::testing::NetworkBuilder;
using quantbound::testing::RandomChain;

constexpr double infinity = std::numeric_limits<double>::infinity();
using Row = std::vector<double>;

/// The same analysis in plain loops, without rounding: what the kernels must agree with.
class Reference {
 public:
  Reference(const DensePair& pair, const Box& box, bool difference_rows) : pair_(pair), box_(box) {
    for (std::size_t l = 0; l < pair.layers.size(); ++l) add_layer(l, difference_rows);
  }

  double functional(std::size_t index) const {
    const std::size_t top = layers_.size() - 1;
    Row y(size(top), 0.0), d(size(top), 0.0);
    d[index / 2] = index % 2 == 0 ? 1.0 : -1.0;
    const Interval& range = layers_[top].e[index / 2];
    return std::min(index % 2 == 0 ? range.high : -range.low, lower_pair(top, y, d, 0.0));
  }

 private:
  struct Layer {
    std::vector<Interval> y, fq_y, d;  // before the activation
    std::vector<Interval> h, fq_h, e;  // behind it
    std::vector<HingeLines> lines, fq_lines, d_lines;
  };

  std::size_t size(std::size_t l) const { return static_cast<std::size_t>(pair_.layers[l].outputs); }
  static double weight(const DenseWeights& w, const DenseLayer& layer, std::size_t i, std::size_t j) {
    return w.rows[static_cast<Index>(i) * layer.input_stride() + static_cast<Index>(j)];
  }
  static double bias(const DenseWeights& w, std::size_t i) { return w.bias[static_cast<Index>(i)]; }

  static Interval times(double w, const Interval& x) {
    return w >= 0.0 ? Interval{w * x.low, w * x.high} : Interval{w * x.high, w * x.low};
  }

  std::vector<Interval> image(const DenseWeights& w, const DenseLayer& layer, const std::vector<Interval>& in) const {
    std::vector<Interval> out;
    for (std::size_t i = 0; i < static_cast<std::size_t>(layer.outputs); ++i) {
      Interval sum{bias(w, i), bias(w, i)};
      for (std::size_t j = 0; j < in.size(); ++j) {
        const Interval term = times(weight(w, layer, i, j), in[j]);
        sum = {sum.low + term.low, sum.high + term.high};
      }
      out.push_back(sum);
    }
    return out;
  }

  static Interval meet(const Interval& a, const Interval& b) {
    return {std::max(a.low, b.low), std::min(a.high, b.high)};
  }

  void add_layer(std::size_t l, bool difference_rows) {
    const DenseLayer& layer = pair_.layers[l];
    const Hinges& hinges = layer.activation;
    std::vector<Interval> input;
    for (std::size_t j = 0; j < box_.low.size(); ++j) input.push_back({box_.low[j], box_.high[j]});
    Layer now;
    now.y = image(layer.f, layer, l == 0 ? input : layers_[l - 1].h);
    now.fq_y = image(layer.fq, layer, l == 0 ? input : layers_[l - 1].fq_h);
    now.d = image(layer.change, layer, l == 0 ? input : layers_[l - 1].h);
    if (l > 0) {
      const auto carried = image(layer.fq, layer, layers_[l - 1].e);
      for (std::size_t i = 0; i < size(l); ++i)
        now.d[i] = {now.d[i].low + carried[i].low - bias(layer.fq, i),
                    now.d[i].high + carried[i].high - bias(layer.fq, i)};
    }
    layers_.push_back(now);
    Layer& at = layers_.back();
    if (l > 0) {
      refine(l, at.y, &DenseLayer::f, &Layer::lines);
      refine(l, at.fq_y, &DenseLayer::fq, &Layer::fq_lines);
      if (difference_rows) refine_difference(l);
    }
    for (std::size_t i = 0; i < size(l); ++i) {
      const Phase f = phase_of(hinges, at.y[i]), fq = phase_of(hinges, at.fq_y[i]);
      at.d[i] = meet(at.d[i], {at.fq_y[i].low - at.y[i].high, at.fq_y[i].high - at.y[i].low});
      at.lines.push_back(activation_lines(hinges, f, at.y[i]));
      at.fq_lines.push_back(activation_lines(hinges, fq, at.fq_y[i]));
      at.d_lines.push_back(change_lines(hinges, f, fq, at.d[i]));
      at.h.push_back(activation_range(hinges, at.y[i]));
      at.fq_h.push_back(activation_range(hinges, at.fq_y[i]));
      at.e.push_back(change_range(hinges, f, fq, at.y[i], at.fq_y[i], at.d[i]));
    }
  }

  static Row times_rows(const Row& a, const DenseWeights& w, const DenseLayer& layer) {
    Row out(static_cast<std::size_t>(layer.inputs), 0.0);
    for (std::size_t i = 0; i < a.size(); ++i)
      for (std::size_t j = 0; j < out.size(); ++j) out[j] += a[i] * weight(w, layer, i, j);
    return out;
  }

  double at_input(const Row& a, double constant) const {
    for (std::size_t j = 0; j < a.size(); ++j) constant += std::max(a[j] * box_.low[j], a[j] * box_.high[j]);
    return constant;
  }

  /// Upper bound of sign * y_i before the activation of layer l.
  double lower_single(std::size_t l, std::size_t i, double sign, DenseWeights DenseLayer::*w,
                      std::vector<HingeLines> Layer::*lines) const {
    Row unit(size(l), 0.0);
    unit[i] = sign;
    double constant = sign * bias(pair_.layers[l].*w, i);
    Row a = times_rows(unit, pair_.layers[l].*w, pair_.layers[l]);
    for (std::size_t k = l; k-- > 0;) {
      for (std::size_t j = 0; j < a.size(); ++j) {
        const HingeLines& line = (layers_[k].*lines)[j];
        constant += a[j] > 0.0 ? a[j] * line.offset_high : a[j] * line.offset_low;
        a[j] *= a[j] > 0.0 ? line.slope_high : line.slope_low;
        constant += a[j] * bias(pair_.layers[k].*w, j);
      }
      a = times_rows(a, pair_.layers[k].*w, pair_.layers[k]);
    }
    return at_input(a, constant);
  }

  void refine(std::size_t l, std::vector<Interval>& ranges, DenseWeights DenseLayer::*w,
              std::vector<HingeLines> Layer::*lines) const {
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      if (phase_of(pair_.layers[l].activation, ranges[i]) != Phase::open) continue;
      ranges[i] = meet(ranges[i], {-lower_single(l, i, -1.0, w, lines), lower_single(l, i, 1.0, w, lines)});
    }
  }

  void refine_difference(std::size_t l) {
    const DenseLayer& layer = pair_.layers[l];
    Layer& at = layers_[l];
    for (std::size_t i = 0; i < size(l); ++i) {
      if (phase_of(layer.activation, at.y[i]) != Phase::open || phase_of(layer.activation, at.fq_y[i]) != Phase::open)
        continue;
      double bounds[2];
      for (const double sign : {1.0, -1.0}) {
        Row unit(size(l), 0.0);
        unit[i] = sign;
        bounds[sign > 0.0 ? 0 : 1] = lower_pair(l - 1, times_rows(unit, layer.change, layer),
                                                times_rows(unit, layer.fq, layer), sign * bias(layer.change, i));
      }
      at.d[i] = meet(at.d[i], {-bounds[1], bounds[0]});
    }
  }

  static double pick(double a, double up, double down) { return a > 0.0 ? a * up : a * down; }
  static double gap(double a, const HingeLines& lines) { return a > 0.0 ? a * lines.gap_high : -a * lines.gap_low; }

  double lower_pair(std::size_t top, Row y, Row d, double constant) const {
    for (std::size_t l = top + 1; l-- > 0;) {
      const DenseLayer& layer = pair_.layers[l];
      for (std::size_t j = 0; j < y.size(); ++j) {
        const HingeLines &f = layers_[l].lines[j], &fq = layers_[l].fq_lines[j], &change = layers_[l].d_lines[j];
        const double a = y[j], b = d[j], apart = a - b;
        if (gap(a, f) + std::abs(b) * change.gap_high <= gap(apart, f) + gap(b, fq)) {
          y[j] = pick(a, f.slope_high, f.slope_low);
          d[j] = pick(b, change.slope_high, change.slope_low);
          constant += pick(a, f.offset_high, f.offset_low) + pick(b, change.offset_high, change.offset_low);
        } else {
          d[j] = pick(b, fq.slope_high, fq.slope_low);
          y[j] = d[j] + pick(apart, f.slope_high, f.slope_low);
          constant += pick(apart, f.offset_high, f.offset_low) + pick(b, fq.offset_high, fq.offset_low);
        }
        constant += y[j] * bias(layer.f, j) + d[j] * bias(layer.change, j);
      }
      Row below = times_rows(y, layer.f, layer);
      const Row changed = times_rows(d, layer.change, layer);
      for (std::size_t j = 0; j < below.size(); ++j) below[j] += changed[j];
      d = times_rows(d, layer.fq, layer);
      y = std::move(below);
    }
    return at_input(y, constant);
  }

  const DensePair& pair_;
  const Box& box_;
  std::vector<Layer> layers_;
};

TEST(BranchDense, AgreesWithPlainLoopsInEveryVariant) {
  int compared = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    RandomChain random(seed, {.widest = 20, .extreme_probability = 0.0, .map_probability = 0.0});
    const Pair pair = random.pair();
    const DensePair compiled = compile_dense_pair(pair);
    const Box box = random.box(compiled.inputs);
    for (const bool rows : {false, true}) {
      const Reference reference(compiled, box, rows);
      std::vector<double> first;
      for (const NamedKernels& variant : kernel_variants()) {
        const auto bounder = make_dense_bounder(pair, *variant.kernels);
        PiecePool pool(bounder->shape());
        const PieceView piece = pool.view(pool.allocate());
        bounder->make_root(box, piece);
        *piece.split = SplitWord{0, {rows, 5}}.pack();
        const std::vector<double> levels(piece.bounds.size(), -infinity);
        bounder->make_worker()->bound(piece, levels);
        for (std::size_t i = 0; i < levels.size(); ++i, ++compared) {
          const double expected = reference.functional(i);
          EXPECT_NEAR(piece.bounds[i], expected, 1e-9 * (1.0 + std::abs(expected))) << variant.name << " seed " << seed;
        }
        if (first.empty()) first.assign(piece.bounds.begin(), piece.bounds.end());
        EXPECT_EQ(first, std::vector(piece.bounds.begin(), piece.bounds.end())) << variant.name << " seed " << seed;
      }
    }
  }
  EXPECT_GT(compared, 1000);
}

TEST(BranchDense, ExactWhereEveryNeuronIsOnOnePiece) {
  NetworkBuilder builder({2});
  const NodeId hidden = builder.relu(builder.dense(0, {1.0, 0.5, -1.0, 0.25}, {5.0, 5.0}));
  const network::Network f = builder.finish(builder.dense(hidden, {0.7, -0.3}, {0.0}));
  network::Network fq = f;
  fq.layers[1].weights = {0.75, -0.25};
  const Pair pair = make_pair(f, fq);
  const auto bounder = make_dense_bounder(pair);
  PiecePool pool(bounder->shape());
  const PieceView piece = pool.view(pool.allocate());
  bounder->make_root({{-1.0, -1.0}, {1.0, 1.0}}, piece);
  const std::vector<double> levels(2, -infinity);
  EXPECT_EQ(bounder->make_worker()->bound(piece, levels), Verdict::finished);
  // 0.05 (x + y / 2 + 5) + 0.05 (-x + y / 4 + 5) = 0.5 + 0.0375 y
  EXPECT_NEAR(piece.bounds[0], 0.5375, 2e-14);
  EXPECT_NEAR(piece.bounds[1], -0.4625, 2e-14);
}

TEST(BranchDense, OverflowBecomesInfinityNeverNaN) {
  NetworkBuilder builder({1});
  NodeId node = builder.relu(builder.dense(0, {1e200, -1e200}, {1.0, 1.0}));
  node = builder.relu(builder.dense(node, {1e200, -1e200, -1e200, 1e200}, {0.0, 0.0}));
  const network::Network f = builder.finish(builder.dense(node, {1.0, -1.0}, {0.0}));
  network::Network fq = f;
  fq.layers[0].weights[0] = 1.1e200;
  const Pair pair = make_pair(f, fq);
  const auto bounder = make_dense_bounder(pair);
  PiecePool pool(bounder->shape());
  const PieceView piece = pool.view(pool.allocate());
  bounder->make_root({{-1.0}, {1.0}}, piece);
  bounder->make_worker()->bound(piece, std::vector<double>(2, -infinity));
  EXPECT_EQ(piece.bounds[0], infinity);
  EXPECT_EQ(piece.bounds[1], infinity);
}

}  // namespace
}  // namespace quantbound::certify::detail
