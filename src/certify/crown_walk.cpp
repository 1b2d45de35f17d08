#include "crown_walk.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/adjoint.hpp"
#include "quantbound/tensor/matrix.hpp"

namespace quantbound::certify::detail {

namespace {

using network::Node;
using Values = std::vector<double>;

constexpr Index block_rows = 96;  // whole tiles of the matrix product, and enough of them to pay for packing weights
constexpr double inflation = 1.0 + 0x1p-20;  // of sums of nonnegative numbers that were themselves rounded

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// sum |a_i| b_i for b >= 0 in eight lanes, in a fixed order.
double weighted_magnitude(std::span<const double> a, std::span<const double> b) {
  std::array<double, 8> lanes{};
  std::size_t i = 0;
  for (; i + 8 <= a.size(); i += 8)
    for (std::size_t k = 0; k < 8; ++k) lanes[k] += std::abs(a[i + k]) * b[i + k];
  double sum = 0.0;
  for (; i < a.size(); ++i) sum += std::abs(a[i]) * b[i];
  for (const double lane : lanes) sum += lane;
  return sum;
}

double dot(std::span<const double> a, std::span<const double> b) {
  std::array<double, 8> lanes{};
  std::size_t i = 0;
  for (; i + 8 <= a.size(); i += 8)
    for (std::size_t k = 0; k < 8; ++k) lanes[k] += a[i + k] * b[i + k];
  double sum = 0.0;
  for (; i < a.size(); ++i) sum += a[i] * b[i];
  for (const double lane : lanes) sum += lane;
  return sum;
}

bool any_nonzero(std::span<const double> values) {
  return std::any_of(values.begin(), values.end(), [](double value) { return value != 0.0; });
}

double sum_of(std::span<const double> values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return sum;
}

/// weighted += |W| z for a matrix of one row per output.
void add_weighted_rows(std::span<const double> weights, std::span<const double> z, Values& weighted) {
  for (std::size_t row = 0; row < weighted.size(); ++row)
    weighted[row] += weighted_magnitude(weights.subspan(row * z.size(), z.size()), z);
}

void add_magnitudes(std::span<const double> values, Values& sum) {
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += std::abs(values[i]);
}

}  // namespace

BackwardWalk::BackwardWalk(const Pair& pair, const PairBounds& bounds, Coupling coupling)
    : pair_(&pair), bounds_(&bounds), coupling_(coupling), nodes_(pair.graph.nodes.size()) {}

void BackwardWalk::prepare(NodeId node) {
  const Node& of = pair_->graph.nodes[at(node)];
  Prepared& prepared = nodes_[at(node)];
  if (const auto* dense = std::get_if<network::Dense>(&of.op)) {
    prepare_dense(*dense, (*bounds_)[of.inputs.front()], prepared);
  } else if (const auto* activation = std::get_if<Activation>(&of.op)) {
    prepare_activation(node, *activation, (*bounds_)[of.inputs.front()], prepared);
  } else {
    prepared.ends = !std::holds_alternative<network::Reshape>(of.op);
  }
}

void BackwardWalk::prepare_dense(const network::Dense& op, const PairBox& input, Prepared& prepared) {
  const auto &f = pair_->f[at(op.layer)], &fq = pair_->fq[at(op.layer)], &change = pair_->change[at(op.layer)];
  const auto z = magnitudes(input.f), zq = magnitudes(input.fq), zd = magnitudes(input.difference);
  const double terms = static_cast<double>(2 * op.outputs);
  prepared.gamma = gamma(2 * op.outputs);
  const auto error = [&](Values weighted, double extent) {
    // The weighted sums themselves are of `inputs` nonnegative products.
    const double grown = 1.0 + 2.0 * gamma(2 * op.inputs);
    const bool any = any_nonzero(weighted);
    for (double& value : weighted) value = value * grown + (any ? static_cast<double>(2 * op.inputs + 2) * 0x1p-1074 : 0.0);
    return LayerError{std::move(weighted), any ? (terms + 2.0) * (extent * inflation + 2.0) * 0x1p-1074 : 0.0};
  };
  Values weighted(at(op.outputs), 0.0);
  add_weighted_rows(f.weights, z, weighted);
  add_magnitudes(f.bias, weighted);
  prepared.f = error(std::move(weighted), sum_of(z));
  weighted.assign(at(op.outputs), 0.0);
  add_weighted_rows(fq.weights, zq, weighted);
  add_magnitudes(fq.bias, weighted);
  prepared.fq = error(std::move(weighted), sum_of(zq));
  if (coupling_ == Coupling::separate) return;
  weighted.assign(at(op.outputs), 0.0);
  if (any_nonzero(zd)) add_weighted_rows(fq.weights, zd, weighted);
  if (pair_->changes(op.layer)) add_weighted_rows(change.weights, z, weighted);
  add_magnitudes(change.bias, weighted);
  prepared.difference = error(std::move(weighted), sum_of(z) + sum_of(zd));
}

void BackwardWalk::prepare_activation(NodeId node, const Activation& op, const PairBox& input, Prepared& prepared) {
  const auto& grids = pair_->activation_grids;
  const bool rounded = !grids.empty() && grids[at(node)].has_value();
  prepared.ends = rounded || !is_piecewise_linear(op);
  if (prepared.ends) return;
  prepared.single_f = SingleRelaxation(op, input.f);
  prepared.single_fq = SingleRelaxation(op, input.fq);
  if (coupling_ == Coupling::joint) prepared.joint = PairRelaxation(op, input);
}

/// Slopes of the planes of one activation node for a block of rows, rows x relaxed neurons, with the coefficients that
/// arrived, the vertices that decided the offsets, and the state of the optimiser.
struct BackwardWalk::Slopes {
  Values single;                 ///< of rows of one network
  std::vector<PlaneForm> forms;  ///< of pairs
  Values p, q;
  std::vector<std::uint8_t> active;
  Values momentum_y, mean_y, momentum_d, mean_d;
  bool empty() const { return active.empty(); }
};

/// A block of rows on its way to the input.
struct BackwardWalk::Block {
  const BackwardWalk& walk;
  Coupling coupling;  ///< of these rows: those of one network alone are separate
  Index rows;
  std::vector<RowSum> sums;
  /// Per node; empty where all are zero. `second` is on y' or d.
  std::vector<Values> first, second;
  /// Slopes that replace the chosen ones, and what an optimiser needs of the walk.
  std::vector<Slopes>* slopes = nullptr;
  Values* input_coefficients = nullptr;

