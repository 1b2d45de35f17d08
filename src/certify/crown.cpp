#include "quantbound/certify/crown.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"

#include "crown_walk.hpp"
#include "intervals.hpp"
#include "transformer.hpp"

namespace quantbound::certify {

namespace {

using detail::BackwardWalk;
using detail::Coupling;
using detail::Quantity;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// Intersects elements of a box with what a walk proved; false when nothing is left.
bool narrow(Box& box, std::span<const Index> elements, const Box& proved) {
  bool possible = true;
  for (std::size_t e = 0; e < elements.size(); ++e) {
    const std::size_t i = at(elements[e]);
    box.low[i] = std::max(box.low[i], proved.low[e]);
    box.high[i] = std::min(box.high[i], proved.high[e]);
    possible = possible && box.low[i] <= box.high[i];
  }
  return possible;
}

bool narrow(Box& box, const Box& proved) {
  bool possible = true;
  for (std::size_t i = 0; i < box.low.size(); ++i) {
    box.low[i] = std::max(box.low[i], proved.low[i]);
    box.high[i] = std::min(box.high[i], proved.high[i]);
    possible = possible && box.low[i] <= box.high[i];
  }
  return possible;
}

/// y' = y + d, each way, rounded outward; false when nothing is left.
bool narrow_by_sum(PairBox& box) {
  using core::next_down, core::next_up;
  bool possible = true;
  for (std::size_t i = 0; i < box.f.low.size(); ++i) {
    double &l = box.f.low[i], &u = box.f.high[i], &lq = box.fq.low[i], &uq = box.fq.high[i];
    double &dl = box.difference.low[i], &du = box.difference.high[i];
    lq = std::max(lq, next_down(l + dl));
    uq = std::min(uq, next_up(u + du));
    l = std::max(l, next_down(lq - du));
    u = std::min(u, next_up(uq - dl));
    if (!(dl == 0.0 && du == 0.0)) {
      dl = std::max(dl, next_down(lq - u));
      du = std::min(du, next_up(uq - l));
    }
    possible = possible && l <= u && lq <= uq && dl <= du;
  }
  return possible;
}

/// A region with points is never proved empty.
PairBounds whole_region(std::optional<PairBounds> bounds) {
  QUANTBOUND_ASSERT(bounds.has_value(), "a bound misses values that occur");
  return std::move(*bounds);
}

/// Walks through a pair from bounds that improve on the way.
class Crown {
 public:
  Crown(const Pair& pair, PairBounds known, Coupling coupling, Index steps = 0,
        std::span<const Assumption> assumptions = {})
      : pair_(pair),
        coupling_(coupling),
        steps_(steps),
        bounds_(std::move(known)),
        walk_(pair, bounds_, coupling, assumptions) {}

  std::optional<PairBounds> run() {
    for (NodeId node = 0; node <= pair_.graph.output; ++node) {
      if (!repropagate(node)) return std::nullopt;
      walk_.prepare(node);
      after_activation_ = after_activation(node);
      if (!narrow_by_sum(bounds_[node])) return std::nullopt;
      if (node == pair_.graph.output) {
        if (!bound_output()) return std::nullopt;
      } else if (after_activation_ && relaxed_next(consumers_[at(node)])) {
        if (!bound_open_neurons(node)) return std::nullopt;
      }
    }
    return std::move(bounds_);
  }

  /// Differences at some outputs only; hidden nodes by intervals.
  std::optional<AssumedBounds> run(std::span<const Assumption> assumptions, std::span<const Index> outputs) {
    for (const Assumption& assumption : assumptions)
      if (!assume(assumption)) return std::nullopt;
    const NodeId output = pair_.graph.output;
    for (NodeId node = 0; node <= output; ++node) {
      if (!repropagate(node) || !narrow_by_sum(bounds_[node])) return std::nullopt;
      walk_.prepare(node);
    }
    auto optimum = walk_.optimum(output, outputs, steps_);
    if (!narrow(bounds_[output].difference, outputs, optimum.box)) return std::nullopt;
    const Box& proved = bounds_[output].difference;
    const auto reach = [&](Index i) { return std::max(proved.high[at(i)], -proved.low[at(i)]); };
    const Index worst =
        *std::max_element(outputs.begin(), outputs.end(), [&](Index a, Index b) { return reach(a) < reach(b); });
    auto influences = walk_.influences(output, worst);
    return AssumedBounds{std::move(bounds_), std::move(optimum.inputs), std::move(influences)};
  }

