#include "transformer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "quantbound/core/assert.hpp"
#include "quantbound/network/operator_boxes.hpp"
#include "quantbound/tensor/worth_threads.hpp"

#include "intervals.hpp"

namespace quantbound::certify::detail {

namespace {

using core::Interval;
using core::larger;
using core::product_ceiling;
using core::product_floor;
using core::quick_sum_ceiling;
using core::quick_sum_floor;
using core::smaller;
using core::sum_ceiling;
using core::sum_floor;
using network::Activation;
using network::ActivationKind;

constexpr double infinity = std::numeric_limits<double>::infinity();

inline double clipped(double x, const Interval& range) { return smaller(larger(x, range.low), range.high); }

/// sigma(y') - sigma(y) for derivatives in `slope`, where 0 <= slope.low: the mean value form.
inline Interval mean_value(Interval slope, Interval d) {
  return {product_floor(d.low < 0.0 ? slope.high : slope.low, d.low),
          product_ceiling(d.high > 0.0 ? slope.high : slope.low, d.high)};
}

/// The values of y that some y' = y + d in its interval goes with, and those of y'.
inline Interval feasible_f(const Triple& in) {
  return {larger(in.f.low, quick_sum_floor(in.fq.low, -in.difference.high)),
          smaller(in.f.high, quick_sum_ceiling(in.fq.high, -in.difference.low))};
}
inline Interval feasible_fq(const Triple& in) {
  return {larger(in.fq.low, quick_sum_floor(in.f.low, in.difference.low)),
          smaller(in.fq.high, quick_sum_ceiling(in.f.high, in.difference.high))};
}

/// A function of slope 1 leaves d as it is; one of slopes from 0 to 1 neither makes it larger nor changes its sign.
inline Interval shrunk(Interval d, bool slope_is_one) {
  const Interval kept{smaller(d.low, 0.0), larger(d.high, 0.0)};
  return {slope_is_one ? d.low : kept.low, slope_is_one ? d.high : kept.high};
}

/// sigma without rounding: relu and clip select.
struct Clamp {
  double lowest, highest;
  double down(double x) const { return smaller(larger(x, lowest), highest); }
  double up(double x) const { return down(x); }
  Interval operator()(Interval x) const { return {down(x.low), down(x.high)}; }
};

struct Leaky {
  double slope;
  double down(double x) const { return x < 0.0 ? product_floor(slope, x) : x; }
  double up(double x) const { return x < 0.0 ? product_ceiling(slope, x) : x; }
  Interval operator()(Interval x) const { return {down(x.low), up(x.high)}; }
};

/// The largest sigma'(y') - sigma(y) when y is given, rounded up: the most that y' can be. And the least when y' is
/// given less: the roles swapped.
template <class Sigma>
inline double most_at(const Sigma& sigma, double y, const Triple& in) {
  const double most = smaller(in.fq.high, quick_sum_ceiling(y, in.difference.high));
  return quick_sum_ceiling(sigma.up(most), -sigma.down(y));
}
template <class Sigma>
inline double least_at(const Sigma& sigma, double y_quantized, const Triple& in) {
  const double most = smaller(in.f.high, quick_sum_ceiling(y_quantized, -in.difference.low));
  return quick_sum_floor(sigma.down(y_quantized), -sigma.up(most));
}

/// relu. With h(y) = relu(min(u', y + du)) - relu(y): left of 0 it does not fall, right of 0 it does not rise, so its
/// maximum over the feasible y is at the one nearest to 0; the minimum likewise over y'.
struct ReluDifference {
  [[gnu::always_inline]] Triple operator()(const Triple& in) const {
    const Clamp relu{0.0, infinity};
    const double y = clipped(0.0, feasible_f(in)), yq = clipped(0.0, feasible_fq(in));
    const Interval optimal{least_at(relu, yq, in), most_at(relu, y, in)};
    const bool active = smaller(in.f.low, in.fq.low) >= 0.0;
    return {relu(in.f), relu(in.fq), core::intersection(optimal, shrunk(in.difference, active))};
  }
};

/// clamp to [alpha, beta]. For du >= 0, h rises up to alpha, is level and falls: the maximum is at the feasible y
/// nearest to alpha. For du < 0 it falls and rises again: the maximum is at an end. All three are points of the domain,
/// so the largest of them is the maximum.
struct ClampDifference {
  Clamp clamp;

