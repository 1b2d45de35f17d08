#include "quantbound/certify/difference_interval.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/network/operator_boxes.hpp"
#include "quantbound/tensor/pooling.hpp"

#include "intervals.hpp"
#include "transformer.hpp"

namespace quantbound::certify {

namespace {

using detail::LinearMap;
using network::Node;
using network::Operator;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

bool all_zero(const Box& box) {
  const auto zero = [](double value) { return value == 0.0; };
  return std::all_of(box.low.begin(), box.low.end(), zero) && std::all_of(box.high.begin(), box.high.end(), zero);
}

/// The graph, node after node: each overload makes the enclosures of one operator from those of its inputs.
class Propagation {
 public:
  Propagation(const Pair& pair, const PairBox& input) : pair_(pair), equal_(pair.graph.nodes.size(), 0) {
    bounds_.nodes.resize(pair.graph.nodes.size());
    bounds_[0] = input;
    detail::intersect(bounds_[0].difference, detail::separate_difference(input.fq, input.f));
    equal_[0] = all_zero(input.difference) && input.f.low == input.fq.low && input.f.high == input.fq.high ? 1 : 0;
  }

  /// Those of all nodes.
  PairBounds run() {
    for (NodeId v = 1; v < std::ssize(pair_.graph.nodes); ++v) step(v);
    return std::move(bounds_);
  }

  /// The output's alone: a node is forgotten when its last reader has run.
  PairBox run_to_output() {
    readers_.assign(pair_.graph.nodes.size(), 0);
    for (const Node& node : pair_.graph.nodes) {
      for (const NodeId input : node.inputs) ++readers_[at(input)];
    }
    ++readers_[at(pair_.graph.output)];
    for (NodeId v = 1; v <= pair_.graph.output; ++v) {
      step(v);
      for (const NodeId input : pair_.graph.nodes[at(v)].inputs) {
        if (--readers_[at(input)] == 0) forget(input);
      }
      if (readers_[at(v)] == 0) forget(v);
    }
    return std::move(bounds_[pair_.graph.output]);
  }

 private:
  void step(NodeId v) {
    const Node& node = pair_.graph.nodes[at(v)];
    equal_[at(v)] = stays_equal(v, node) ? 1 : 0;
    bounds_[v] =
        equal_[at(v)] != 0 ? once(node) : std::visit([&](const auto& op) { return apply(op, v, node); }, node.op);
  }

  void forget(NodeId v) { work_.give(std::exchange(bounds_[v], {})); }

  /// The first input; its own memory where nobody reads it later.
  PairBox take_input(const Node& node) {
    PairBox& box = bounds_[node.inputs.front()];
    const bool last_use = !readers_.empty() && readers_[at(node.inputs.front())] == 1;
    return last_use ? std::exchange(box, {}) : box;
  }

  const PairBox& in(const Node& node, std::size_t which = 0) const { return bounds_[node.inputs[which]]; }

  /// Whether f and f_q compute the same at this node: nothing changed on any way to it.
  bool stays_equal(NodeId v, const Node& node) const {
    if (!pair_.activation_grids.empty() && pair_.activation_grids[at(v)]) return false;
    if (const auto* convolution = std::get_if<network::Convolution>(&node.op)) {
      if (pair_.changes(convolution->layer)) return false;
    } else if (const auto* dense = std::get_if<network::Dense>(&node.op)) {
      if (pair_.changes(dense->layer)) return false;
    }
    return std::all_of(node.inputs.begin(), node.inputs.end(), [&](NodeId input) { return equal_[at(input)] != 0; });
  }

  /// One network's box for both.
  PairBox once(const Node& node) {
    Box box;
    if (const auto* convolution = std::get_if<network::Convolution>(&node.op)) {
      box = one_layer(node, convolution->layer);
    } else if (const auto* dense = std::get_if<network::Dense>(&node.op)) {
      box = one_layer(node, dense->layer);
    } else {
      box = boxes_through(node.op, node, [](const PairBox& bounds) { return &bounds.f; });
    }
    return {box, box, detail::zero_box(box.low.size())};
  }

  Box one_layer(const Node& node, Index layer) {
    return detail::layer_image(LinearMap(node.op), pair_.f[at(layer)], in(node).f, work_);
  }

  // ---- weight layers

  PairBox apply(const network::Convolution& op, NodeId, const Node& node) { return layer(node, op.layer); }
  PairBox apply(const network::Dense& op, NodeId, const Node& node) { return layer(node, op.layer); }

  PairBox layer(const Node& node, Index number) {
    return detail::pair_image(LinearMap(node.op), pair_.f[at(number)], pair_.fq[at(number)], pair_.change[at(number)],
                              in(node), work_);
  }

  // ---- everything else

  /// The operator applied to one of the three boxes of every input.
  template <class Choose>
  Box boxes_through(const Operator& op, const Node& node, Choose choose) const {
    std::vector<const network::Shape*> shapes;
    std::vector<const Box*> boxes;
    for (std::size_t which = 0; which < node.inputs.size(); ++which) {
      shapes.push_back(&pair_.graph.nodes[at(node.inputs[which])].shape);
      boxes.push_back(choose(in(node, which)));
    }
    return network::operator_box(op, node.shape, shapes, boxes);
  }

