#include "crown_walk.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/adjoint.hpp"
#include "quantbound/tensor/matrix.hpp"
#include "quantbound/tensor/pooling.hpp"

namespace quantbound::certify::detail {

namespace {

using network::Node;

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

Values absolute(std::span<const double> values) {
  Values result(values.begin(), values.end());
  for (double& value : result) value = std::abs(value);
  return result;
}

}  // namespace

BackwardWalk::BackwardWalk(const Pair& pair, const PairBounds& bounds, Coupling coupling,
                           std::span<const Assumption> assumptions)
    : pair_(&pair),
      bounds_(&bounds),
      coupling_(coupling),
      assumptions_(assumptions.begin(), assumptions.end()),
      nodes_(pair.graph.nodes.size()) {
  for (const auto& readers : pair.graph.consumers()) readers_.push_back(std::ssize(readers));
}

void BackwardWalk::prepare(NodeId node) {
  const Node& of = pair_->graph.nodes[at(node)];
  Prepared& prepared = nodes_[at(node)];
  if (const auto* activation = std::get_if<Activation>(&of.op)) {
    prepare_activation(node, *activation, prepared);
  } else if (is_affine(of.op)) {
    prepare_affine(node, prepared);
  } else if (const auto* maximum = std::get_if<network::MaxPool>(&of.op)) {
    prepare_maximum(node, *maximum, prepared);
  } else {
    prepared.ends = true;
  }
}

std::span<const double> BackwardWalk::weights(NodeId node, Quantity of) const {
  const Index layer = layer_of(pair_->graph.nodes[at(node)].op);
  if (layer < 0) return {};
  return (of == Quantity::f ? pair_->f : of == Quantity::fq ? pair_->fq : pair_->change)[at(layer)].weights;
}

std::span<const double> BackwardWalk::bias(NodeId node, Quantity of) const {
  const Index layer = layer_of(pair_->graph.nodes[at(node)].op);
  if (layer < 0) return {};
  return (of == Quantity::f ? pair_->f : of == Quantity::fq ? pair_->fq : pair_->change)[at(layer)].bias;
}

void BackwardWalk::prepare_affine(NodeId node, Prepared& prepared) {
  const Graph& graph = pair_->graph;
  const Node& of = graph.nodes[at(node)];
  const bool layer = layer_of(of.op) >= 0;
  const Index size = tensor::elements(of.shape), inputs = forward_terms(graph, node);
  const Index terms = 2 * std::max(backward_terms(graph, node), size);
  const double grown = 1.0 + 2.0 * gamma(2 * inputs + 4);  // of the weighted sums, themselves rounded to nearest
  prepared.gamma = gamma(terms);

  /// Adds |L| z for the boxes `of` the inputs to `error`.
  const auto add = [&](AffineError& error, std::span<const double> with, Box PairBox::*box) {
    std::vector<Values> z;
    std::vector<const Values*> pointers;
    double extent = 0.0;
    for (const NodeId input : of.inputs) z.push_back(magnitudes((*bounds_)[input].*box));
    for (const Values& values : z) {
      pointers.push_back(&values);
      extent += sum_of(values);
    }
    if (extent == 0.0 || (layer && !any_nonzero(with))) return;
    const Values magnitude = absolute(with);
    Values weighted = forward_linear(graph, node, magnitude, pointers, 1);
    for (std::size_t i = 0; i < weighted.size(); ++i)
      error.weighted[i] += std::abs(weighted[i]) * grown + static_cast<double>(2 * inputs + 2) * 0x1p-1074;
    error.tiny += static_cast<double>(terms + 2) * (extent * 1.001 + 1.0) * 0x1p-1074;
  };
  const auto finish = [&](AffineError& error, std::span<const double> constants) {
    error.constant = constant_part(graph, node, constants);
    if (!any_nonzero(error.constant)) error.constant.clear();
    for (std::size_t i = 0; i < error.constant.size(); ++i) error.weighted[i] += std::abs(error.constant[i]) * grown;
    if (!error.constant.empty()) error.tiny += static_cast<double>(terms + 2) * 0x1p-1074;
  };
  prepared.f.weighted.assign(at(size), 0.0);
  add(prepared.f, weights(node, Quantity::f), &PairBox::f);
  finish(prepared.f, bias(node, Quantity::f));
  prepared.fq.weighted.assign(at(size), 0.0);
  add(prepared.fq, weights(node, Quantity::fq), &PairBox::fq);
  finish(prepared.fq, bias(node, Quantity::fq));
  if (coupling_ == Coupling::separate) return;
  prepared.difference.weighted.assign(at(size), 0.0);
  add(prepared.difference, weights(node, Quantity::fq), &PairBox::difference);
  if (!layer) return;
  add(prepared.difference, weights(node, Quantity::difference), &PairBox::f);
  finish(prepared.difference, bias(node, Quantity::difference));
}

void BackwardWalk::prepare_activation(NodeId node, const Activation& op, Prepared& prepared) {
  const auto& grids = pair_->activation_grids;
  const bool rounded = !grids.empty() && grids[at(node)].has_value();
  const NodeId from = pair_->graph.nodes[at(node)].inputs.front();
  const PairBox& input = (*bounds_)[from];
  prepared.fixed = is_sigmoidal(op);
  prepared.ends = rounded || !(is_piecewise_linear(op) || prepared.fixed);
  if (prepared.ends) return;
  prepared.single_f = SingleRelaxation(op, input.f);
  prepared.single_fq = SingleRelaxation(op, input.fq);
  if (coupling_ == Coupling::joint) prepared.joint = PairRelaxation(op, input, strips(from));
  gather_live_rows(from, prepared.single_f.vertices().factor, prepared.single_fq.vertices().factor);
}

/// Neurons of a node that are assumed to be on different sides of a kink in f and f_q.
std::vector<Index> BackwardWalk::strips(NodeId node) const {
  std::vector<Index> result;
  for (const Assumption& a : assumptions_)
    for (const Assumption& b : assumptions_)
      if (a.node == node && b.node == node && a.element == b.element && a.network == Network::f &&
          b.network == Network::fq && a.side != b.side)
        result.push_back(a.element);
  return result;
}

void BackwardWalk::prepare_maximum(NodeId node, const network::MaxPool& op, Prepared& prepared) {
  const NodeId input = pair_->graph.nodes[at(node)].inputs.front();
  const auto& shape = pair_->graph.nodes[at(input)].shape;
  const Index height = shape[1], width = shape[2], rows = op.window.out_height(height),
              columns = op.window.out_width(width);
  const auto winner = [&](const Box& box, Index channel, Index row, Index column) {
    std::vector<Index> inside;
    for (Index ky = 0; ky < op.window.kernel_height; ++ky)
      for (Index kx = 0; kx < op.window.kernel_width; ++kx) {
        const Index y = row * op.window.stride_height - op.window.pad_top + ky * op.window.dilation_height;
        const Index x = column * op.window.stride_width - op.window.pad_left + kx * op.window.dilation_width;
        if (y >= 0 && y < height && x >= 0 && x < width) inside.push_back((channel * height + y) * width + x);
      }
    const Index best = *std::max_element(inside.begin(), inside.end(),
                                         [&](Index a, Index b) { return box.low[at(a)] < box.low[at(b)]; });
    const bool certain = std::all_of(inside.begin(), inside.end(), [&](Index other) {
      return other == best || box.high[at(other)] <= box.low[at(best)];
    });
    return Prepared::Winner{best, certain};
  };
  for (Index channel = 0; channel < shape[0]; ++channel)
    for (Index row = 0; row < rows; ++row)
      for (Index column = 0; column < columns; ++column) {
        prepared.winners_f.push_back(winner((*bounds_)[input].f, channel, row, column));
        prepared.winners_fq.push_back(winner((*bounds_)[input].fq, channel, row, column));
      }
  prepared.gamma = gamma(op.window.kernel_height * op.window.kernel_width * 4);
}

/// Most neurons of a layer often vanish over a small region: then products with the rows of the others pay for the
/// copy.
void BackwardWalk::gather_live_rows(NodeId layer, std::span<const double> f_factor, std::span<const double> fq_factor) {
  const auto* dense = std::get_if<network::Dense>(&pair_->graph.nodes[at(layer)].op);
  if (!dense || readers_[at(layer)] != 1 || layer == pair_->graph.output) return;
  Prepared& prepared = nodes_[at(layer)];
  prepared.live.clear();
  Values assumed(f_factor.size(), 0.0);  // multipliers act before the activation
  for (const Assumption& assumption : assumptions_)
    if (assumption.node == layer) assumed[at(assumption.element)] = 1.0;
  for (std::size_t i = 0; i < f_factor.size(); ++i)
    if (f_factor[i] != 0.0 || fq_factor[i] != 0.0 || assumed[i] != 0.0) prepared.live.push_back(static_cast<Index>(i));
  if (std::ssize(prepared.live) > dense->outputs * 4 / 5 || prepared.live.empty()) {
    prepared.live.clear();
    return;
  }
  const auto gather = [&](std::span<const double> weights) {
    const std::size_t inputs = at(dense->inputs);
    Values rows(prepared.live.size() * inputs);
    for (std::size_t i = 0; i < prepared.live.size(); ++i)
      std::copy_n(weights.data() + at(prepared.live[i]) * inputs, inputs, rows.data() + i * inputs);
    return rows;
  };
  prepared.live_f = gather(weights(layer, Quantity::f));
  prepared.live_fq = gather(weights(layer, Quantity::fq));
  if (coupling_ == Coupling::joint && pair_->changes(dense->layer))
    prepared.live_change = gather(weights(layer, Quantity::difference));
}

/// backward_linear of a dense layer with live rows.
Values BackwardWalk::layer_backward(NodeId node, Quantity with, const Values& coefficients, Index rows) const {
  const Prepared& prepared = nodes_[at(node)];
  const std::size_t size = coefficients.size() / at(rows), count = prepared.live.size();
  Values gathered(at(rows) * count);
  for (std::size_t r = 0; r < at(rows); ++r)
    for (std::size_t i = 0; i < count; ++i) gathered[r * count + i] = coefficients[r * size + at(prepared.live[i])];
  const Values& of = with == Quantity::f    ? prepared.live_f
                     : with == Quantity::fq ? prepared.live_fq
                                            : prepared.live_change;
  return tensor::dense_adjoint(static_cast<Index>(count), of, gathered, rows);
}

/// forward_linear of a dense layer with live rows; the others are zero.
Values BackwardWalk::layer_forward(NodeId node, Quantity with, const Values& values, Index rows) const {
  const Prepared& prepared = nodes_[at(node)];
  const std::size_t count = prepared.live.size(), size = at(tensor::elements(pair_->graph.nodes[at(node)].shape));
  const Values& of = with == Quantity::f    ? prepared.live_f
                     : with == Quantity::fq ? prepared.live_fq
                                            : prepared.live_change;
  const Values gathered = tensor::dense(static_cast<Index>(count), of, {}, values, rows);
  Values result(at(rows) * size, 0.0);
  for (std::size_t r = 0; r < at(rows); ++r)
    for (std::size_t i = 0; i < count; ++i) result[r * size + at(prepared.live[i])] = gathered[r * count + i];
  return result;
}

/// Whole tiles of the matrix product and enough of them to pay for packing weights, but within 4 GiB for any graph.
Index BackwardWalk::rows_at_once() const {
  constexpr Index most = 96, budget = Index{1} << 29, values_alive = 16;
  Index largest = 1;
  for (const Node& node : pair_->graph.nodes) largest = std::max(largest, tensor::elements(node.shape));
  return std::clamp<Index>(budget / (values_alive * largest) / 2 * 2, 2, most);
}

/// Slopes of the planes of one activation node for a block of rows, rows x relaxed neurons, with the coefficients that
/// arrived, the vertices that decided the offsets, and the state of the optimiser.
struct BackwardWalk::Slopes {
  Values single;                 ///< of rows of one network
  std::vector<PlaneForm> forms;  ///< of pairs
  Values p, q;
  std::vector<std::uint8_t> active;
  Values momentum_y, square_y, mean_y, momentum_d, square_d, mean_d;
  bool empty() const { return active.empty(); }
};

/// Lagrange multipliers of assumptions for a block of rows, rows x assumptions (beta-CROWN, Wang et al. 2021): with
/// s (y_i - kink) >= 0 on every point, adding beta s (y_i - kink) to a functional never lowers its upper bound.
struct BackwardWalk::Multipliers {
  std::vector<Assumption> of;
  Values beta, momentum, square;
  Values scale;  ///< of the row's coefficients where the multiplier acts