  Block(const BackwardWalk& of, Coupling with, Index count)
      : walk(of),
        coupling(with),
        rows(count),
        sums(at(count)),
        first(of.nodes_.size()),
        second(of.nodes_.size()) {}

  const Graph& graph() const { return walk.pair_->graph; }
  std::span<const double> row(const Values& values, Index r) const {
    const std::size_t size = values.size() / at(rows);
    return std::span(values).subspan(at(r) * size, size);
  }
  std::span<double> row(Values& values, Index r) const {
    const std::size_t size = values.size() / at(rows);
    return std::span(values).subspan(at(r) * size, size);
  }
  const Box& second_box(NodeId node) const {
    const PairBox& box = (*walk.bounds_)[node];
    return coupling == Coupling::joint ? box.difference : box.fq;
  }

  /// Rows 2e and 2e + 1: plus and minus the quantity at element e.
  void start(NodeId node, std::span<const Index> elements, Quantity quantity) {
    const std::size_t size = at(tensor::elements(graph().nodes[at(node)].shape));
    const bool reads_f = quantity == Quantity::f || (quantity == Quantity::difference && coupling == Coupling::separate);
    const double sign_f = quantity == Quantity::f ? 1.0 : -1.0;
    if (reads_f) first[at(node)].assign(at(rows) * size, 0.0);
    if (quantity != Quantity::f) second[at(node)].assign(at(rows) * size, 0.0);
    for (std::size_t e = 0; e < elements.size(); ++e)
      for (std::size_t minus = 0; minus < 2; ++minus) {
        const std::size_t place = (2 * e + minus) * size + at(elements[e]);
        const double sign = minus == 0 ? 1.0 : -1.0;
        if (reads_f) first[at(node)][place] = sign * sign_f;
        if (quantity != Quantity::f) second[at(node)][place] = sign;
      }
  }

  void run(NodeId from) {
    for (NodeId node = from; node >= 0; --node) {
      if (first[at(node)].empty() && second[at(node)].empty()) continue;
      step(node, std::exchange(first[at(node)], {}), std::exchange(second[at(node)], {}));
    }
  }

