#include "attack_float.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

namespace quantbound::observe::detail {

namespace {

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

constexpr std::size_t most_candidates = 8;

/// The points that look best in float.
class Candidates {
 public:
  explicit Candidates(std::size_t inputs) : inputs_(inputs) {}

  void offer(double value, std::span<const double> point) {
    if (!std::isfinite(value)) return;
    const auto behind = std::find_if(found_.begin(), found_.end(), [&](const Found& f) { return f.value < value; });
    const bool known = std::any_of(found_.begin(), behind, [&](const Found& f) {
      return f.value == value && std::equal(point.begin(), point.end(), f.point.begin());
    });
    if (known || behind - found_.begin() == static_cast<std::ptrdiff_t>(most_candidates)) return;
    found_.insert(behind, {value, {point.begin(), point.end()}});
    if (found_.size() > most_candidates) found_.pop_back();
  }

  /// One after the other.
  std::vector<double> points() const {
    std::vector<double> all;
    for (const Found& found : found_) all.insert(all.end(), found.point.begin(), found.point.end());
    return all;
  }

 private:
  struct Found {
    double value;
    std::vector<double> point;
  };
  std::size_t inputs_;
  std::vector<Found> found_;  ///< the largest first
};

/// The largest magnitude at each point, -infinity where none is finite.
std::vector<double> magnitudes(std::span<const double> values, Index outputs) {
  std::vector<double> largest(values.size() / index(outputs), nothing);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double here = std::abs(values[i]);
    double& most = largest[i / index(outputs)];
    if (std::isfinite(here)) most = std::max(most, here);
  }
  return largest;
}

}  // namespace

AttackResult search_in_float(FloatDifference& fast, const Difference& exact, const Box& box,
                             const AttackOptions& options) {
  const std::size_t inputs = index(fast.inputs());
  const auto number = [](const char* name, double otherwise) {
    const char* text = std::getenv(name);
    return text ? std::atof(text) : otherwise;
  };
  const std::vector<double> points = starting_points(box, options);
  const std::vector<double> values = fast.values(points);
  const std::vector<double> magnitude = magnitudes(values, fast.outputs());
  std::vector<Index> order(magnitude.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return magnitude[index(a)] > magnitude[index(b)]; });
  const auto point = [&](Index p) { return std::span(points).subspan(index(p) * inputs, inputs); };
  Candidates candidates(inputs);
  for (const Index p : order) candidates.offer(magnitude[index(p)], point(p));

  const auto targets = ranked_targets(values, fast.outputs());
  std::vector<Climb> climbs;
  const Index wide = static_cast<Index>(number("WIDE", 4)), narrow = static_cast<Index>(number("NARROW", 2));
  const Index free = static_cast<Index>(number("FREE", 1)), fixed = static_cast<Index>(number("FIXED", 0));
  const auto add = [&](Aim aim, Target target) {
    for (Index p = 0; p < wide; ++p) climbs.emplace_back(aim, target, point(p), number("WSTEP", 1.0));
    for (Index k = 0; k < narrow; ++k) climbs.emplace_back(aim, target, point(order[index(k)]), number("NSTEP", 0.25));
  };
  if (free) add(Aim::largest, targets.front());
  for (Index t = 0; t < fixed; ++t) add(Aim::fixed, targets[index(t)]);
  const auto evaluate = [&](std::span<const double> at, std::span<const Climb> of) { return fast.slopes(at, of); };
  Best best(centre_of(box));
  const auto report = [&](const char* what) {
    for (const Climb& c : climbs) candidates.offer(c.best, c.best_point);
    const auto chosen = candidates.points();
    best.offer(chosen, exact.values(chosen));
    double mean = 0.0;
    for (const Climb& c : climbs) mean += c.best / static_cast<double>(climbs.size());
    std::fprintf(stderr, "%s climbs %zu: best climb mean %.6g, exact %.6g, output %td\n", what, climbs.size(), mean, best.result().deviation, best.result().output);
  };
  if (climb(climbs, evaluate, box, options) == Outcome::stopped) return best.stopped();
  report("first");
  std::stable_sort(climbs.begin(), climbs.end(), [](const Climb& a, const Climb& b) { return a.best > b.best; });
  std::vector<Climb> again;
  const std::size_t repeat = static_cast<std::size_t>(number("AGAIN", 0));
  for (std::size_t c = 0; c < std::min(climbs.size(), repeat); ++c) {
    for (const double part : {0.25, 0.0625}) {
      const core::RandomStream random(options.seed, "attack again", c, static_cast<std::uint64_t>(1.0 / part));
      again.emplace_back(climbs[c].aim, climbs[c].best_target, disturbed(climbs[c].best_point, box, part, random), number("ASTEP", 0.1));
    }
  }
  if (!again.empty()) {
    climbs = again;
    climb(climbs, evaluate, box, options);
    report("again");
  }
  return best.result();
}

}  // namespace quantbound::observe::detail
