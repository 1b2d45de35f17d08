#include "crown_walk.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/tensor/adjoint.hpp"

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

/// A block of rows on its way to the input.
struct BackwardWalk::Block {
  const BackwardWalk& walk;
  Coupling coupling;  ///< of these rows: those of one network alone are separate
  Index rows;
  std::vector<RowSum> sums;
  /// Per node; empty where all are zero. `second` is on y' or d.
  std::vector<Values> first, second;

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
      through_activation(prepared, on_first, on_second);
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

  void through_activation(const Prepared& prepared, Values& on_first, Values& on_second) {
    if (coupling == Coupling::joint) {
      if (on_first.empty()) on_first.assign(on_second.size(), 0.0);
      if (on_second.empty()) on_second.assign(on_first.size(), 0.0);
    }
    for (Index r = 0; r < rows; ++r) {
      if (coupling == Coupling::joint) {
        prepared.joint.apply(row(on_first, r), row(on_second, r), sums[at(r)]);
        continue;
      }
      if (!on_first.empty()) prepared.single_f.apply(row(on_first, r), sums[at(r)]);
      if (!on_second.empty()) prepared.single_fq.apply(row(on_second, r), sums[at(r)]);
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
