#include "quantbound/observe/attack.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/random.hpp"

#include "attack_climb.hpp"
#include "attack_float.hpp"
#include "double_difference.hpp"

namespace quantbound::observe {

namespace {

constexpr Index most_targets = 20;
constexpr Index most_polished_inputs = 16;

using detail::Best;
using detail::Climb;
using detail::Difference;
using detail::nothing;
using detail::Outcome;
using detail::Target;

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

/// All climbs side by side; every value counts.
Outcome run(std::vector<Climb>& climbs, const Difference& difference, const Box& box, const AttackOptions& options,
            Best& best) {
  const auto evaluate = [&](std::span<const double> points, std::span<const Climb> at) {
    const std::size_t outputs = index(difference.outputs());
    std::vector<double> weights(at.size() * outputs, 0.0);
    for (std::size_t c = 0; c < at.size(); ++c) weights[c * outputs + index(at[c].target.output)] = 1.0;
    detail::Slopes slopes = difference.slopes(points, weights);
    best.offer(points, slopes.values);
    return slopes;
  };
  return detail::climb(climbs, options.steps, evaluate, box, options.stop);
}

/// The targets that are largest at the points looked at.
std::vector<Target> choose_targets(std::span<const double> start_values, const Difference& difference,
                                   const AttackOptions& options) {
  constexpr Index affordable = Index{1} << 40;  // multiply-adds of the first round of climbs
  const Index one_start = 6 * difference.multiply_adds() * std::max<Index>(1, options.steps) * options.starts;
  const Index outputs = difference.outputs();
  const Index count = std::clamp<Index>(affordable / one_start, 1, std::min(most_targets, 2 * outputs));
  std::vector<Target> targets = detail::ranked_targets(start_values, outputs);
  targets.resize(index(count));
  return targets;
}

/// Every target from the first points with steps as wide as the box, and from the best of all points with smaller ones.
std::vector<Climb> first_climbs(std::span<const double> points, std::span<const double> values,
                                const Difference& difference, const AttackOptions& options) {
  constexpr double wide = 1.0, narrow = 0.25;
  const Index inputs = difference.inputs(), outputs = difference.outputs(), count = std::ssize(points) / inputs;
  const Index starts = detail::own_starts(options).count();
  const auto point = [&](Index p) { return points.subspan(index(p * inputs), index(inputs)); };
  std::vector<Climb> climbs;
  for (const Target& target : choose_targets(values, difference, options)) {
    for (Index p = 0; p < starts; ++p) climbs.emplace_back(target, point(p), wide);
    const auto value = [&](Index p) {
      const double v = values[index(p * outputs + target.output)];
      return std::isfinite(v) ? target.sign * v : nothing;
    };
    std::vector<Index> order(index(count));
    std::iota(order.begin(), order.end(), Index{0});
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return value(a) > value(b); });
    for (Index k = 0; k < (starts + 1) / 2; ++k) climbs.emplace_back(target, point(order[index(k)]), narrow);
  }
  return climbs;
}

/// New climbs from around the best points of the old ones.
std::vector<Climb> climbs_again(std::vector<Climb> climbs, const Box& box, const AttackOptions& options) {
  constexpr double narrow = 0.1;
  std::stable_sort(climbs.begin(), climbs.end(), [](const Climb& a, const Climb& b) { return a.best > b.best; });
  const detail::Starts starts = detail::own_starts(options);
  std::vector<Climb> again;
  for (std::size_t c = 0; c < std::min(climbs.size(), index(starts.count())); ++c) {
    for (const double part : {0.5, 0.25, 0.125, 0.0625}) {
      const core::RandomStream random(options.seed, "attack again", index(starts.first) + c,
                                      static_cast<std::uint64_t>(1.0 / part));
      again.emplace_back(climbs[c].target, detail::disturbed(climbs[c].best_point, box, part, random), narrow);
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
  QUANTBOUND_ASSERT(options.steps >= 0, options.steps);
  QUANTBOUND_ASSERT(box.low.size() == inputs && box.high.size() == inputs, box.low.size(), box.high.size(), inputs);
  for (std::size_t i = 0; i < inputs; ++i) {
    if (std::isfinite(box.low[i]) && std::isfinite(box.high[i]) && box.low[i] <= box.high[i]) continue;
    throw core::InputError(
        fmt::format("the search needs a bounded domain; that of input {} is [{}, {}]", i, box.low[i], box.high[i]),
        "domain");
  }
}

/// All in double.
AttackResult search(const Difference& difference, const Box& box, const AttackOptions& options) {
  Best best(detail::centre_of(box));
  std::vector<double> points;
  for (const Index number : detail::own_points(options)) {
    const std::vector<double> point = detail::starting_point(box, options.seed, number);
    points.insert(points.end(), point.begin(), point.end());
  }
  const std::vector<double> values = difference.values(points);
  best.offer(points, values);
  if (options.steps == 0) return best.result();

  std::vector<Climb> climbs = first_climbs(points, values, difference, options);
  if (run(climbs, difference, box, options, best) == Outcome::stopped) return best.stopped();
  climbs = climbs_again(std::move(climbs), box, options);
  if (run(climbs, difference, box, options, best) == Outcome::stopped) return best.stopped();
  if (difference.inputs() <= most_polished_inputs) polish(difference, box, best);
  return best.result();
}

}  // namespace

AttackResult attack(const Graph& graph, std::span<const LayerParameters> f, std::span<const LayerParameters> fq,
                    const Box& box, const AttackOptions& options) {
  check(graph, box, options);
  const Difference difference(graph, f, fq);
  if (difference.multiply_adds() < options.float_from) return search(difference, box, options);
  detail::FloatDifference fast(graph, f, fq);
  return detail::search_in_float(fast, difference, box, options);
}

AttackResult best_of(std::span<const AttackResult> groups) {
  QUANTBOUND_ASSERT(!groups.empty(), groups.size());
  const auto less = [](const AttackResult& a, const AttackResult& b) { return a.deviation < b.deviation; };
  AttackResult best = *std::max_element(groups.begin(), groups.end(), less);  // the first of equal ones
  best.stopped = std::any_of(groups.begin(), groups.end(), [](const AttackResult& group) { return group.stopped; });
  return best;
}

}  // namespace quantbound::observe