  Multipliers(std::vector<Assumption> assumptions, Index rows) : of(std::move(assumptions)) {
    for (Values* values : {&beta, &momentum, &square, &scale}) values->assign(of.size() * at(rows), 0.0);
  }
  static double sign(const Assumption& assumption) { return assumption.side == Side::above ? 1.0 : -1.0; }
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
  /// Of assumptions about nodes before the one where the rows start, about the network of the rows.
  Multipliers* multipliers = nullptr;
  /// Receives the relaxation gaps of every row.
  std::vector<std::vector<Influence>>* influences = nullptr;
  /// Where the bound is attained at the nodes at which walks end, per node; kept for an optimiser.
  std::vector<Values>*attained_first = nullptr, *attained_second = nullptr;

  Block(const BackwardWalk& of, Coupling with, Index count)
      : walk(of), coupling(with), rows(count), sums(at(count)), first(of.nodes_.size()), second(of.nodes_.size()) {}

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
    const bool reads_f =
        quantity == Quantity::f || (quantity == Quantity::difference && coupling == Coupling::separate);
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
      if (multipliers) add_multipliers(node);
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
      concretize(id, on_first, (*walk.bounds_)[id].f, attained_first);
      concretize(id, on_second, second_box(id), attained_second);
    } else if (std::holds_alternative<network::MaxPool>(node.op)) {
      through_maximum(id, prepared, on_first, on_second);
    } else if (std::holds_alternative<Activation>(node.op)) {
      if (influences) record_gaps(node.inputs.front(), prepared, on_first, on_second);
      through_activation(prepared, on_first, on_second, slopes && !prepared.fixed ? &(*slopes)[at(id)] : nullptr);
      arrive(node.inputs.front(), std::move(on_first), std::move(on_second));
    } else {
      through_affine(id, prepared, on_first, on_second);
    }
  }

  void add_multipliers(NodeId node) {
    for (std::size_t k = 0; k < multipliers->of.size(); ++k) {
      const Assumption& assumption = multipliers->of[k];
      if (assumption.node != node) continue;
      set_scales(k, first[at(node)].empty() ? second[at(node)] : first[at(node)]);
      const bool of_d = coupling == Coupling::joint && assumption.network == Network::fq;  // y' = y + d
      const bool alone = coupling == Coupling::separate && assumption.network == Network::fq;
      if (!alone) add_multiplier(k, first[at(node)], (*walk.bounds_)[node].f);
      if (alone || of_d) add_multiplier(k, second[at(node)], second_box(node));
      for (Index r = 0; r < rows; ++r) {
        const double constant = -multipliers->beta[place(r, k)] * Multipliers::sign(assumption) * assumption.kink;
        if (constant != 0.0) sums[at(r)].add(constant, 0x1p-52 * std::abs(constant));
      }
    }
  }

  std::size_t place(Index r, std::size_t k) const { return at(r) * multipliers->of.size() + k; }

  /// beta s on one coefficient of every row, with what rounding the sum may cost.
  void add_multiplier(std::size_t k, Values& coefficients, const Box& box) {
    const Assumption& assumption = multipliers->of[k];
    const std::size_t size = box.low.size(), i = at(assumption.element);
    const double extent = std::max(std::abs(box.low[i]), std::abs(box.high[i]));
    for (Index r = 0; r < rows; ++r) {
      const double beta = multipliers->beta[place(r, k)];
      if (beta == 0.0) continue;
      if (coefficients.empty()) coefficients.assign(at(rows) * size, 0.0);
      double& coefficient = coefficients[at(r) * size + i];
      coefficient += Multipliers::sign(assumption) * beta;
      sums[at(r)].slack += 0x1p-52 * std::abs(coefficient) * extent + 0x1p-1070;
    }
  }

  /// Steps of a multiplier are relative to the coefficients around it: the mean of those that are not zero.
  void set_scales(std::size_t k, const Values& coefficients) {
    if (coefficients.empty()) return;
    for (Index r = 0; r < rows; ++r) {
      double& scale = multipliers->scale[place(r, k)];
      if (scale != 0.0) continue;
      double sum = 0.0, count = 0.0;
      for (const double coefficient : row(std::as_const(coefficients), r)) {
        sum += std::abs(coefficient);
        count += coefficient != 0.0 ? 1.0 : 0.0;
      }
      scale = count > 0.0 ? sum / count : 0.0;
    }
  }

  void arrive(NodeId node, Values on_first, Values on_second) {
    if (!on_first.empty()) accumulate(first[at(node)], std::move(on_first), (*walk.bounds_)[node].f);
    if (!on_second.empty()) accumulate(second[at(node)], std::move(on_second), second_box(node));
  }

  /// On the first (Quantity::f) or the second coefficients of the node.
  void arrive_on(Quantity to, NodeId node, Values coefficients) {
    if (to == Quantity::f) {
      arrive(node, std::move(coefficients), {});
    } else {
      arrive(node, {}, std::move(coefficients));
    }
  }

  void accumulate(Values& sum, Values summand, const Box& box) {
    if (sum.empty()) {
      sum = std::move(summand);
      return;
    }
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += summand[i];
    const auto z = magnitudes(box);
    const bool any = any_nonzero(z);
    for (Index r = 0; r < rows; ++r) {
      const double weighted = weighted_magnitude(row(sum, r), z);
      sums[at(r)].slack += 0x1p-52 * weighted + (any && any_nonzero(row(sum, r)) ? 0x1p-1070 : 0.0);
    }
  }

  /// A maximum is at least its likely winner and at most the upper end of its interval; where one input wins for
  /// certain it is that input. The difference of two maxima is that of one input if it wins in both, else it stays an
  /// interval.
  void through_maximum(NodeId id, const Prepared& prepared, const Values& on_first, const Values& on_second) {
    const PairBox& box = (*walk.bounds_)[id];
    const bool joint = coupling == Coupling::joint;
    const auto same = [&](std::size_t i) {
      const auto &f = prepared.winners_f[i], &fq = prepared.winners_fq[i];
      return f.certain && fq.certain && f.input == fq.input;
    };
    to_winners(id, on_first, prepared.winners_f, box.f, Quantity::f, prepared.gamma,
               [&](std::size_t i, double p) { return p < 0.0 || prepared.winners_f[i].certain; });
    to_winners(id, on_second, prepared.winners_fq, second_box(id), Quantity::fq, prepared.gamma,
               [&](std::size_t i, double q) { return joint ? same(i) : q < 0.0 || prepared.winners_fq[i].certain; });
  }

  template <class Passes>
  void to_winners(NodeId id, const Values& coefficients, const std::vector<Prepared::Winner>& winners, const Box& box,
                  Quantity to, double node_gamma, Passes passes) {
    if (coefficients.empty()) return;
    const NodeId input = graph().nodes[at(id)].inputs.front();
    const std::size_t size = at(tensor::elements(graph().nodes[at(input)].shape));
    const auto z = magnitudes(to == Quantity::f ? (*walk.bounds_)[input].f : second_box(input));
    Values passed(at(rows) * size, 0.0);
    for (Index r = 0; r < rows; ++r) {
      const auto of_row = row(coefficients, r);
      double constant = 0.0, magnitude = 0.0, weighted = 0.0, tiny = 0.0;
      for (std::size_t i = 0; i < of_row.size(); ++i) {
        const double p = of_row[i];
        if (p == 0.0) continue;
        const std::size_t winner = at(winners[i].input);
        const double end = p > 0.0 ? box.high[i] : box.low[i];
        if (passes(i, p)) {
          passed[at(r) * size + winner] += p;
          weighted += std::abs(p) * z[winner];
          tiny += z[winner] > 0.0 ? 0x1p-1074 : 0.0;
        } else if (end != 0.0) {
          constant += p * end;
          magnitude += std::abs(p * end);
          tiny += 0x1p-1074;
        }
      }
      const double terms = gamma(static_cast<std::int64_t>(of_row.size()));
      sums[at(r)].add(constant, terms * magnitude + node_gamma * weighted + tiny);
    }
    arrive_on(to, input, std::move(passed));
  }

  void through_affine(NodeId id, const Prepared& prepared, const Values& on_first, const Values& on_second) {
    if (!on_first.empty()) {
      constants(on_first, prepared.f, prepared.gamma);
      pass(id, Quantity::f, on_first, Quantity::f);
    }
    if (on_second.empty()) return;
    const bool joint = coupling == Coupling::joint;
    constants(on_second, joint ? prepared.difference : prepared.fq, prepared.gamma);
    const Index layer = layer_of(graph().nodes[at(id)].op);
    if (joint && layer >= 0 && walk.pair_->changes(layer)) pass(id, Quantity::difference, on_second, Quantity::f);
    pass(id, Quantity::fq, on_second, Quantity::fq);
  }

  /// Coefficients through the weights of `with` to the inputs' first (Quantity::f) or second coefficients.
  void pass(NodeId id, Quantity with, const Values& coefficients, Quantity to) {
    const auto& inputs = graph().nodes[at(id)].inputs;
    std::vector<Values> passed;
    if (!walk.nodes_[at(id)].live.empty()) {
      passed.push_back(walk.layer_backward(id, with, coefficients, rows));
    } else {
      passed = backward_linear(graph(), id, walk.weights(id, with), coefficients, rows);
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      arrive_on(to, inputs[i], std::move(passed[i]));
    }
  }

  /// The constant part, and what rounding costs in it and in the coefficients behind the node.
  void constants(const Values& coefficients, const AffineError& error, double node_gamma) {
    for (Index r = 0; r < rows; ++r) {
      const auto of_row = row(coefficients, r);
      const double weighted = weighted_magnitude(of_row, error.weighted);
      sums[at(r)].add(error.constant.empty() ? 0.0 : dot(of_row, error.constant),
                      node_gamma * weighted + (error.tiny > 0.0 && any_nonzero(of_row) ? error.tiny : 0.0));
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

  /// @pre Coupling::joint
  void record_gaps(NodeId input, const Prepared& prepared, const Values& on_first, const Values& on_second) {
    const Values zeros((on_first.empty() ? on_second : on_first).size(), 0.0);
    const auto& relaxed = prepared.joint.vertices().relaxed;
    for (Index r = 0; r < rows; ++r) {
      const auto gaps = prepared.joint.gaps(row(on_first.empty() ? zeros : on_first, r),
                                            row(on_second.empty() ? zeros : on_second, r));
      for (std::size_t i = 0; i < gaps.size(); ++i) (*influences)[at(r)].push_back({input, relaxed[i], gaps[i]});
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
      for (Values* values : {&given.p, &given.momentum_y, &given.square_y}) values->assign(size, 0.0);
      if (joint)
        for (Values* values : {&given.q, &given.mean_y, &given.momentum_d, &given.square_d, &given.mean_d})
          values->assign(size, 0.0);
      if (joint) given.forms.resize(size);
      if (!joint) given.single.resize(size);
      given.active.assign(size, 0);
    }
    for (Index r = 0; r < rows; ++r) {
      const auto part = [&](auto& values) { return std::span(values).subspan(at(r) * n, n); };
      const auto p = row(joint ? on_first : single, r);
      for (std::size_t i = 0; i < n; ++i) part(given.p)[i] = p[at(v.relaxed[i])];
      if (!joint) {
        if (fresh) relaxation.initial_slopes(part(given.single));
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
    concretize(0, on_first, box.f, attained_first);
    concretize(0, on_second, second_box(0), attained_second);
  }

  /// Adds the largest value of the coefficients' function over a box.
  void concretize(NodeId node, const Values& coefficients, const Box& box, std::vector<Values>* attained) {
    if (coefficients.empty()) return;
    const std::size_t size = box.low.size();
    Values center(size), radius(size), extent(size);
    for (std::size_t i = 0; i < size; ++i) {
      center[i] = box.low[i] + (box.high[i] - box.low[i]) / 2.0;
      const double distance = std::max(box.high[i] - center[i], center[i] - box.low[i]);
      radius[i] = distance == 0.0 ? 0.0 : core::next_up(distance);
      extent[i] = std::abs(center[i]) + radius[i];
    }
    const bool nothing = !any_nonzero(extent);
    if (attained && !nothing) (*attained)[at(node)] = attained_point(coefficients, box, center);
    for (Index r = 0; r < rows; ++r) {
      const auto of_row = row(coefficients, r);
      const double error = gamma(static_cast<std::int64_t>(2 * size)) * weighted_magnitude(of_row, extent);
      const double tiny = nothing || !any_nonzero(of_row) ? 0.0 : static_cast<double>(2 * size + 2) * 0x1p-1074;
      sums[at(r)].add(dot(of_row, center) + weighted_magnitude(of_row, radius), error + tiny);
    }
  }

  static Values attained_point(const Values& coefficients, const Box& box, const Values& center) {
    Values point(coefficients.size());
    for (std::size_t i = 0; i < point.size(); ++i) {
      const std::size_t e = i % center.size();
      point[i] = coefficients[i] > 0.0 ? box.high[e] : (coefficients[i] < 0.0 ? box.low[e] : center[e]);
    }
    return point;
  }
};

/// Minimises the upper bounds of a block of rows over the slopes of their planes, each row for itself. The derivative
/// of a bound with respect to coefficients is the point where it is attained, which a pass forward through the planes
/// finds; with respect to slopes it follows from that and the vertex that decided the offset. The bounds are convex in
/// the planes but have kinks: Adam smooths its gradients. Every evaluation is a proof, so the best is kept.
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
        first_(walk.nodes_.size()),
        second_(walk.nodes_.size()),
        multipliers_(usable_assumptions(), rows_),
        best_(at(rows_), std::numeric_limits<double>::infinity()) {}

  /// The best bounds of the rows.
  Values run() {
    for (Index step = 0; step <= steps_; ++step) {
      Block block(walk_, coupling_, rows_);
      block.slopes = &slopes_;
      if (!multipliers_.of.empty()) block.multipliers = &multipliers_;
      block.attained_first = &first_;
      block.attained_second = quantity_ == Quantity::fq ? &first_ : &second_;
      block.start(node_, elements_, quantity_);
      block.run(node_);
      for (std::size_t r = 0; r < best_.size(); ++r) {
        const double upper = block.sums[r].upper();
        if (upper < best_[r]) keep(r, upper);
      }
      if (step < steps_) forward(step);
    }
    return std::move(best_);
  }

  /// Keeps the inputs where best bounds are attained. Before run().
  void keep_inputs(std::span<double> inputs) { inputs_ = inputs; }

 private:
  bool joint() const { return coupling_ == Coupling::joint; }

  std::vector<Assumption> usable_assumptions() const {
    std::vector<Assumption> result;
    for (const Assumption& assumption : walk_.assumptions_) {
      const bool same = (assumption.network == Network::fq) == (quantity_ == Quantity::fq);
      if (assumption.node < node_ && (quantity_ == Quantity::difference ? joint() : same)) result.push_back(assumption);
    }
    return result;
  }

  void keep(std::size_t r, double upper) {
    best_[r] = upper;
    if (inputs_.empty() || first_[0].empty()) return;
    const std::size_t size = first_[0].size() / at(rows_);
    std::copy_n(first_[0].data() + r * size, size, inputs_.data() + r * size);
  }

  /// The derivative of a bound with respect to beta is s (y_i - kink) where it is attained.
  void move_multipliers(Index step) {
    const std::size_t count = multipliers_.of.size();
    for (std::size_t k = 0; k < count; ++k) {
      const Assumption& assumption = multipliers_.of[k];
      const Values &y = first_[at(assumption.node)], &d = second_[at(assumption.node)];
      if (y.empty()) continue;
      const std::size_t size = y.size() / at(rows_), i = at(assumption.element);
      const bool adds_d = joint() && assumption.network == Network::fq && !d.empty();
      for (std::size_t r = 0; r < at(rows_); ++r) {
        const std::size_t place = r * count + k;
        const double value = y[r * size + i] + (adds_d ? d[r * size + i] : 0.0);
        double& beta = multipliers_.beta[place];
        const double move = adam({multipliers_.momentum[place], multipliers_.square[place]},
                                 Multipliers::sign(assumption) * (value - assumption.kink), 1.0, 0.97, step);
        beta = std::max(0.0, beta - multipliers_.scale[place] * move);
      }
    }
  }

  /// One pass forward and one step. Values are y (y' for rows of f_q alone) and, for pairs, d; empty means zero.
  void forward(Index step) {
    const Graph& graph = walk_.pair_->graph;
    NodeId last = 0;
    for (NodeId id = 0; id < node_; ++id)
      if (!slopes_[at(id)].empty()) last = id;
    for (const Assumption& assumption : multipliers_.of) last = std::max(last, assumption.node);
    for (NodeId id = 1; id <= last; ++id) {
      const Node& node = graph.nodes[at(id)];
      if (walk_.nodes_[at(id)].ends || !known(node)) continue;
      if (!slopes_[at(id)].empty()) {
        first_[at(id)] = first_[at(node.inputs.front())];
        second_[at(id)] = second_[at(node.inputs.front())];
        if (joint()) second_[at(id)].resize(first_[at(id)].size(), 0.0);
        forward_activation(id, first_[at(id)], second_[at(id)], step);
      } else if (const auto* activation = std::get_if<Activation>(&node.op)) {
        if (walk_.nodes_[at(id)].fixed) forward_fixed(id, *activation);
      } else if (const auto* maximum = std::get_if<network::MaxPool>(&node.op)) {
        forward_maximum(id, *maximum);
      } else {
        forward_affine(id);
      }
    }
    move_multipliers(step);
    for (auto* values : {&first_, &second_})
      for (Values& of_node : *values) of_node.clear();
  }

  bool known(const Node& node) const {
    return std::all_of(node.inputs.begin(), node.inputs.end(),
                       [&](NodeId input) { return !first_[at(input)].empty(); });
  }

  void forward_affine(NodeId id) {
    const Quantity own = quantity_ == Quantity::fq ? Quantity::fq : Quantity::f;
    first_[at(id)] = image(id, own, first_);
    add_to_rows(first_[at(id)], constant_part(walk_.pair_->graph, id, walk_.bias(id, own)));
    if (!joint()) return;
    second_[at(id)] = image(id, Quantity::fq, second_);
    const Index layer = layer_of(walk_.pair_->graph.nodes[at(id)].op);
    if (layer < 0 || !walk_.pair_->changes(layer)) return;
    const Values change = image(id, Quantity::difference, first_);
    second_[at(id)].resize(change.size(), 0.0);
    for (std::size_t i = 0; i < change.size(); ++i) second_[at(id)][i] += change[i];
    add_to_rows(second_[at(id)], constant_part(walk_.pair_->graph, id, walk_.bias(id, Quantity::difference)));
  }

  void forward_maximum(NodeId id, const network::MaxPool& op) {
    const NodeId input = walk_.pair_->graph.nodes[at(id)].inputs.front();
    const auto& shape = walk_.pair_->graph.nodes[at(input)].shape;
    const tensor::Image image{shape[0], shape[1], shape[2]};
    first_[at(id)] = tensor::max_pool(op.window, image, first_[at(input)], rows_);
    if (second_[at(input)].empty()) return;
    Values sum = first_[at(input)];
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += second_[at(input)][i];
    second_[at(id)] = tensor::max_pool(op.window, image, sum, rows_);
    for (std::size_t i = 0; i < first_[at(id)].size(); ++i) second_[at(id)][i] -= first_[at(id)][i];
  }

  /// Where slopes are not optimised the function itself stands for its relaxation.
  void forward_fixed(NodeId id, const Activation& activation) {
    const NodeId input = walk_.pair_->graph.nodes[at(id)].inputs.front();
    first_[at(id)] = first_[at(input)];
    second_[at(id)] = second_[at(input)];
    for (double& y : first_[at(id)]) y = activation(y);
    for (std::size_t i = 0; i < second_[at(id)].size(); ++i)
      second_[at(id)][i] = activation(first_[at(input)][i] + second_[at(input)][i]) - first_[at(id)][i];
  }

  /// The linear part at the inputs' values; empty where all are zero.
  Values image(NodeId id, Quantity with, std::vector<Values>& values) const {
    const Graph& graph = walk_.pair_->graph;
    const auto& inputs = graph.nodes[at(id)].inputs;
    std::vector<const Values*> pointers;
    bool any = false;
    for (const NodeId input : inputs) any = any || !values[at(input)].empty();
    if (!any) return {};
    for (const NodeId input : inputs) {
      values[at(input)].resize(at(rows_ * tensor::elements(graph.nodes[at(input)].shape)), 0.0);
      pointers.push_back(&values[at(input)]);
    }
    if (!walk_.nodes_[at(id)].live.empty()) return walk_.layer_forward(id, with, *pointers.front(), rows_);
    return forward_linear(graph, id, walk_.weights(id, with), pointers, rows_);
  }

  static void add_to_rows(Values& values, const Values& constants) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += constants[i % constants.size()];
  }

  /// From the arguments of the activation to its relaxed values, in place, while the slopes take a step.
  void forward_activation(NodeId id, Values& y, Values& d, Index step) {
    const Prepared& prepared = walk_.nodes_[at(id)];
    const Vertices& v = joint()                     ? prepared.joint.vertices()
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
          const SingleRelaxation& relaxation = quantity_ == Quantity::fq ? prepared.single_fq : prepared.single_f;
          double& slope = slopes.single[place];
          y[neuron] = v.r[vertex] + (p > 0.0 ? relaxation.upper_slope(static_cast<Index>(j)) : slope) * away_y;
          if (p < 0.0) move_single(slope, {slopes.momentum_y[place], slopes.square_y[place]}, p * away_y, step);
          continue;
        }
        PlaneForm& form = slopes.forms[place];
        const double q = slopes.q[place], away_d = d[neuron] - v.d[vertex];
        const double narrowness = prepared.joint.narrowness(static_cast<Index>(j));
        const double sign_p = p > 0.0 ? 1.0 : -1.0, sign_q = q > 0.0 ? 1.0 : -1.0;
        y[neuron] = v.r[vertex] + (form.s + form.x * sign_p) * away_y + (form.v + form.z * sign_p) * away_d;
        d[neuron] =
            v.g[vertex] + (form.w + form.x * narrowness * sign_q) * away_y + (form.t + form.z * sign_q) * away_d;
        if (p == 0.0 && q == 0.0) continue;
        move_plane(form.x, {slopes.momentum_y[place], slopes.square_y[place]}, slopes.mean_y[place], away_y, step);
        move_plane(form.z, {slopes.momentum_d[place], slopes.square_d[place]}, slopes.mean_d[place], away_d, step);
      }
      for (std::size_t i = 0; i < size; ++i) {
        y[r * size + i] *= v.factor[i];
        if (joint()) d[r * size + i] *= v.factor[i];
      }
    }
  }

  /// What Adam (Kingma, Ba 2015) remembers of one parameter.
  struct Moments {
    double& mean;
    double& square;
  };
  double adam(Moments moments, double gradient, double rate, double decay, Index step) const {
    constexpr double of_mean = 0.9, of_square = 0.999;
    moments.mean = of_mean * moments.mean + (1.0 - of_mean) * gradient;
    moments.square = of_square * moments.square + (1.0 - of_square) * gradient * gradient;
    const double k = static_cast<double>(step);
    const double mean = moments.mean / (1.0 - std::pow(of_mean, k + 1.0));
    const double root = std::sqrt(moments.square / (1.0 - std::pow(of_square, k + 1.0)));
    const double change = rate * std::pow(decay, k) * mean / root;
    return std::isfinite(change) ? change : 0.0;
  }

  void move_single(double& slope, Moments moments, double gradient, Index step) const {
    slope = std::clamp(slope - adam(moments, gradient, 0.09, 0.97, step), 0.0, 1.0);
  }

  /// Planes of pairs start close to an optimum with kinks: steps are small, and the last one goes to the mean.
  void move_plane(double& slope, Moments moments, double& mean, double gradient, Index step) const {
    slope -= adam(moments, gradient, 0.025, 0.98, step);
    mean = step == 0 ? slope : mean + 2.0 / (static_cast<double>(step) + 2.0) * (slope - mean);
    if (step == steps_ - 1) slope = mean;
  }

  const BackwardWalk& walk_;
  Index steps_;
  NodeId node_;
  std::span<const Index> elements_;
  Quantity quantity_;
  Coupling coupling_;
  Index rows_;
  std::vector<Slopes> slopes_;
  std::vector<Values> first_, second_;  ///< values of the nodes where bounds are attained
  Multipliers multipliers_;
  Values best_;
  std::span<double> inputs_;
};

