#include "attack_float.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace quantbound::observe::detail {

namespace {

constexpr Index first_climbs = 8;       // of each start; its steps are an eighth of what is asked for
constexpr Index targets_per_start = 4;  // that the first round climbs, where the network has so many
constexpr Index kept_part = 4;          // one climb of so many goes into the next round, for so many times the steps
constexpr double round_widths[] = {1.0, 0.5, 0.25};  // of the first steps, as parts of the box
constexpr std::size_t most_candidates = 8;           // that are evaluated in double
constexpr std::size_t at_once = 32;                  // climbs or points in memory

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

struct Found {
  double value;  ///< of the target, in float
  Target target;
  std::vector<double> point;
};

/// The best of what was found, the first of equal ones first.
class Ranking {
 public:
  explicit Ranking(std::size_t most) : most_(most) {}

  void offer(const Found& found) {
    if (!std::isfinite(found.value)) return;
    const auto place =
        std::find_if(found_.begin(), found_.end(), [&](const Found& f) { return f.value < found.value; });
    const bool known = std::any_of(found_.begin(), place, [&](const Found& f) {
      return f.value == found.value && f.point == found.point && f.target.output == found.target.output;
    });
    if (known || place - found_.begin() == static_cast<std::ptrdiff_t>(most_)) return;
    found_.insert(place, found);
    if (found_.size() > most_) found_.pop_back();
  }
  const std::vector<Found>& found() const { return found_; }

 private:
  std::size_t most_;
  std::vector<Found> found_;
};

class FloatSearch {
 public:
  FloatSearch(FloatDifference& fast, const Difference& exact, const Box& box, const AttackOptions& options)
      : fast_(fast), exact_(exact), box_(box), options_(options), starts_(own_starts(options).count()) {}

  AttackResult run() {
    Outcome outcome = look();
    if (options_.steps > 0 && outcome == Outcome::done) outcome = race();
    return evaluated(outcome);
  }

 private:
  /// Values at the points of this group.
  Outcome look() {
    numbers_ = own_points(options_);
    for (std::size_t first = 0; first < numbers_.size(); first += at_once) {
      if (is_stopped()) return Outcome::stopped;
      std::vector<double> points;
      for (std::size_t k = first; k < std::min(first + at_once, numbers_.size()); ++k) {
        const std::vector<double> point = starting_point(box_, options_.seed, numbers_[k]);
        points.insert(points.end(), point.begin(), point.end());
      }
      const std::vector<double> values = fast_.values(points);
      offer_points(points, values);
      values_.insert(values_.end(), values.begin(), values.end());
    }
    return Outcome::done;
  }

  /// The largest output at every point is a candidate.
  void offer_points(std::span<const double> points, std::span<const double> values) {
    const std::size_t inputs = index(fast_.inputs()), outputs = index(fast_.outputs());
    for (std::size_t p = 0; p * outputs < values.size(); ++p) {
      const Target target = ranked_targets(values.subspan(p * outputs, outputs), fast_.outputs()).front();
      const auto point = points.subspan(p * inputs, inputs);
      candidates_.offer(
          {target.sign * values[p * outputs + index(target.output)], target, {point.begin(), point.end()}});
    }
  }

  Outcome race() {
    std::vector<Climb> climbs;
    Ranking ranking(index(first_climbs * starts_ / kept_part));
    const std::vector<Seed> seeds = first_round();
    Index steps = std::max<Index>(1, options_.steps / first_climbs);
    for (std::size_t first = 0; first < seeds.size(); first += at_once) {
      climbs.clear();
      for (std::size_t k = first; k < std::min(first + at_once, seeds.size()); ++k)
        climbs.emplace_back(seeds[k].target, starting_point(box_, options_.seed, seeds[k].number), seeds[k].width);
      if (climb_all(climbs, steps, ranking) == Outcome::stopped) return Outcome::stopped;
    }
    for (const double width : {round_widths[1], round_widths[2]}) {
      steps *= kept_part;
      climbs.clear();
      for (const Found& found : ranking.found()) climbs.emplace_back(found.target, found.point, width);
      ranking = Ranking(std::max<std::size_t>(1, climbs.size() / kept_part));
      if (climb_all(climbs, steps, ranking) == Outcome::stopped) return Outcome::stopped;
    }
    return Outcome::done;
  }

  Outcome climb_all(std::vector<Climb>& climbs, Index steps, Ranking& ranking) {
    const auto evaluate = [&](std::span<const double> points, std::span<const Climb> of) {
      return fast_.slopes(points, of);
    };
    const Outcome outcome = climb(climbs, steps, evaluate, box_, options_.stop);
    for (const Climb& climb : climbs) {
      ranking.offer({climb.best, climb.target, climb.best_point});
      candidates_.offer({climb.best, climb.target, climb.best_point});
    }
    return outcome;
  }

  struct Seed {
    Target target;
    Index number;  ///< of a starting point
    double width;
  };

  /// The targets of this group, which shares them with the others, by turns from their best points and from the starts.
  std::vector<Seed> first_round() const {
    std::vector<Target> targets;
    const std::vector<Target> ranked = ranked_targets(values_, fast_.outputs());
    const Index offset = std::ssize(ranked) > options_.groups ? options_.group : 0;
    const Index stride = std::ssize(ranked) > options_.groups ? options_.groups : 1;
    for (Index t = offset; t < std::ssize(ranked) && std::ssize(targets) < targets_per_start * starts_; t += stride)
      targets.push_back(ranked[index(t)]);
    std::vector<Seed> seeds;
    for (Index turn = 0; std::ssize(seeds) < first_climbs * starts_; ++turn) {
      for (const Target& target : targets) {
        if (std::ssize(seeds) == first_climbs * starts_) break;
        const bool from_best = turn % 2 == 0;
        const Index point = from_best ? best_point(target, turn / 2) : turn / 2 % starts_;
        seeds.push_back({target, numbers_[index(point)], round_widths[from_best ? 1 : 0]});
      }
    }
    return seeds;
  }

  /// The point where the target is largest, or the next in this order.
  Index best_point(const Target& target, Index rank) const {
    const auto value = [&](Index p) {
      const double v = values_[index(p * fast_.outputs() + target.output)];
      return std::isfinite(v) ? target.sign * v : nothing;
    };
    std::vector<Index> order(numbers_.size());
    std::iota(order.begin(), order.end(), Index{0});
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return value(a) > value(b); });
    return order[index(std::min(rank, std::ssize(order) - 1))];
  }

  /// The best of the candidates and the centre, in double; of a search that is stopped only of the first, to be soon.
  AttackResult evaluated(Outcome outcome) const {
    Best best(centre_of(box_));
    for (const Found& found : candidates_.found()) {
      best.offer(found.point, exact_.values(found.point));
      if (outcome == Outcome::stopped || is_stopped()) return best.stopped();
    }
    const std::vector<double> centre = centre_of(box_);  // where floats may have overflowed
    best.offer(centre, exact_.values(centre));
    return outcome == Outcome::stopped ? best.stopped() : best.result();
  }

  bool is_stopped() const { return options_.stop && options_.stop(); }

  FloatDifference& fast_;
  const Difference& exact_;
  const Box& box_;
  const AttackOptions& options_;
  Index starts_;
  std::vector<Index> numbers_;  ///< of the points looked at
  std::vector<double> values_;  ///< there: points x outputs
  Ranking candidates_{most_candidates};
};

}  // namespace

AttackResult search_in_float(FloatDifference& fast, const Difference& exact, const Box& box,
                             const AttackOptions& options) {
  return FloatSearch(fast, exact, box, options).run();
}

}  // namespace quantbound::observe::detail