  void step(NodeId id, Values on_first, Values on_second) {
    const Node& node = graph().nodes[at(id)];
    const Prepared& prepared = walk.nodes_[at(id)];
    if (id == 0) {
      at_input(std::move(on_first), std::move(on_second));
    } else if (prepared.ends) {
      concretize(on_first, (*walk.bounds_)[id].f);
      concretize(on_second, second_box(id));
    } else if (const auto* dense = std::get_if<network::Dense>(&node.op)) {
      through_dense(*dense, prepared, node.inputs.front(), on_first, on_second);
    } else if (std::holds_alternative<Activation>(node.op)) {
      through_activation(prepared, on_first, on_second, slopes ? &(*slopes)[at(id)] : nullptr);
      arrive(node.inputs.front(), std::move(on_first), std::move(on_second));
    } else {
      arrive(node.inputs.front(), std::move(on_first), std::move(on_second));
    }
  }

  void arrive(NodeId node, Values on_first, Values on_second) {
    if (!on_first.empty()) accumulate(first[at(node)], std::move(on_first), (*walk.bounds_)[node].f);
    if (!on_second.empty()) accumulate(second[at(node)], std::move(on_second), second_box(node));
  }

  void accumulate(Values& sum, Values summand, const Box& box) {
    if (sum.empty()) {
      sum = std::move(summand);
      return;
    }
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += summand[i];
    const auto z = magnitudes(box);
    for (Index r = 0; r < rows; ++r) sums[at(r)].slack += 0x1p-52 * weighted_magnitude(row(sum, r), z) + 0x1p-1060;
  }

  void through_dense(const network::Dense& op, const Prepared& prepared, NodeId input, const Values& on_first,
                     const Values& on_second) {
    const Pair& pair = *walk.pair_;
    const auto &f = pair.f[at(op.layer)], &fq = pair.fq[at(op.layer)], &change = pair.change[at(op.layer)];
    if (!on_first.empty()) {
      constants(on_first, f.bias, prepared.f, prepared.gamma);
      arrive(input, tensor::dense_adjoint(op.outputs, f.weights, on_first, rows), {});
    }
    if (on_second.empty()) return;
    if (coupling == Coupling::joint) {
      constants(on_second, change.bias, prepared.difference, prepared.gamma);
      if (pair.changes(op.layer)) {
        Values through_change = tensor::dense_adjoint(op.outputs, change.weights, on_second, rows);
        if (first[at(input)].empty()) {
          first[at(input)] = std::move(through_change);
        } else {
          for (std::size_t i = 0; i < through_change.size(); ++i) first[at(input)][i] += through_change[i];
        }
      }
    } else {
      constants(on_second, fq.bias, prepared.fq, prepared.gamma);
    }
    arrive(input, {}, tensor::dense_adjoint(op.outputs, fq.weights, on_second, rows));
  }

  /// The bias, and what rounding costs in it and in the coefficients behind the layer.
  void constants(const Values& coefficients, std::span<const double> bias, const LayerError& error, double layer_gamma) {
    for (Index r = 0; r < rows; ++r) {
      const auto of_row = row(coefficients, r);
      const double weighted = weighted_magnitude(of_row, error.weighted);
      sums[at(r)].add(dot(of_row, bias), layer_gamma * weighted + (any_nonzero(of_row) ? error.tiny : 0.0));
    }
  }

  void through_activation(const Prepared& prepared, Values& on_first, Values& on_second, Slopes* given) {
    if (coupling == Coupling::joint) {
      if (on_first.empty()) on_first.assign(on_second.size(), 0.0);
      if (on_second.empty()) on_second.assign(on_first.size(), 0.0);
    }
    if (given) return through_given(prepared, on_first, on_second, *given);
    for (Index r = 0; r < rows; ++r) {
      if (coupling == Coupling::joint) {
        prepared.joint.apply(row(on_first, r), row(on_second, r), sums[at(r)]);
        continue;
      }
      if (!on_first.empty()) prepared.single_f.apply(row(on_first, r), sums[at(r)]);
      if (!on_second.empty()) prepared.single_fq.apply(row(on_second, r), sums[at(r)]);
    }
  }

