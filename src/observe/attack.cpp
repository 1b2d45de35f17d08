#include "quantbound/observe/attack.hpp"

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <numeric>
#include <optional>

#include <fmt/format.h>
#include <omp.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"
#include "quantbound/network/adjoint.hpp"
#include "quantbound/network/forward.hpp"

namespace quantbound::observe {

namespace {

constexpr double nothing = -std::numeric_limits<double>::infinity();
constexpr Index most_targets = 20;
constexpr Index most_polished_inputs = 16;
constexpr Index looked_at = 64;  // points for each start

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

Index count_multiply_adds(const Graph& graph) {
  Index count = 1;
  for (const network::Node& node : graph.nodes) {
    if (const auto* convolution = std::get_if<network::Convolution>(&node.op))
      count += convolution->geometry.multiply_adds();
    if (const auto* dense = std::get_if<network::Dense>(&node.op)) count += dense->inputs * dense->outputs;
  }
  return count;
}

/// The calling thread alone works while this lives: for many small steps that are not worth waking others.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  ~OneThread() { omp_set_num_threads(before_); }

 private:
  int before_;
};

/// The difference of the two networks at batches of points, a few at a time where their values take much memory.
class Difference {
 public:
  Difference(const Graph& graph, std::span<const LayerParameters> f, std::span<const LayerParameters> fq)
      : graph_(graph),
        f_(f),
        fq_(fq),
        inputs_(tensor::elements(graph.input_shape())),
        outputs_(tensor::elements(graph.output_shape())),
        multiply_adds_(count_multiply_adds(graph)) {
    Index values = 1;
    for (const network::Node& node : graph.nodes) values += tensor::elements(node.shape);
    at_once_ = std::clamp<Index>(tape_values / values, 1, 32);
  }

  /// Of one network at one point.
  Index multiply_adds() const { return multiply_adds_; }
  Index inputs() const { return inputs_; }
  Index outputs() const { return outputs_; }

  /// f_q - f: points x outputs.
  std::vector<double> values(std::span<const double> points) const {
    std::vector<double> result(index(std::ssize(points) / inputs_ * outputs_));
    for_each_part(std::ssize(points) / inputs_, [&](Index first, Index count) {
      const auto x = points.subspan(index(first * inputs_), index(count * inputs_));
      subtract(network::forward(graph_, fq_, x, count), network::forward(graph_, f_, x, count),
               result.data() + first * outputs_);
    });
    return result;
  }

  struct Slopes {
    std::vector<double> values;     ///< as of values()
    std::vector<double> gradients;  ///< of sum_i weights_i (f_q - f)_i: points x inputs
  };
  Slopes slopes(std::span<const double> points, std::span<const double> weights) const {
    Slopes all{std::vector<double>(weights.size()), std::vector<double>(points.size())};
    for_each_part(std::ssize(points) / inputs_, [&](Index first, Index count) {
      const auto x = points.subspan(index(first * inputs_), index(count * inputs_));
      const auto w = weights.subspan(index(first * outputs_), index(count * outputs_));
      const network::Tape tape(graph_, f_, x, count), quantized(graph_, fq_, x, count);
      subtract(quantized.output(), tape.output(), all.values.data() + first * outputs_);
      subtract(quantized.pull_back(w), tape.pull_back(w), all.gradients.data() + first * inputs_);
    });
    return all;
  }

 private:
  static constexpr Index tape_values = Index{1} << 24;   // 128 MiB of each network
  static constexpr Index worth_waking = Index{1} << 23;  // multiply-adds of one pass: a few milliseconds of all passes

  /// A few points at a time: each thread takes whole parts, and only a single part is left to the threads of the
  /// kernels. Small networks stay with the calling thread: where other programs use the cores, waking threads for every
  /// step takes ten times as long as the step.
  template <class Evaluate>
  void for_each_part(Index count, const Evaluate& evaluate) const {
    const Index parts = (count + at_once_ - 1) / at_once_;
    const bool is_small = count * multiply_adds_ < worth_waking;
    std::optional<OneThread> alone;
    if (is_small) alone.emplace();
    std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic) if (parts > 1 && !is_small)
    for (Index part = 0; part < parts; ++part) {
      try {
        evaluate(part * at_once_, std::min(at_once_, count - part * at_once_));
      } catch (...) {  // no exception may leave the loop of a thread
#pragma omp critical(quantbound_attack_failure)
        failure = std::current_exception();
      }
    }
    if (failure) std::rethrow_exception(failure);
  }

