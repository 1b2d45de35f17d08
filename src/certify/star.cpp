#include "quantbound/certify/star.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include <omp.h>

#include "quantbound/certify/crown.hpp"
#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"

#include "linear_program_solver.hpp"
#include "star_relaxation.hpp"

namespace quantbound::certify {

namespace {

using linear::LinearProgram;
using linear::LinearProgramSolver;
using linear::StarPart;
using linear::StarRelaxation;
using linear::StarValue;
using linear::Term;

constexpr double infinity = std::numeric_limits<double>::infinity();
std::size_t index(Index i) { return static_cast<std::size_t>(i); }

/// A layer is bounded neuron by neuron when its linear programs have together at most this many nonzeros: about a
/// minute on one core. Which layers those are depends on the pair and its bounds alone, not on time.
constexpr double refinable_nonzeros = 2e9;
/// Iterations of one linear program: the bound of an unfinished one holds too.
constexpr int output_iterations = 20000, neuron_iterations = 3000;
/// Of max_seconds, for bounding neurons; the rest is for the outputs.
constexpr double neurons_share = 0.7;
/// Bytes that one nonzero costs in the program, CLP's copies and the factorisation.
constexpr double bytes_per_nonzero = 200.0;
/// Neurons of a layer that share a solver, one after the other.
constexpr Index neurons_together = 16;

/// When to end, at a share of the time or when the caller says so: asked from every thread, the caller's `stop` from
/// the first alone.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;
  Deadline(const MethodOptions& options, Clock::time_point start, double share)
      : options_(&options), start_(start), seconds_(share * options.max_seconds) {}
  /// Whether anything was told to end.
  bool ended() const { return passed_.load(std::memory_order_relaxed); }
  bool passed() {
    if (passed_.load(std::memory_order_relaxed)) return true;
    const std::chrono::duration<double> elapsed = Clock::now() - start_;
    const bool asked = omp_get_thread_num() == 0 && options_->stop && options_->stop();
    if (!asked && elapsed.count() < seconds_) return false;
    passed_.store(true, std::memory_order_relaxed);
    return true;
  }

 private:
  const MethodOptions* options_;
  Clock::time_point start_;
  double seconds_;
  std::atomic<bool> passed_ = false;
};

/// A sum of values of the relaxation, to be bounded from below.
struct Objective {
  std::vector<Term> terms;
  double constant = 0.0;

  Objective(double sign, const std::vector<StarValue>& values) {
    for (const StarValue value : values) {
      if (value.is_variable()) {
        terms.push_back({value.variable, sign});
      } else {
        constant = -core::add_up(-constant, -sign * value.constant);
      }
    }
  }
};

/// Proved minima of all objectives. Groups of `together` go through one solver in order, and every group starts from
/// the basis of the first objective: the result does not depend on which thread takes which group.
std::vector<double> minima(const LinearProgram& program, const std::vector<Objective>& objectives, Index together,
                           int iterations, Deadline& deadline) {
  std::vector<double> result(objectives.size(), -infinity);
  if (objectives.empty()) return result;
  const auto stop = [&] { return deadline.passed(); };
  LinearProgramSolver first(program);
  first.minimum(objectives.front().terms, output_iterations, stop);
  const Index count = std::ssize(objectives), groups = (count + together - 1) / together;
#pragma omp parallel for schedule(dynamic)
  for (Index group = 0; group < groups; ++group) {
    if (deadline.passed()) continue;
    LinearProgramSolver solver = first.copy();
    for (Index i = group * together; i < std::min(count, (group + 1) * together) && !deadline.passed(); ++i) {
      const Objective& objective = objectives[index(i)];
      result[index(i)] = -core::add_up(-solver.minimum(objective.terms, iterations, stop), -objective.constant);
    }
  }
  return result;
}

bool crosses(double low, double high) { return low < 0.0 && high > 0.0; }

/// The pair's relaxation as it is refined from input to output.
class Search {
 public:
  Search(const Pair& pair, const PairBounds& start, const MethodOptions& options, Deadline::Clock::time_point begin)
      : pair_(pair),
        relaxation_(pair, start, first_node(pair, start, options)),
        neurons_until_(options, begin, neurons_share),
        outputs_until_(options, begin, 1.0) {}

  StarBounds run() {
    for (NodeId node = 1; node < std::ssize(pair_.graph.nodes) && !neurons_until_.passed(); ++node) {
      if (std::holds_alternative<network::Activation>(pair_.graph.nodes[index(node)].op)) refine(node);
    }
    const Box difference = outputs();
    return {difference, neurons_until_.ended() || outputs_until_.ended()};
  }

 private:
  static NodeId first_node(const Pair& pair, const PairBounds& start, const MethodOptions& options);

  /// Elements of an activation's input where f, f_q or both are not on one piece, or not known to be on the same.
  std::vector<Index> unstable(NodeId node) const;
  void refine(NodeId node);
  Box outputs();