  /// With slopes from outside; the first time they are those that would have been chosen.
  void through_given(const Prepared& prepared, Values& on_first, Values& on_second, Slopes& given) {
    const bool joint = coupling == Coupling::joint;
    Values& single = on_first.empty() ? on_second : on_first;
    const SingleRelaxation& relaxation = on_first.empty() ? prepared.single_fq : prepared.single_f;
    const Vertices& v = joint ? prepared.joint.vertices() : relaxation.vertices();
    const std::size_t n = v.relaxed.size(), size = n * at(rows);
    const bool fresh = given.active.size() != size;
    if (fresh) {
      for (Values* values : {&given.p, &given.momentum_y, &given.mean_y}) values->assign(size, 0.0);
      if (joint)
        for (Values* values : {&given.q, &given.momentum_d, &given.mean_d}) values->assign(size, 0.0);
      if (joint) given.forms.resize(size);
      if (!joint) given.single.resize(size);
      given.active.assign(size, 0);
    }
    for (Index r = 0; r < rows; ++r) {
      const auto part = [&](auto& values) { return std::span(values).subspan(at(r) * n, n); };
      const auto p = row(joint ? on_first : single, r);
      for (std::size_t i = 0; i < n; ++i) part(given.p)[i] = p[at(v.relaxed[i])];
      if (!joint) {
        if (fresh) relaxation.initial_slopes(p, part(given.single));
        relaxation.apply(p, part(given.single), part(given.active), sums[at(r)]);
        continue;
      }
      const auto q = row(on_second, r);
      for (std::size_t i = 0; i < n; ++i) part(given.q)[i] = q[at(v.relaxed[i])];
      if (fresh) prepared.joint.initial_forms(p, q, part(given.forms));
      prepared.joint.apply(p, q, part(given.forms), part(given.active), sums[at(r)]);
    }
  }

  /// Both networks read the same x where their input boxes say so: then coefficients on y and y' cancel.
  void at_input(Values on_first, Values on_second) {
    const PairBox& box = (*walk.bounds_)[0];
    const bool shared = !any_nonzero(box.difference.low) && !any_nonzero(box.difference.high);
    if (coupling == Coupling::separate && shared && !on_first.empty() && !on_second.empty()) {
      accumulate(on_first, std::move(on_second), box.f);
      on_second = {};
    }
    if (input_coefficients) *input_coefficients = on_first.empty() ? on_second : on_first;
    concretize(on_first, box.f);
    concretize(on_second, second_box(0));
  }

  /// Adds the largest value of the coefficients' function over a box.
  void concretize(const Values& coefficients, const Box& box) {
    if (coefficients.empty()) return;
    const std::size_t size = box.low.size();
    Values center(size), radius(size), extent(size);
    for (std::size_t i = 0; i < size; ++i) {
      center[i] = box.low[i] + (box.high[i] - box.low[i]) / 2.0;
      const double distance = std::max(box.high[i] - center[i], center[i] - box.low[i]);
      radius[i] = distance == 0.0 ? 0.0 : core::next_up(distance);
      extent[i] = std::abs(center[i]) + radius[i];
    }
    for (Index r = 0; r < rows; ++r) {
      const auto of_row = row(coefficients, r);
      const double error = gamma(static_cast<std::int64_t>(2 * size)) * weighted_magnitude(of_row, extent);
      const bool nothing = error == 0.0 && (!any_nonzero(of_row) || !any_nonzero(extent));
      sums[at(r)].add(dot(of_row, center) + weighted_magnitude(of_row, radius),
                      nothing ? 0.0 : error + static_cast<double>(2 * size + 2) * 0x1p-1074);
    }
  }
};

/// Minimises the upper bounds of a block of rows over the slopes of their planes, each row for itself. The derivative of
/// a bound with respect to coefficients is the point where it is attained, which a pass forward through the planes finds;
/// with respect to slopes it follows from that and the vertex that decided the offset. The bounds are convex in the
/// planes but have kinks, so gradients are smoothed over the steps and the last step goes to the mean of all slopes,
/// later ones counting more. Every evaluation is a proof, so the best is kept.
class BackwardWalk::Descent {
 public:
  Descent(const BackwardWalk& walk, NodeId node, std::span<const Index> elements, Quantity quantity, Index steps)
      : walk_(walk),
        steps_(steps),
        node_(node),
        elements_(elements),
        quantity_(quantity),
        coupling_(quantity == Quantity::difference ? walk.coupling_ : Coupling::separate),
        rows_(2 * std::ssize(elements)),
        slopes_(walk.nodes_.size()),
        best_(at(rows_), std::numeric_limits<double>::infinity()) {}