  static void subtract(std::span<const double> a, std::span<const double> b, double* out) {
    for (std::size_t i = 0; i < a.size(); ++i) out[i] = a[i] - b[i];
  }

  const Graph& graph_;
  std::span<const LayerParameters> f_, fq_;
  Index inputs_, outputs_, multiply_adds_, at_once_ = 1;
};

/// The largest deviation so far. What is not finite overflowed and is attained nowhere.
class Best {
 public:
  explicit Best(std::vector<double> point) { result_.point = std::move(point); }

  void offer(std::span<const double> points, std::span<const double> values) {
    const std::size_t inputs = result_.point.size(), outputs = values.size() / (points.size() / inputs);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double deviation = std::abs(values[i]);
      if (!std::isfinite(deviation) || deviation <= result_.deviation) continue;
      const auto point = points.subspan(i / outputs * inputs, inputs);
      result_ = {deviation, static_cast<Index>(i % outputs), {point.begin(), point.end()}};
    }
  }
  const AttackResult& result() const { return result_; }

 private:
  AttackResult result_;
};

double between(double low, double high, double part) { return std::clamp((1.0 - part) * low + part * high, low, high); }

std::vector<double> centre_of(const Box& box) {
  std::vector<double> centre;
  for (std::size_t i = 0; i < box.low.size(); ++i) centre.push_back(between(box.low[i], box.high[i], 0.5));
  return centre;
}

/// The centre, then by turns a uniform point and a corner.
std::vector<double> starting_points(const Box& box, const AttackOptions& options) {
  std::vector<double> points = centre_of(box);
  for (Index p = 1; p < looked_at * options.starts; ++p) {
    const core::RandomStream random(options.seed, "attack", static_cast<std::uint64_t>(p));
    for (std::size_t i = 0; i < box.low.size(); ++i) {
      const double u = random.uniform(i);
      points.push_back(p % 2 == 1 ? between(box.low[i], box.high[i], u) : (u < 0.5 ? box.low[i] : box.high[i]));
    }
  }
  return points;
}

/// sign * (f_q - f)_output.
struct Target {
  Index output = 0;
  double sign = 1.0;
};

/// One target, climbed from one point.
struct Climb {
  Climb(Target of, std::span<const double> from, double width)
      : target(of), point(from.begin(), from.end()), previous(point), best_point(point), step(width) {}

  Target target;
  std::vector<double> point, previous, best_point, best_gradient;
  double best = nothing, last = nothing;
  double step;  ///< as a part of the box's width
  Index increases = 0;
  double checked_best = nothing, checked_step = 0.0;  ///< at the checkpoint before
};

/// The steps after which Auto-PGD looks back: at first after 22 % of them, then ever sooner.
std::vector<Index> checkpoints(Index steps) {
  std::vector<Index> result;
  double before = 0.0, next = 0.22;
  while (next < 1.0) {
    result.push_back(static_cast<Index>(std::ceil(next * static_cast<double>(steps))));
    const double after = next + std::max(next - before - 0.03, 0.06);
    before = next;
    next = after;
  }
  return result;
}

void take_value(Climb& climb, double value, std::span<const double> gradient) {
  if (value > climb.last) ++climb.increases;
  climb.last = value;
  if (value <= climb.best && !climb.best_gradient.empty()) return;
  climb.best = value;
  climb.best_point = climb.point;
  climb.best_gradient.assign(gradient.begin(), gradient.end());
}

/// Halves the step and goes back to the best point where the last `stretch` steps did not pay.
/// Returns whether it did.
bool look_back(Climb& climb, Index stretch) {
  const bool few_increases = static_cast<double>(climb.increases) < 0.75 * static_cast<double>(stretch);
  const bool stands_still = climb.step == climb.checked_step && climb.best == climb.checked_best;
  climb.checked_step = climb.step;
  climb.checked_best = climb.best;
  climb.increases = 0;
  if (!few_increases && !stands_still) return false;
  climb.step /= 2;
  climb.point = climb.previous = climb.best_point;
  climb.last = climb.best;
  return true;
}

