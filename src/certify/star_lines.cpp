#include "star_lines.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"

namespace quantbound::certify::linear {

namespace {

using core::add_up;
using core::multiply_up;
using network::Activation;
using network::ActivationKind;

constexpr double infinity = std::numeric_limits<double>::infinity();

double add_down(double a, double b) { return -add_up(-a, -b); }
double multiply_down(double a, double b) { return -multiply_up(-a, b); }

/// One piece of a piecewise linear function: it starts at `begin` (which may be rounded, by at most 2^-51 relatively)
/// and is slope * x + offset, exactly these doubles.
struct Piece {
  double begin;
  Line line;
};

/// Empty for functions that are not piecewise linear.
std::vector<Piece> pieces(const Activation& activation) {
  switch (activation.kind) {
    case ActivationKind::relu:
      return {{-infinity, {0.0, 0.0}}, {0.0, {1.0, 0.0}}};
    case ActivationKind::leaky_relu:
      return {{-infinity, {activation.alpha, 0.0}}, {0.0, {1.0, 0.0}}};
    case ActivationKind::clip:
      return {{-infinity, {0.0, activation.alpha}},
              {activation.alpha, {1.0, 0.0}},
              {activation.beta, {0.0, activation.beta}}};
    case ActivationKind::hard_sigmoid:
      if (!(activation.alpha > 0.0)) return {};
      return {{-infinity, {0.0, 0.0}},
              {-activation.beta / activation.alpha, {activation.alpha, activation.beta}},
              {(1.0 - activation.beta) / activation.alpha, {0.0, 1.0}}};
    default:
      return {};
  }
}

/// How far a rounded breakpoint may be from the true one; those of relu, leaky_relu and clip are exact.
double breakpoint_error(const Activation& activation, double at) {
  return activation.kind == ActivationKind::hard_sigmoid ? core::next_up(std::abs(at) * 0x1p-50) : 0.0;
}

/// A point of the graph: the function's value is in `value`, whichever side of a rounded breakpoint the point is on.
struct GraphPoint {
  double x;
  Interval value;
  double error;  ///< of x
};

Interval value_of(const Line& line, double x) {
  const auto product_up = line.slope == 0.0 ? 0.0 : multiply_up(line.slope, x);
  const auto product_down = line.slope == 0.0 ? 0.0 : multiply_down(line.slope, x);
  return {add_down(product_down, line.offset), add_up(product_up, line.offset)};
}

/// The ends of the interval and the breakpoints in between.
std::vector<GraphPoint> corners(const Activation& activation, const std::vector<Piece>& parts, Interval limits) {
  const auto piece_at = [&](double x) {
    std::size_t p = 0;
    while (p + 1 < parts.size() && parts[p + 1].begin <= x) ++p;
    return p;
  };
  const auto graph_point = [&](double x, std::size_t piece) {
    GraphPoint point{x, value_of(parts[piece].line, x), 0.0};
    // Beside a breakpoint that is rounded either piece may rule.
    for (const std::size_t other : {piece, piece + 1}) {
      if (other == 0 || other >= parts.size()) continue;
      const double error = breakpoint_error(activation, parts[other].begin);
      if (error == 0.0 || std::abs(x - parts[other].begin) > 2.0 * error) continue;
      for (const Line& line : {parts[other - 1].line, parts[other].line}) {
        const Interval value = value_of(line, x);
        point.value = {std::min(point.value.low, value.low), std::max(point.value.high, value.high)};
      }
      point.error = error;
    }
    return point;
  };
  std::vector<GraphPoint> result = {graph_point(limits.low, piece_at(limits.low))};
  for (std::size_t p = 1; p < parts.size(); ++p) {
    if (parts[p].begin > limits.low && parts[p].begin < limits.high) result.push_back(graph_point(parts[p].begin, p));
  }
  result.push_back(graph_point(limits.high, piece_at(limits.high)));
  return result;
}

/// The smallest offset with which slope * x + offset is over all corners, and so over the function in between.
double offset_above(const std::vector<GraphPoint>& points, double slope, double lipschitz) {
  double offset = -infinity;
  for (const GraphPoint& point : points) {
    const double residual = add_up(point.value.high, -multiply_down(slope, point.x));
    const double moved = point.error == 0.0 ? 0.0 : multiply_up(point.error, add_up(lipschitz, std::abs(slope)));
    offset = std::max(offset, add_up(residual, moved));
  }
  return offset;
}

std::vector<GraphPoint> mirrored(std::vector<GraphPoint> points) {
  for (GraphPoint& point : points) point.value = {-point.value.high, -point.value.low};
  return points;
}

/// Edges of the upper hull of a handful of points from left to right.
std::vector<Line> edges_above(const std::vector<GraphPoint>& points, double lipschitz) {
  std::vector<Line> lines;
  for (std::size_t at = 0; at + 1 < points.size();) {
    std::size_t best = at + 1;
    double steepest = -infinity;
    for (std::size_t next = at + 1; next < points.size(); ++next) {
      const double slope = (points[next].value.high - points[at].value.high) / (points[next].x - points[at].x);
      if (slope >= steepest) {
        steepest = slope;
        best = next;
      }
    }
    at = best;
    if (steepest == 0.0 || !std::isfinite(steepest)) continue;
    const double offset = offset_above(points, steepest, lipschitz);
    if (std::isfinite(offset)) lines.push_back({steepest, offset});
  }
  return lines;
}

std::vector<Line> negated(std::vector<Line> lines) {
  for (Line& line : lines) line = {-line.slope, -line.offset};
  return lines;
}

/// sigmoid or tanh and its derivative, as intervals: the library's exp and tanh are good to a few units in the last
/// place (glibc states at most 2), of which 2^-48 leaves sixteen.
struct SShape {
  ActivationKind kind;