  const Pair& pair_;
  StarRelaxation relaxation_;
  Deadline neurons_until_, outputs_until_;
};

/// The first node that is modelled: from the output back, as many nodes as fit into the memory.
NodeId Search::first_node(const Pair& pair, const PairBounds& start, const MethodOptions& options) {
  const auto alive = [&](NodeId node) {
    const PairBox& box = start[node];
    double count = 0.0;
    for (std::size_t i = 0; i < box.f.low.size(); ++i) {
      const bool fixed = box.f.low[i] == box.f.high[i] && box.difference.low[i] == box.difference.high[i];
      count += fixed ? 0.0 : 1.0;
    }
    return count;
  };
  const auto consumers = pair.graph.consumers();
  double nonzeros = 0.0;
  NodeId node = std::ssize(pair.graph.nodes) - 1;
  for (; node > 0; --node) {
    const network::Node& at = pair.graph.nodes[index(node)];
    double per_element = 30.0;  // rows of an activation or a pool
    if (const auto* dense = std::get_if<network::Dense>(&at.op)) {
      per_element = 3.0 * std::min(static_cast<double>(dense->inputs), alive(at.inputs.front()));
    } else if (const auto* convolution = std::get_if<network::Convolution>(&at.op)) {
      per_element = 3.0 * static_cast<double>(convolution->geometry.fan_in());
    }
    const auto& readers = consumers[index(node)];
    const bool activated =
        readers.size() == 1 && std::holds_alternative<network::Activation>(pair.graph.nodes[index(readers.front())].op);
    nonzeros += per_element * alive(activated ? readers.front() : node);
    if (nonzeros * bytes_per_nonzero * omp_get_max_threads() > static_cast<double>(options.max_bytes)) break;
  }
  return node + 1;
}

std::vector<Index> Search::unstable(NodeId node) const {
  const PairBounds& bounds = relaxation_.bounds();
  const PairBox &in = bounds[pair_.graph.nodes[index(node)].inputs.front()], &out = bounds[node];
  std::vector<Index> result;
  for (std::size_t i = 0; i < out.f.low.size(); ++i) {
    const bool bends = crosses(in.f.low[i], in.f.high[i]) || crosses(in.fq.low[i], in.fq.high[i]);
    if (bends && std::isfinite(in.f.low[i]) && std::isfinite(in.f.high[i])) result.push_back(static_cast<Index>(i));
  }
  return result;
}

void Search::refine(NodeId node) {
  const NodeId from = pair_.graph.nodes[index(node)].inputs.front();
  const std::vector<Index> elements = unstable(node);
  std::vector<Objective> objectives;
  for (const Index i : elements) {
    const StarValue a = relaxation_.value(from, i, StarPart::f), da = relaxation_.value(from, i, StarPart::difference);
    for (const double sign : {1.0, -1.0}) {  // opposite ends are far apart for the simplex, these three are not
      for (const auto& values :
           {std::vector<StarValue>{a}, std::vector<StarValue>{a, da}, std::vector<StarValue>{da}}) {
        objectives.emplace_back(sign, values);
      }
    }
  }
  const auto work = static_cast<double>(std::ssize(objectives)) * static_cast<double>(relaxation_.program().nonzeros());
  if (!relaxation_.relaxes() || work > refinable_nonzeros) return;

  const auto found = minima(relaxation_.program(), objectives, 6 * neurons_together, neuron_iterations, neurons_until_);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const double* low = found.data() + 6 * i;
    const double* high = low + 3;
    relaxation_.tighten(from, elements[i], {{{low[0]}, {-high[0]}}, {{low[1]}, {-high[1]}}, {{low[2]}, {-high[2]}}});
  }
}

Box Search::outputs() {
  const NodeId node = pair_.graph.output;
  Box result = relaxation_.bounds()[node].difference;
  std::vector<Objective> objectives;
  for (Index i = 0; i < std::ssize(result.low); ++i) {
    const StarValue d = relaxation_.value(node, i, StarPart::difference);
    for (const double sign : {1.0, -1.0}) objectives.emplace_back(sign, std::vector<StarValue>{d});
  }
  const auto found = minima(relaxation_.program(), objectives, 2, output_iterations, outputs_until_);
  for (std::size_t i = 0; i < result.low.size(); ++i) {
    const double low = std::max(result.low[i], found[2 * i]), high = std::min(result.high[i], -found[2 * i + 1]);
    if (low > high) continue;  // two proofs that touch but for rounding
    result.low[i] = low;
    result.high[i] = high;
  }
  return result;
}

}  // namespace

StarBounds star_bounds(const Pair& pair, const Box& input, const MethodOptions& options) {
  const auto begin = Deadline::Clock::now();
  return Search(pair, difference_crown(pair, input), options, begin).run();
}

Box star(const Pair& pair, const Box& input, const MethodOptions& options) {
  return star_bounds(pair, input, options).difference;
}

Box star(const Pair& pair, const PairBounds& start, const MethodOptions& options) {
  QUANTBOUND_ASSERT(std::ssize(start.nodes) == std::ssize(pair.graph.nodes), start.nodes.size());
  return Search(pair, start, options, Deadline::Clock::now()).run().difference;
}

}  // namespace quantbound::certify