/// One step along the signs of the gradient with a quarter of the step before, projected onto the box.
void move(Climb& climb, std::span<const double> gradient, const Box& box) {
  constexpr double momentum = 0.25;
  for (std::size_t i = 0; i < climb.point.size(); ++i) {
    const double low = box.low[i], high = box.high[i], x = climb.point[i];
    const double uphill = climb.target.sign * gradient[i];
    const double direction = uphill > 0.0 ? 1.0 : (uphill < 0.0 ? -1.0 : 0.0);
    const double ahead = std::clamp(x + climb.step * (high - low) * direction, low, high);
    const double next = x + (1.0 - momentum) * (ahead - x) + momentum * (x - climb.previous[i]);
    climb.previous[i] = x;
    climb.point[i] = std::clamp(next, low, high);
  }
}

/// All climbs side by side.
void run(std::vector<Climb>& climbs, Index steps, const Difference& difference, const Box& box, Best& best) {
  const std::vector<Index> looks = checkpoints(steps);
  std::size_t next_look = 0;
  const std::size_t inputs = index(difference.inputs()), outputs = index(difference.outputs());
  std::vector<double> points(climbs.size() * inputs), weights(climbs.size() * outputs, 0.0);
  for (std::size_t c = 0; c < climbs.size(); ++c) weights[c * outputs + index(climbs[c].target.output)] = 1.0;
  for (Index step = 0; step < steps; ++step) {
    for (std::size_t c = 0; c < climbs.size(); ++c)
      std::copy(climbs[c].point.begin(), climbs[c].point.end(), points.data() + c * inputs);
    const Difference::Slopes slopes = difference.slopes(points, weights);
    best.offer(points, slopes.values);
    const bool look = next_look < looks.size() && step == looks[next_look];
    const Index stretch = look ? step - (next_look == 0 ? 0 : looks[next_look - 1]) : 0;
    for (std::size_t c = 0; c < climbs.size(); ++c) {
      Climb& climb = climbs[c];
      const std::span<const double> gradient(slopes.gradients.data() + c * inputs, inputs);
      const double value = slopes.values[c * outputs + index(climb.target.output)];
      take_value(climb, std::isfinite(value) ? climb.target.sign * value : nothing, gradient);
      const bool back = look && look_back(climb, stretch);
      move(climb, back ? std::span<const double>(climb.best_gradient) : gradient, box);
    }
    next_look += look ? 1 : 0;
  }
}

/// The targets that are largest at the points looked at.
std::vector<Target> choose_targets(std::span<const double> start_values, const Difference& difference,
                                   const AttackOptions& options) {
  constexpr Index affordable = Index{1} << 40;  // multiply-adds of the first round of climbs
  const Index one_start = 6 * difference.multiply_adds() * std::max<Index>(1, options.steps) * options.starts;
  const Index outputs = difference.outputs();
  const Index count = std::clamp<Index>(affordable / one_start, 1, std::min(most_targets, 2 * outputs));
  std::vector<double> largest(index(2 * outputs), nothing);
  for (std::size_t i = 0; i < start_values.size(); ++i) {
    if (!std::isfinite(start_values[i])) continue;
    const std::size_t plus = 2 * (i % index(outputs)), minus = plus + 1;
    largest[plus] = std::max(largest[plus], start_values[i]);
    largest[minus] = std::max(largest[minus], -start_values[i]);
  }
  std::vector<Index> order(largest.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return largest[index(a)] > largest[index(b)]; });
  std::vector<Target> targets;
  for (Index k = 0; k < count; ++k) targets.push_back({order[index(k)] / 2, order[index(k)] % 2 == 0 ? 1.0 : -1.0});
  return targets;
}

/// The point with some of its coordinates drawn anew.
std::vector<double> disturbed(std::span<const double> point, const Box& box, double part,
                              const core::RandomStream& random) {
  std::vector<double> result(point.begin(), point.end());
  for (std::size_t i = 0; i < result.size(); ++i) {
    if (random.uniform(2 * i) < part) result[i] = between(box.low[i], box.high[i], random.uniform(2 * i + 1));
  }
  return result;
}