  [[gnu::always_inline]] Triple operator()(const Triple& in) const {
    const Interval y = feasible_f(in), yq = feasible_fq(in);
    const bool rises = in.difference.high >= 0.0, falls = in.difference.low <= 0.0;
    const double first = rises ? clipped(clamp.lowest, y) : y.low, first_q = falls ? clipped(clamp.lowest, yq) : yq.low;
    const Interval optimal{smaller(least_at(clamp, first_q, in), least_at(clamp, yq.high, in)),
                           larger(most_at(clamp, first, in), most_at(clamp, y.high, in))};
    const bool inside =
        smaller(smaller(in.f.low, in.fq.low) - clamp.lowest, clamp.highest - larger(in.f.high, in.fq.high)) >= 0.0;
    return {clamp(in.f), clamp(in.fq), core::intersection(optimal, shrunk(in.difference, inside))};
  }
};

/// Two slopes, convex or concave: h is monotone up to y = u' - du, where y' meets its end, and does not rise beyond.
/// The candidates are the lower end and u' - du. What rounding u' - du shifts is enclosed.
struct LeakyDifference {
  Leaky sigma;

  [[gnu::always_inline]] Triple operator()(const Triple& in) const {
    const Interval y = feasible_f(in), yq = feasible_fq(in);
    const Interval optimal{smaller(least_at(sigma, yq.low, in),
                                   -bend(yq, core::Interval{in.f.high, in.f.high} + core::point(in.difference.low),
                                         in.f.high, -in.difference.low)),
                           larger(most_at(sigma, y.low, in),
                                  bend(y, core::Interval{in.fq.high, in.fq.high} - core::point(in.difference.high),
                                       in.fq.high, in.difference.high))};
    const bool positive = in.f.low >= 0.0 && in.fq.low >= 0.0, negative = in.f.high <= 0.0 && in.fq.high <= 0.0;
    const Interval slope{positive ? 1.0 : (negative ? sigma.slope : smaller(1.0, sigma.slope)),
                         positive ? 1.0 : (negative ? sigma.slope : larger(1.0, sigma.slope))};
    return {sigma(in.f), sigma(in.fq), core::intersection(optimal, mean_value(slope, in.difference))};
  }

 private:
  /// Upper bound of sigma(min(end, x + shift)) - sigma(x) at the x of `range` nearest to the number in `place`.
  double bend(Interval range, Interval place, double end, double shift) const {
    const double low = clipped(place.low, range), high = clipped(place.high, range);
    const double most = smaller(end, sum_ceiling(high, shift));
    return sum_ceiling(sigma.up(most), -sigma.down(low));
  }
};

/// clamp(alpha x + beta, 0, 1): the line first, then the clamp.
struct HardSigmoidDifference {
  double alpha, beta;