  PairBox both_through(const Node& node) const {
    return {boxes_through(node.op, node, [](const PairBox& bounds) { return &bounds.f; }),
            boxes_through(node.op, node, [](const PairBox& bounds) { return &bounds.fq; }),
            {}};
  }

  /// Operators without constant terms are linear: the difference goes through as the values do. It stays inside the
  /// separate difference, because it was before.
  PairBox linear(const Operator& homogeneous, const Node& node) const {
    PairBox out = both_through(node);
    out.difference = boxes_through(homogeneous, node, [](const PairBox& bounds) { return &bounds.difference; });
    return out;
  }

  template <class Linear>
  PairBox apply(const Linear& op, NodeId, const Node& node) const {
    return linear(op, node);  // Add, Concat, AveragePool, GlobalAveragePool, Slice, Permute, Reshape
  }

  PairBox apply(const network::Input&, NodeId v, const Node&) const {
    QUANTBOUND_ASSERT(v == 0, v);
    return {};
  }

  PairBox apply(const network::Pad& op, NodeId, const Node& node) const {
    return linear(network::Pad{op.before, op.after, 0.0}, node);
  }

  PairBox apply(const network::ScaleShift& op, NodeId, const Node& node) const {
    return linear(network::ScaleShift{op.scale, std::vector<double>(op.shift.size(), 0.0)}, node);
  }

  PairBox apply(const network::Activation& op, NodeId v, const Node& node) {
    return detail::activate(op, pair_.activation_grids.empty() ? std::nullopt : pair_.activation_grids[at(v)],
                            take_input(node));
  }

  /// The window's largest values differ by no less than the least and no more than the largest difference in it.
  PairBox apply(const network::MaxPool& op, NodeId, const Node& node) const {
    PairBox out = both_through(node);
    const network::Shape& shape = pair_.graph.nodes[at(node.inputs.front())].shape;
    const tensor::Image image{shape[0], shape[1], shape[2]};
    std::vector<double> negated = in(node).difference.low;
    for (double& value : negated) value = -value;
    out.difference.low = tensor::max_pool(op.window, image, negated, 1);
    for (double& value : out.difference.low) value = -value;
    out.difference.high = tensor::max_pool(op.window, image, in(node).difference.high, 1);
    detail::intersect(out.difference, detail::separate_difference(out.fq, out.f));
    return out;
  }

  /// a' b' - a b = da b' + a db = da b + a' db.
  PairBox apply(const network::Product& op, NodeId, const Node& node) const {
    PairBox out = both_through(node);
    const auto product = [&](const Box& a, const Box& b) {
      const network::Shape* shapes[] = {&pair_.graph.nodes[at(node.inputs[0])].shape,
                                        &pair_.graph.nodes[at(node.inputs[1])].shape};
      const Box* boxes[] = {&a, &b};
      return network::operator_box(op, node.shape, shapes, boxes);
    };
    const PairBox &a = in(node, 0), &b = in(node, 1);
    out.difference = detail::sum(product(a.difference, b.fq), product(a.f, b.difference));
    detail::intersect(out.difference, detail::sum(product(a.difference, b.f), product(a.fq, b.difference)));
    detail::intersect(out.difference, detail::separate_difference(out.fq, out.f));
    return out;
  }

  const Pair& pair_;
  PairBounds bounds_;
  detail::Workspace work_;
  std::vector<char> equal_;     ///< per node: f and f_q compute the same there
  std::vector<Index> readers_;  ///< of each node, still to run; empty where all nodes are kept
};

void check_input(const Pair& pair, const Box& box) {
  const Index size = tensor::elements(pair.graph.input_shape());
  QUANTBOUND_ASSERT(std::ssize(box.low) == size && std::ssize(box.high) == size, box.low.size(), box.high.size(), size);
  for (std::size_t i = 0; i < box.low.size(); ++i) {
    QUANTBOUND_ASSERT(std::isfinite(box.low[i]) && std::isfinite(box.high[i]) && box.low[i] <= box.high[i], i,
                      box.low[i], box.high[i]);
  }
}

}  // namespace

PairBounds difference_interval(const Pair& pair, const Box& input) {
  check_input(pair, input);
  return Propagation(pair, shared_input(input)).run();
}

PairBounds difference_interval(const Pair& pair, const PairBox& input) {
  check_input(pair, input.f);
  check_input(pair, input.fq);
  check_input(pair, input.difference);
  return Propagation(pair, input).run();
}

PairBox output_interval(const Pair& pair, const Box& input) {
  check_input(pair, input);
  return Propagation(pair, shared_input(input)).run_to_output();
}

Box difference_at(const Pair& pair, std::span<const double> x) {
  const std::vector<double> point(x.begin(), x.end());
  return output_interval(pair, Box{point, point}).difference;
}

}  // namespace quantbound::certify