/// Every target from the first points with steps as wide as the box, and from the best of all points with smaller ones.
std::vector<Climb> first_climbs(std::span<const double> points, std::span<const double> values,
                                const Difference& difference, const AttackOptions& options) {
  constexpr double wide = 1.0, narrow = 0.25;
  const Index inputs = difference.inputs(), outputs = difference.outputs(), count = std::ssize(points) / inputs;
  const auto point = [&](Index p) { return points.subspan(index(p * inputs), index(inputs)); };
  std::vector<Climb> climbs;
  for (const Target& target : choose_targets(values, difference, options)) {
    for (Index p = 0; p < options.starts; ++p) climbs.emplace_back(target, point(p), wide);
    const auto value = [&](Index p) {
      const double v = values[index(p * outputs + target.output)];
      return std::isfinite(v) ? target.sign * v : nothing;
    };
    std::vector<Index> order(index(count));
    std::iota(order.begin(), order.end(), Index{0});
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return value(a) > value(b); });
    for (Index k = 0; k < (options.starts + 1) / 2; ++k) climbs.emplace_back(target, point(order[index(k)]), narrow);
  }
  return climbs;
}

/// New climbs from around the best points of the old ones.
std::vector<Climb> climbs_again(std::vector<Climb> climbs, const Box& box, const AttackOptions& options) {
  constexpr double narrow = 0.1;
  std::stable_sort(climbs.begin(), climbs.end(), [](const Climb& a, const Climb& b) { return a.best > b.best; });
  std::vector<Climb> again;
  for (std::size_t c = 0; c < std::min(climbs.size(), index(options.starts)); ++c) {
    for (const double part : {0.5, 0.25, 0.125, 0.0625}) {
      const core::RandomStream random(options.seed, "attack again", c, static_cast<std::uint64_t>(1.0 / part));
      again.emplace_back(climbs[c].target, disturbed(climbs[c].best_point, box, part, random), narrow);
    }
  }
  return again;
}

/// Moves one coordinate at a time by ever smaller parts of the box, or to its ends, as long as the deviation grows.
void polish(const Difference& difference, const Box& box, Best& best) {
  constexpr double smallest = 0x1p-30;
  for (double part = 0.25; part >= smallest;) {
    const AttackResult before = best.result();
    std::vector<double> points;
    for (std::size_t i = 0; i < before.point.size(); ++i) {
      const double x = before.point[i], low = box.low[i], high = box.high[i], width = part * (high - low);
      for (const double moved : {low, std::clamp(x - width, low, high), std::clamp(x + width, low, high), high}) {
        points.insert(points.end(), before.point.begin(), before.point.end());
        points[points.size() - before.point.size() + i] = moved;
      }
    }
    best.offer(points, difference.values(points));
    if (best.result().deviation <= before.deviation * (1.0 + 1e-9)) part /= 2;
  }
}

void check(const Graph& graph, const Box& box, const AttackOptions& options) {
  const std::size_t inputs = index(tensor::elements(graph.input_shape()));
  QUANTBOUND_ASSERT(options.starts > 0 && options.steps >= 0, options.starts, options.steps);
  QUANTBOUND_ASSERT(box.low.size() == inputs && box.high.size() == inputs, box.low.size(), box.high.size(), inputs);
  for (std::size_t i = 0; i < inputs; ++i) {
    if (std::isfinite(box.low[i]) && std::isfinite(box.high[i]) && box.low[i] <= box.high[i]) continue;
    throw core::InputError(
        fmt::format("the search needs a bounded domain; that of input {} is [{}, {}]", i, box.low[i], box.high[i]),
        "domain");
  }
}

}  // namespace

AttackResult attack(const Graph& graph, std::span<const LayerParameters> f, std::span<const LayerParameters> fq,
                    const Box& box, const AttackOptions& options) {
  check(graph, box, options);
  const Difference difference(graph, f, fq);
  Best best(centre_of(box));
  const std::vector<double> points = starting_points(box, options);
  const std::vector<double> values = difference.values(points);
  best.offer(points, values);
  if (options.steps == 0) return best.result();

  std::vector<Climb> climbs = first_climbs(points, values, difference, options);
  run(climbs, options.steps, difference, box, best);
  climbs = climbs_again(std::move(climbs), box, options);
  run(climbs, options.steps, difference, box, best);
  if (difference.inputs() <= most_polished_inputs) polish(difference, box, best);
  return best.result();
}

}  // namespace quantbound::observe