  [[gnu::always_inline]] Triple operator()(const Triple& in) const {
    const Interval slope = core::point(alpha), offset = core::point(beta);
    const Triple line{in.f * slope + offset, in.fq * slope + offset, in.difference * slope};
    return ClampDifference{{0.0, 1.0}}(line);
  }
};

/// e / (1 + e)^2 of e = exp(-|t|): the derivative of the logistic function, falling in |t|. A few units in the last
/// place of error, 16 allowed.
double logistic_slope(double t) {
  const double e = std::exp(-std::abs(t));
  return e / ((1.0 + e) * (1.0 + e));
}

/// Derivatives of the logistic function on an interval.
Interval logistic_slopes(Interval x) {
  const double nearest = x.low > 0.0 ? x.low : (x.high < 0.0 ? x.high : 0.0);
  const double farthest = std::max(std::abs(x.low), std::abs(x.high));
  // 2^-1060: where values are denormal, an error is absolute.
  return {std::max(0.0, logistic_slope(farthest) * (1.0 - 0x1p-48) - 0x1p-1060),
          std::min(0.25, logistic_slope(nearest) * (1.0 + 0x1p-48) + 0x1p-1060)};
}

/// Derivatives of x clamp(x / 6 + 1/2, 0, 1): 0, (2 x + 3) / 6 from -3 to 3, 1.
Interval hard_swish_slopes(Interval x) {
  const Interval inside = core::clamp(x, -3.0, 3.0);
  const Interval line = (inside * core::point(2.0) + core::point(3.0)) / 6.0;
  // At the ends of the middle piece its slopes are -1/2 and 3/2; the outer pieces join with theirs.
  Interval slopes = x.low <= 3.0 && x.high >= -3.0 ? line : Interval{1.0, 1.0};
  if (x.low < -3.0) slopes = x.high < -3.0 ? Interval{0.0, 0.0} : core::hull(slopes, {0.0, 0.0});
  if (x.high > 3.0) slopes = core::hull(slopes, {1.0, 1.0});
  return slopes;
}

Interval slopes_on(const Activation& activation, Interval x) {
  switch (activation.kind) {
    case ActivationKind::sigmoid:
      return logistic_slopes(x);
    case ActivationKind::tanh: {
      const Interval slopes = logistic_slopes(x * core::point(2.0));  // tanh'(x) = 4 logistic'(2 x)
      return {4.0 * slopes.low, 4.0 * slopes.high};
    }
    case ActivationKind::hard_swish:
      return hard_swish_slopes(x);
    default:
      QUANTBOUND_ASSERT(false, network::to_string(activation.kind));
  }
  return {};
}

/// Any differentiable function: the derivatives between y and y' times d, inside the separate difference.
struct SmoothDifference {
  Activation activation;