  double approximate(double x) const { return Activation{kind}(x); }
  Interval value(double x) const {
    const double y = approximate(x);
    const double error = std::abs(y) * 0x1p-48 + 0x1p-1070;
    return {core::next_down(y - error), core::next_up(y + error)};
  }
  double derivative(double x) const {
    const double y = approximate(x);
    return kind == ActivationKind::tanh ? 1.0 - y * y : y * (1.0 - y);
  }
  /// The computed derivative is this close: the value's error enters with a factor of at most 2, then three roundings.
  static constexpr double derivative_error = 0x1p-46;
  double steepest() const { return kind == ActivationKind::tanh ? 1.0 : 0.25; }
};

bool is_s_shaped(const Activation& activation) {
  return activation.kind == ActivationKind::sigmoid || activation.kind == ActivationKind::tanh;
}

/// A line over f that touches it about `touch` >= 0, where f is concave: the tangent, raised by what its slope's error
/// costs, and raised over the end `low` when that is on the convex side.
Line tangent_above(const SShape& f, Interval limits, double touch) {
  const double slope = f.derivative(touch);
  const double reach =
      std::max(std::abs(core::next_up(limits.high - touch)), std::abs(core::next_up(touch - limits.low)));
  double offset = add_up(f.value(touch).high, -multiply_down(slope, touch));
  offset = add_up(offset, multiply_up(core::next_up(reach), SShape::derivative_error));
  if (limits.low < 0.0) offset = std::max(offset, add_up(f.value(limits.low).high, -multiply_down(slope, limits.low)));
  return {slope, offset};
}

/// The chord where f is convex: over the function when it is over both ends.
Line chord_above(const SShape& f, Interval limits) {
  const double slope = (f.approximate(limits.high) - f.approximate(limits.low)) / (limits.high - limits.low);
  const double at_low = add_up(f.value(limits.low).high, -multiply_down(slope, limits.low));
  const double at_high = add_up(f.value(limits.high).high, -multiply_down(slope, limits.high));
  return {slope, std::max(at_low, at_high)};
}

/// Where the line from the graph at low < 0 touches the concave side, or high when that comes first.
double touching_point(const SShape& f, Interval limits) {
  const auto tangent_is_over_low = [&](double t) {
    return f.approximate(t) + f.derivative(t) * (limits.low - t) >= f.approximate(limits.low);
  };
  double below = 0.0, over = limits.high;
  if (!tangent_is_over_low(over)) return over;
  for (int step = 0; step < 60; ++step) {
    const double middle = below + (over - below) / 2.0;
    (tangent_is_over_low(middle) ? over : below) = middle;
  }
  return over;
}

std::vector<Line> s_lines_above(const SShape& f, Interval limits) {
  std::vector<Line> lines;
  if (limits.high <= 0.0) {
    lines.push_back(chord_above(f, limits));
  } else if (limits.low >= 0.0) {
    for (const double t : {limits.low, limits.low + (limits.high - limits.low) / 2.0, limits.high}) {
      lines.push_back(tangent_above(f, limits, t));
    }
  } else {
    const double touch = touching_point(f, limits);
    lines.push_back(tangent_above(f, limits, touch));
    if (touch < limits.high) lines.push_back(tangent_above(f, limits, limits.high));
  }
  return lines;
}

/// By symmetry: tanh(-x) = -tanh(x), sigmoid(-x) = 1 - sigmoid(x).
std::vector<Line> s_lines_below(const SShape& f, Interval limits) {
  std::vector<Line> lines = s_lines_above(f, {-limits.high, -limits.low});
  const double sum = f.kind == ActivationKind::tanh ? 0.0 : 1.0;
  for (Line& line : lines) line.offset = add_down(sum, -line.offset);
  return lines;
}

bool usable(const Line& line) { return std::isfinite(line.slope) && std::isfinite(line.offset); }

}  // namespace

Lines activation_lines(const Activation& activation, Interval limits) {
  if (!(limits.low < limits.high)) return {};
  Lines lines;
  if (is_s_shaped(activation)) {
    const SShape f{activation.kind};
    lines = {s_lines_above(f, limits), s_lines_below(f, limits)};
  } else if (const auto parts = pieces(activation); !parts.empty()) {
    const auto points = corners(activation, parts, limits);
    const double lipschitz = activation.lipschitz();
    lines = {edges_above(points, lipschitz), negated(edges_above(mirrored(points), lipschitz))};
  }
  std::erase_if(lines.above, [](const Line& line) { return !usable(line); });
  std::erase_if(lines.below, [](const Line& line) { return !usable(line); });
  return lines;
}

std::optional<Line> single_piece(const Activation& activation, Interval limits) {
  const auto parts = pieces(activation);
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const double end = p + 1 < parts.size() ? parts[p + 1].begin : infinity;
    const double before = p == 0 ? 0.0 : breakpoint_error(activation, parts[p].begin);
    const double after = p + 1 < parts.size() ? breakpoint_error(activation, end) : 0.0;
    if (limits.low >= parts[p].begin + before && limits.high <= end - after) return parts[p].line;
  }
  return std::nullopt;
}

