/// What searches for a large deviation share, in double or in float: where they start, how one climb moves. A climb is
/// Auto-PGD (Croce and Hein, arXiv 2003.01690): steps along the signs of the gradient, half as long from the best point
/// so far where a stretch of them did not pay.
#pragma once

#include <functional>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "quantbound/core/random.hpp"
#include "quantbound/observe/attack.hpp"

namespace quantbound::observe::detail {

constexpr double nothing = -std::numeric_limits<double>::infinity();

std::vector<double> centre_of(const Box& box);

/// The starts of this group: first, ..., last - 1.
struct Starts {
  Index first, last;
  Index count() const { return last - first; }
};
Starts own_starts(const AttackOptions& options);

/// The numbers of the points that this group looks at, 64 for each of its starts, which come first.
std::vector<Index> own_points(const AttackOptions& options);
/// Of all points of all groups the first is the centre, then come by turns a uniform point and a corner.
std::vector<double> starting_point(const Box& box, std::uint64_t seed, Index number);

/// The largest deviation so far. What is not finite overflowed and is attained nowhere.
class Best {
 public:
  explicit Best(std::vector<double> point) { result_.point = std::move(point); }

  /// Points x inputs and what f_q - f is there, in double: points x outputs.
  void offer(std::span<const double> points, std::span<const double> values);
  const AttackResult& result() const { return result_; }
  /// The result of a search that was cut short.
  AttackResult stopped() const {
    AttackResult result = result_;
    result.stopped = true;
    return result;
  }

 private:
  AttackResult result_;
};

/// sign * (f_q - f)_output.
struct Target {
  Index output = 0;
  double sign = 1.0;
};

/// Outputs and signs by their largest value over the points (points x outputs), largest first.
std::vector<Target> ranked_targets(std::span<const double> values, Index outputs);

/// The way up one target from one point.
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

/// f_q - f at the points of all climbs, and the gradients of what they climb.
struct Slopes {
  std::vector<double> values;     ///< climbs x outputs
  std::vector<double> gradients;  ///< of (f_q - f)_output: climbs x inputs
};
/// From the points of the climbs, points x inputs.
using Evaluate = std::function<Slopes(std::span<const double> points, std::span<const Climb> climbs)>;

enum class Outcome { done, stopped };

/// All climbs side by side. Asks `stop` before every step.
Outcome climb(std::span<Climb> climbs, Index steps, const Evaluate& evaluate, const Box& box,
              const std::function<bool()>& stop);

/// The point with some of its coordinates drawn anew.
std::vector<double> disturbed(std::span<const double> point, const Box& box, double part,
                              const core::RandomStream& random);

}  // namespace quantbound::observe::detail