std::vector<Influence> BackwardWalk::influences(NodeId node, Index element) const {
  QUANTBOUND_ASSERT(coupling_ == Coupling::joint, element);
  std::vector<std::vector<Influence>> of_rows(2);
  Block block(*this, coupling_, 2);
  block.influences = &of_rows;
  block.start(node, std::span(&element, 1), Quantity::difference);
  block.run(node);
  auto& result = of_rows[block.sums[1].upper() > block.sums[0].upper() ? 1 : 0];
  std::stable_sort(result.begin(), result.end(), [](const Influence& a, const Influence& b) { return a.gap > b.gap; });
  return std::move(result);
}

Box BackwardWalk::optimized_bound(NodeId node, std::span<const Index> elements, Quantity quantity, Index steps) const {
  const Index per_block = rows_at_once() / 2, count = std::ssize(elements),
              blocks = (count + per_block - 1) / per_block;
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

BackwardWalk::Optimum BackwardWalk::optimum(NodeId node, std::span<const Index> elements, Index steps) const {
  const Index per_block = rows_at_once() / 2, count = std::ssize(elements);
  const std::size_t inputs = (*bounds_)[0].f.low.size();
  Optimum result{{Values(elements.size()), Values(elements.size())}, Values(2 * elements.size() * inputs)};
  const Box& region = (*bounds_)[0].f;
  for (std::size_t i = 0; i < result.inputs.size(); ++i)  // where a bound does not depend on the input
    result.inputs[i] = 0.5 * region.low[i % inputs] + 0.5 * region.high[i % inputs];
  for (Index begin = 0; begin < count; begin += per_block) {
    const Index size = std::min(per_block, count - begin);
    Descent descent(*this, node, elements.subspan(at(begin), at(size)), Quantity::difference, steps);
    descent.keep_inputs(std::span(result.inputs).subspan(2 * at(begin) * inputs, 2 * at(size) * inputs));
    const Values best = descent.run();
    for (Index e = 0; e < size; ++e) {
      result.box.high[at(begin + e)] = best[at(2 * e)];
      result.box.low[at(begin + e)] = -best[at(2 * e + 1)];
    }
  }
  return result;
}

Box BackwardWalk::bound(NodeId node, std::span<const Index> elements, Quantity quantity) const {
  return bound(node, elements, quantity, quantity == Quantity::difference ? coupling_ : Coupling::separate);
}

Box BackwardWalk::separate_bound(NodeId node, std::span<const Index> elements) const {
  return bound(node, elements, Quantity::difference, Coupling::separate);
}

Box BackwardWalk::bound(NodeId node, std::span<const Index> elements, Quantity quantity, Coupling coupling) const {
  const Index per_block = rows_at_once() / 2, count = std::ssize(elements),
              blocks = (count + per_block - 1) / per_block;
  Box result{Values(elements.size()), Values(elements.size())};
#pragma omp parallel for schedule(dynamic) if (blocks > 1)
  for (Index b = 0; b < blocks; ++b) {
    const Index begin = b * per_block, size = std::min(per_block, count - begin);
    Block block(*this, coupling, 2 * size);
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