std::optional<Interval> slope_range(const Activation& activation, Interval limits) {
  if (is_s_shaped(activation)) {
    const SShape f{activation.kind};
    const double nearest = std::clamp(0.0, limits.low, limits.high);  // where the slope is largest
    const double furthest = -limits.low > limits.high ? limits.low : limits.high;
    return Interval{std::max(0.0, f.derivative(furthest) - SShape::derivative_error),
                    std::min(f.steepest(), f.derivative(nearest) + SShape::derivative_error)};
  }
  const auto parts = pieces(activation);
  if (parts.empty()) return std::nullopt;
  if (const auto piece = single_piece(activation, limits)) return Interval{piece->slope, piece->slope};
  Interval range{infinity, -infinity};
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const double end = p + 1 < parts.size() ? parts[p + 1].begin : infinity;
    const double before = p == 0 ? 0.0 : breakpoint_error(activation, parts[p].begin);
    const double after = p + 1 < parts.size() ? breakpoint_error(activation, end) : 0.0;
    if (limits.high < parts[p].begin - before || limits.low > end + after) continue;
    range = {std::min(range.low, parts[p].line.slope), std::max(range.high, parts[p].line.slope)};
  }
  return range;
}

Lines slope_lines(Interval slopes, Interval limits) {
  const auto largest = [&](double d) { return std::max(multiply_up(slopes.low, d), multiply_up(slopes.high, d)); };
  const auto smallest = [&](double d) { return std::min(multiply_down(slopes.low, d), multiply_down(slopes.high, d)); };
  const auto chord = [&](double at_low, double at_high) {
    return std::clamp((at_high - at_low) / (limits.high - limits.low), slopes.low, slopes.high);
  };
  if (!(limits.low < limits.high)) return {};
  // max(k d) is convex in d and min(k d) concave: a line over both ends is over all of it, one under both under.
  double slope = limits.low >= 0.0    ? slopes.high
                 : limits.high <= 0.0 ? slopes.low
                                      : chord(largest(limits.low), largest(limits.high));
  Lines lines;
  lines.above.push_back({slope, std::max(add_up(largest(limits.low), -multiply_down(slope, limits.low)),
                                         add_up(largest(limits.high), -multiply_down(slope, limits.high)))});
  slope = limits.low >= 0.0    ? slopes.low
          : limits.high <= 0.0 ? slopes.high
                               : chord(smallest(limits.low), smallest(limits.high));
  lines.below.push_back({slope, std::min(add_down(smallest(limits.low), -multiply_up(slope, limits.low)),
                                         add_down(smallest(limits.high), -multiply_up(slope, limits.high)))});
  std::erase_if(lines.above, [](const Line& line) { return !usable(line); });
  std::erase_if(lines.below, [](const Line& line) { return !usable(line); });
  return lines;
}

}  // namespace quantbound::certify::linear