  Values run() {
    for (Index step = 0; step <= steps_; ++step) {
      Block block(walk_, coupling_, rows_);
      block.slopes = &slopes_;
      block.input_coefficients = &input_;
      block.start(node_, elements_, quantity_);
      block.run(node_);
      for (std::size_t r = 0; r < best_.size(); ++r) best_[r] = std::min(best_[r], block.sums[r].upper());
      if (step < steps_) forward(step);
    }
    return std::move(best_);
  }

 private:
  bool joint() const { return coupling_ == Coupling::joint; }

  /// One pass forward and one step.
  void forward(Index step) {
    const Graph& graph = walk_.pair_->graph;
    std::vector<Values> first(graph.nodes.size()), second(graph.nodes.size());
    NodeId last = 0;
    for (NodeId id = 0; id < node_; ++id)
      if (!slopes_[at(id)].empty()) last = id;
    first[0] = attained_input();
    for (NodeId id = 1; id <= last; ++id) {
      const Node& node = graph.nodes[at(id)];
      Values &y = first[at(node.inputs.front())], &d = second[at(node.inputs.front())];
      if (const auto* dense = std::get_if<network::Dense>(&node.op)) {
        forward_dense(*dense, y, d, first[at(id)], second[at(id)]);
      } else if (!slopes_[at(id)].empty()) {
        forward_activation(id, y, d, step);
        first[at(id)] = std::move(y);
        second[at(id)] = std::move(d);
      } else {
        first[at(id)] = std::move(y);
        second[at(id)] = std::move(d);
      }
    }
  }

  Values attained_input() const {
    const Box& box = (*walk_.bounds_)[0].f;
    Values x(input_.size());
    const std::size_t size = box.low.size();
    for (std::size_t r = 0; r < at(rows_); ++r)
      for (std::size_t i = 0; i < size; ++i) {
        const double a = input_[r * size + i];
        x[r * size + i] = a > 0.0 ? box.high[i] : (a < 0.0 ? box.low[i] : (box.low[i] + box.high[i]) / 2.0);
      }
    return x;
  }

  void forward_dense(const network::Dense& op, const Values& y, const Values& d, Values& y_out, Values& d_out) const {
    const Pair& pair = *walk_.pair_;
    const auto &f = pair.f[at(op.layer)], &fq = pair.fq[at(op.layer)], &change = pair.change[at(op.layer)];
    const auto& own = quantity_ == Quantity::fq ? fq : f;
    y_out = tensor::dense(op.outputs, own.weights, own.bias, y, rows_);
    if (!joint()) return;
    d_out = tensor::dense(op.outputs, change.weights, change.bias, y, rows_);
    if (d.empty()) return;
    const Values through = tensor::dense(op.outputs, fq.weights, {}, d, rows_);
    for (std::size_t i = 0; i < d_out.size(); ++i) d_out[i] += through[i];
  }