  [[gnu::always_inline]] Triple operator()(const Triple& in) const {
    const Interval f = network::activation_range(activation, in.f), fq = network::activation_range(activation, in.fq);
    const Interval d = slopes_on(activation, core::hull(in.f, in.fq)) * in.difference;
    return {f, fq, core::intersection(d, fq - f)};
  }
};

/// Calls `use` with the functor of an activation.
template <class Use>
auto with_difference(const Activation& activation, Use use) {
  switch (activation.kind) {
    case ActivationKind::relu:
      return use(ReluDifference{});
    case ActivationKind::clip:
      return use(ClampDifference{{activation.alpha, activation.beta}});
    case ActivationKind::leaky_relu:
      return use(LeakyDifference{{activation.alpha}});
    case ActivationKind::hard_sigmoid:
      return use(HardSigmoidDifference{activation.alpha, activation.beta});
    default:
      return use(SmoothDifference{activation});
  }
}

/// The six arrays of a box of pairs.
struct Arrays {
  double *f_low, *f_high, *fq_low, *fq_high, *d_low, *d_high;
};

/// One element after the other, each replaced. A loop over arrays and nothing else, which compilers turn into vector
/// code (not under `omp simd`, where the triples themselves become arrays).
template <class Function>
void replace_elements(Arrays box, Function function, Index begin, Index end) {
#pragma GCC ivdep
  for (Index i = begin; i < end; ++i) {
    const Triple value =
        function(Triple{{box.f_low[i], box.f_high[i]}, {box.fq_low[i], box.fq_high[i]}, {box.d_low[i], box.d_high[i]}});
    box.f_low[i] = value.f.low;
    box.f_high[i] = value.f.high;
    box.fq_low[i] = value.fq.low;
    box.fq_high[i] = value.fq.high;
    box.d_low[i] = value.difference.low;
    box.d_high[i] = value.difference.high;
  }
}

template <class Function>
PairBox each_element(PairBox box, Function function) {
  constexpr Index at_once = 2048, operations = 32;  // of one element, about
  const Index size = std::ssize(box.f.low);
  const Arrays arrays{box.f.low.data(),   box.f.high.data(),         box.fq.low.data(),
                      box.fq.high.data(), box.difference.low.data(), box.difference.high.data()};
#pragma omp parallel for schedule(dynamic) if (tensor::worth_threads(operations * size))
  for (Index first = 0; first < size; first += at_once) {
    replace_elements(arrays, function, first, std::min(first + at_once, size));
  }
  return box;
}

/// A piecewise linear nondecreasing function: its kinks and its largest slope.
struct Pieces {
  std::array<double, 2> kinks;
  double steepest;
};

std::optional<Pieces> pieces_of(const Activation& activation) {
  switch (activation.kind) {
    case ActivationKind::relu:
      return Pieces{{0.0, 0.0}, 1.0};
    case ActivationKind::clip:
      return Pieces{{activation.alpha, activation.beta}, 1.0};
    case ActivationKind::leaky_relu:
      return Pieces{{0.0, 0.0}, std::max(1.0, activation.alpha)};
    default:
      return std::nullopt;
  }
}

/// The largest clamp(y', low, high) - sigma(y), as theory.md 5.1: the maximum of a piecewise linear function of y is at
/// one of its kinks. A kink that is rounded costs at most the steepest slope times that rounding.
double most_on_grid(const Activation& activation, const Pieces& pieces, const Clamp& clamp, const Triple& in) {
  const Interval range = feasible_f(in);
  const double du = in.difference.high;
  const std::array candidates{range.low,         range.high,         pieces.kinks[0], pieces.kinks[1],
                              clamp.lowest - du, clamp.highest - du, in.fq.high - du};
  double most = -infinity;
  for (const double candidate : candidates) {
    const double y = clipped(candidate, range);
    const double reached = std::min(in.fq.high, sum_ceiling(y, du));
    const double value = sum_ceiling(clamp.up(reached), -network::activation_range(activation, core::point(y)).low);
    most = std::max(most, sum_ceiling(value, pieces.steepest * std::abs(y) * 0x1p-52));
  }
  return most;
}

double least_on_grid(const Activation& activation, const Pieces& pieces, const Clamp& clamp, const Triple& in) {
  const Interval range = feasible_f(in);
  const double dl = in.difference.low;
  const std::array candidates{range.low,         range.high,         pieces.kinks[0], pieces.kinks[1],
                              clamp.lowest - dl, clamp.highest - dl, in.fq.low - dl};
  double least = infinity;
  for (const double candidate : candidates) {
    const double y = clipped(candidate, range);
    const double reached = std::max(in.fq.low, sum_floor(y, dl));
    const double value = sum_floor(clamp.down(reached), -network::activation_range(activation, core::point(y)).high);
    least = std::min(least, sum_floor(value, -(pieces.steepest * std::abs(y) * 0x1p-52)));
  }
  return least;
}

/// What rounding to the grid can give, before the clamp.
Interval rounded(const ActivationGrid& grid, Interval x) {
  const double lowest = std::ceil(sum_floor(core::quotient_floor(x.low, grid.step), -0.5));
  const double highest = std::floor(sum_ceiling(core::quotient_ceiling(x.high, grid.step), 0.5));
  return {product_floor(lowest, grid.step), product_ceiling(highest, grid.step)};
}

}  // namespace

Interval grid_range(const ActivationGrid& grid, Interval x) {
  return core::clamp(rounded(grid, x), grid.low, grid.high);
}

Triple activate(const Activation& activation, const Triple& in) {
  return with_difference(activation, [&](const auto& function) { return function(in); });
}

Triple activate_on_grid(const Activation& activation, const ActivationGrid& grid, const Triple& in) {
  const Clamp clamp{grid.low, grid.high};
  const Interval f = network::activation_range(activation, in.f), fq = grid_range(grid, in.fq);
  Interval d = fq - f;
  if (const auto pieces = pieces_of(activation)) {
    const Interval half{-0.5 * grid.step, 0.5 * grid.step};
    const Triple moved{in.f, rounded(grid, in.fq), in.difference + half};
    d = core::intersection(
        d, {least_on_grid(activation, *pieces, clamp, moved), most_on_grid(activation, *pieces, clamp, moved)});
  }
  return {f, fq, d};
}

PairBox activate(const Activation& activation, const std::optional<ActivationGrid>& grid, PairBox in) {
  if (grid) {
    return each_element(std::move(in),
                        [&](const Triple& triple) { return activate_on_grid(activation, *grid, triple); });
  }
  return with_difference(activation, [&](const auto& function) { return each_element(std::move(in), function); });
}

}  // namespace quantbound::certify::detail