 private:
  bool assume(const Assumption& assumption) {
    narrower_[at(assumption.node)] = true;
    PairBox& boxes = bounds_[assumption.node];
    Box& box = assumption.network == Network::fq ? boxes.fq : boxes.f;
    const std::size_t i = at(assumption.element);
    if (assumption.side == Side::above) box.low[i] = std::max(box.low[i], assumption.kink);
    if (assumption.side == Side::below) box.high[i] = std::min(box.high[i], assumption.kink);
    return box.low[i] <= box.high[i];
  }

  /// Whether anything but affine operators lies between the input and the node: intervals of the first layers are as
  /// good as any walk.
  bool after_activation(NodeId node) {
    const auto& of = pair_.graph.nodes[at(node)];
    bool after = std::holds_alternative<network::Activation>(of.op);
    for (const NodeId input : of.inputs) after = after || nonlinear_[at(input)];
    nonlinear_[at(node)] = after;
    return after;
  }

  bool relaxed_next(std::span<const NodeId> readers) const {
    return std::any_of(readers.begin(), readers.end(), [&](NodeId reader) {
      return std::holds_alternative<network::Activation>(pair_.graph.nodes[at(reader)].op);
    });
  }

  /// Intervals of a node again, where those of its input have become narrower: cheap, and what they decide needs no
  /// walk.
  bool repropagate(NodeId node) {
    const auto& of = pair_.graph.nodes[at(node)];
    if (of.inputs.size() != 1 || !narrower_[at(of.inputs.front())]) return true;
    const PairBox& input = bounds_[of.inputs.front()];
    PairBox image;
    if (const auto* activation = std::get_if<network::Activation>(&of.op)) {
      const auto& grids = pair_.activation_grids;
      image = detail::activate(*activation, grids.empty() ? std::nullopt : grids[at(node)], input);
    } else if (const Index layer = detail::layer_of(of.op); layer >= 0) {
      const detail::LinearMap map(of.op);
      const auto &f = pair_.f[at(layer)], &fq = pair_.fq[at(layer)];
      image = coupling_ == Coupling::joint
                  ? detail::pair_image(map, f, fq, pair_.change[at(layer)], input, work_)
                  : PairBox{detail::layer_image(map, f, input.f, work_), detail::layer_image(map, fq, input.fq, work_),
                            bounds_[node].difference};
    } else if (std::holds_alternative<network::Reshape>(of.op)) {
      image = input;
    } else {
      return true;
    }
    narrower_[at(node)] = true;
    PairBox& box = bounds_[node];
    return narrow(box.f, image.f) && narrow(box.fq, image.fq) && narrow(box.difference, image.difference);
  }

  /// Elements that a reading activation relaxes: those whose intervals hold one of its kinks inside, all where it is
  /// curved.
  std::vector<Index> open_neurons(NodeId node) const {
    const PairBox& box = bounds_[node];
    std::vector<char> open(box.f.low.size(), 0);
    for (const NodeId reader : consumers_[at(node)]) {
      const auto* activation = std::get_if<network::Activation>(&pair_.graph.nodes[at(reader)].op);
      if (!activation || !(detail::is_piecewise_linear(*activation) || detail::is_sigmoidal(*activation))) continue;
      const auto kinks = detail::kinks_of(*activation);
      for (std::size_t i = 0; i < open.size(); ++i)
        if (detail::is_sigmoidal(*activation) || holds_one(box.f, i, kinks) || holds_one(box.fq, i, kinks)) open[i] = 1;
    }
    std::vector<Index> result;
    for (std::size_t i = 0; i < open.size(); ++i)
      if (open[i] != 0) result.push_back(static_cast<Index>(i));
    return result;
  }