  /// From the arguments of the activation to its relaxed values, in place, while the slopes take a step.
  void forward_activation(NodeId id, Values& y, Values& d, Index step) {
    const Prepared& prepared = walk_.nodes_[at(id)];
    const Vertices& v = joint()                       ? prepared.joint.vertices()
                        : quantity_ == Quantity::fq ? prepared.single_fq.vertices()
                                                      : prepared.single_f.vertices();
    Slopes& slopes = slopes_[at(id)];
    const std::size_t n = v.relaxed.size(), size = v.factor.size();
    for (std::size_t r = 0; r < at(rows_); ++r) {
      for (std::size_t j = 0; j < n; ++j) {
        const std::size_t place = r * n + j, neuron = r * size + at(v.relaxed[j]);
        const std::size_t vertex = slopes.active[place] * n + j;
        const double p = slopes.p[place], away_y = y[neuron] - v.y[vertex];
        if (!joint()) {
          double& slope = slopes.single[place];
          y[neuron] = v.r[vertex] + slope * away_y;
          const double sign = p > 0.0 ? 1.0 : (p < 0.0 ? -1.0 : 0.0);
          descend(slope, slopes.momentum_y[place], slopes.mean_y[place], sign * away_y / v.extent_y[j], step);
          continue;
        }
        PlaneForm& form = slopes.forms[place];
        const double q = slopes.q[place], away_d = d[neuron] - v.d[vertex];
        const double narrowness = prepared.joint.narrowness(static_cast<Index>(j));
        const double sign_p = p > 0.0 ? 1.0 : -1.0, sign_q = q > 0.0 ? 1.0 : -1.0;
        y[neuron] = v.r[vertex] + (form.s + form.x * sign_p) * away_y + (form.v + form.z * sign_p) * away_d;
        d[neuron] = v.g[vertex] + (form.w + form.x * narrowness * sign_q) * away_y + (form.t + form.z * sign_q) * away_d;
        if (p == 0.0 && q == 0.0) continue;
        const double extent = v.extent_y[j];
        descend(form.x, slopes.momentum_y[place], slopes.mean_y[place], away_y / extent, step);
        descend(form.z, slopes.momentum_d[place], slopes.mean_d[place], away_d / (narrowness * extent), step);
      }
      for (std::size_t i = 0; i < size; ++i) {
        y[r * size + i] *= v.factor[i];
        if (joint()) d[r * size + i] *= v.factor[i];
      }
    }
  }

  /// Moves one slope against the smoothed distance between the attained point and the vertex that decided the offset,
  /// relative to what is known of the neuron. `mean` of all later slopes is what the last step returns to.
  void descend(double& slope, double& momentum, double& mean, double away, Index step) const {
    if (!std::isfinite(away)) return;
    const double k = static_cast<double>(step);
    momentum = smoothing * momentum + (1.0 - smoothing) * away;
    slope -= first_step * std::pow(decay, k) * momentum / (1.0 - std::pow(smoothing, k + 1.0));
    mean = step == 0 ? slope : mean + 2.0 / (k + 2.0) * (slope - mean);
    if (step == steps_ - 1) slope = mean;
  }

  static constexpr double first_step = 0.2, decay = 0.95, smoothing = 0.9;

  const BackwardWalk& walk_;
  Index steps_;
  NodeId node_;
  std::span<const Index> elements_;
  Quantity quantity_;
  Coupling coupling_;
  Index rows_;
  std::vector<Slopes> slopes_;
  Values input_;  ///< coefficients at the input
  Values best_;
};

Box BackwardWalk::optimized_bound(NodeId node, std::span<const Index> elements, Quantity quantity, Index steps) const {
  const Index per_block = block_rows / 2, count = std::ssize(elements), blocks = (count + per_block - 1) / per_block;
  Box result{Values(elements.size()), Values(elements.size())};
#pragma omp parallel for schedule(dynamic) if (blocks > 1)
  for (Index b = 0; b < blocks; ++b) {
    const Index begin = b * per_block, size = std::min(per_block, count - begin);
    const Values best = Descent(*this, node, elements.subspan(at(begin), at(size)), quantity, steps).run();
    for (Index e = 0; e < size; ++e) {
      result.high[at(begin + e)] = best[at(2 * e)];
      result.low[at(begin + e)] = -best[at(2 * e + 1)];
    }
  }
  return result;
}

Box BackwardWalk::bound(NodeId node, std::span<const Index> elements, Quantity quantity) const {
  const Index per_block = block_rows / 2, count = std::ssize(elements), blocks = (count + per_block - 1) / per_block;
  Box result{Values(elements.size()), Values(elements.size())};
#pragma omp parallel for schedule(dynamic) if (blocks > 1)
  for (Index b = 0; b < blocks; ++b) {
    const Index begin = b * per_block, size = std::min(per_block, count - begin);
    Block block(*this, quantity == Quantity::difference ? coupling_ : Coupling::separate, 2 * size);
    block.start(node, elements.subspan(at(begin), at(size)), quantity);
    block.run(node);
    for (Index e = 0; e < size; ++e) {
      result.high[at(begin + e)] = block.sums[at(2 * e)].upper();
      result.low[at(begin + e)] = -block.sums[at(2 * e + 1)].upper();
    }
  }
  return result;
}

}  // namespace quantbound::certify::detail