  static bool holds_one(const Box& box, std::size_t i, std::span<const double> kinks) {
    return std::any_of(kinks.begin(), kinks.end(),
                       [&](double kink) { return box.low[i] < kink && kink < box.high[i]; });
  }

  bool bound(NodeId node, std::span<const Index> elements, Quantity quantity, Index steps = 0) {
    if (elements.empty()) return true;
    const Box proved =
        steps > 0 ? walk_.optimized_bound(node, elements, quantity, steps) : walk_.bound(node, elements, quantity);
    Box& box = quantity == Quantity::f    ? bounds_[node].f
               : quantity == Quantity::fq ? bounds_[node].fq
                                          : bounds_[node].difference;
    narrower_[at(node)] = true;
    return narrow(box, elements, proved) && narrow_by_sum(bounds_[node]);
  }

  bool bound_open_neurons(NodeId node) {
    if (!bound(node, open_neurons(node), Quantity::f)) return false;
    if (!bound(node, open_neurons(node), Quantity::fq)) return false;
    if (coupling_ == Coupling::joint && !bound(node, open_neurons(node), Quantity::difference)) return false;
    if (steps_ == 0) return true;
    if (!bound(node, open_neurons(node), Quantity::f, steps_)) return false;
    if (!bound(node, open_neurons(node), Quantity::fq, steps_)) return false;
    return bound(node, open_neurons(node), Quantity::difference, steps_);
  }

  bool bound_output() {
    std::vector<Index> all(bounds_[pair_.graph.output].f.low.size());
    std::iota(all.begin(), all.end(), 0);
    // Where the change is as large as the relaxations, walks apart can be the better ones.
    if (coupling_ == Coupling::joint &&
        !narrow(bounds_[pair_.graph.output].difference, walk_.separate_bound(pair_.graph.output, all)))
      return false;
    return bound(pair_.graph.output, all, Quantity::f) && bound(pair_.graph.output, all, Quantity::fq) &&
           bound(pair_.graph.output, all, Quantity::difference, steps_);
  }

  const Pair& pair_;
  Coupling coupling_;
  Index steps_;
  std::vector<std::vector<NodeId>> consumers_ = pair_.graph.consumers();
  PairBounds bounds_;
  BackwardWalk walk_;
  bool after_activation_ = false;
  std::vector<bool> narrower_ = std::vector<bool>(pair_.graph.nodes.size(), false);  ///< than what was given
  detail::Workspace work_;
  std::vector<bool> nonlinear_ = std::vector<bool>(pair_.graph.nodes.size(), false);
};

}  // namespace

std::optional<PairBounds> merged_crown(const Pair& pair, PairBounds known) {
  return Crown(pair, std::move(known), Coupling::separate).run();
}

std::optional<PairBounds> difference_crown(const Pair& pair, PairBounds known) {
  return Crown(pair, std::move(known), Coupling::joint).run();
}

std::optional<PairBounds> alpha_crown(const Pair& pair, PairBounds known, Index steps) {
  return Crown(pair, std::move(known), Coupling::joint, steps).run();
}

std::optional<AssumedBounds> beta_crown(const Pair& pair, PairBounds known, std::span<const Assumption> assumptions,
                                        std::span<const Index> outputs, Index steps) {
  return Crown(pair, std::move(known), Coupling::joint, steps, assumptions).run(assumptions, outputs);
}

PairBounds alpha_crown(const Pair& pair, const Box& input, Index steps) {
  return whole_region(alpha_crown(pair, difference_interval(pair, input), steps));
}

PairBounds merged_crown(const Pair& pair, const Box& input) {
  PairBounds known = separate_intervals(pair, input);
  known[0] = shared_input(input);
  return whole_region(merged_crown(pair, std::move(known)));
}

PairBounds difference_crown(const Pair& pair, const Box& input) {
  return whole_region(difference_crown(pair, difference_interval(pair, input)));
}

}  // namespace quantbound::certify
