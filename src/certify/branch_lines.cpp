#include "branch_lines.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "quantbound/core/rounding.hpp"

namespace quantbound::certify::detail {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double tiny = 0x1p-1060;

double above(double value, double magnitude) { return value + magnitude * 0x1p-49 + tiny; }
double below(double value, double magnitude) { return value - magnitude * 0x1p-49 - tiny; }

double slope_in_range(double slope) { return slope >= 0.0 && slope <= 1.0 ? slope : 1.0; }

/// Slope and offset of the piece; its offset is exact for every activation that Hinges describes.
HingeLines piece(const Hinges& hinges, Phase phase) {
  if (phase == Phase::middle) return {1.0, 1.0, 0.0, 0.0, 0.0, 0.0};
  if (phase == Phase::high) return {0.0, 0.0, hinges.high, hinges.high, 0.0, 0.0};
  const double offset = hinges.below == 0.0 ? hinges.low : 0.0;  // leaky_relu bends at zero
  return {hinges.below, hinges.below, offset, offset, 0.0, 0.0};
}

/// relu, low < 0 < high: the common case.
HingeLines relu_lines(const Interval& x) {
  const double chord = slope_in_range(x.high / (x.high - x.low));
  const double offset = std::max(-chord * x.low, x.high - chord * x.high);
  const double high = above(offset, x.high - chord * x.low);
  const bool steep = x.high > -x.low;
  return {chord, steep ? 1.0 : 0.0, std::isnan(high) ? infinity : high, 0.0, high, std::min(x.high, -x.low)};
}

struct Slopes {
  double high, low;
};

Slopes choose_slopes(const Hinges& hinges, const Interval& x) {
  const bool bends_up = x.low<hinges.low, bends_down = x.high> hinges.high;
  const double at_low = hinges(x.low), at_high = hinges(x.high);
  Slopes slopes{(at_high - at_low) / (x.high - x.low), (at_high - at_low) / (x.high - x.low)};
  if (bends_up && bends_down) {
    slopes.high = hinges.high - x.low > x.high - hinges.high ? (hinges.high - at_low) / (hinges.high - x.low) : 0.0;
    slopes.low =
        x.high - hinges.low > hinges.low - x.low ? (at_high - hinges.low) / (x.high - hinges.low) : hinges.below;
  } else if (bends_up) {
    slopes.low = x.high - hinges.low > hinges.low - x.low ? 1.0 : hinges.below;
  } else {
    slopes.high = hinges.high - x.low > x.high - hinges.high ? 1.0 : 0.0;
  }
  return {slope_in_range(slopes.high), slope_in_range(slopes.low)};
}

/// Any piecewise linear activation: the difference to a line is largest and smallest at ends and bends.
HingeLines bent_lines(const Hinges& hinges, const Interval& x) {
  if (!(x.high - x.low < infinity)) return {1.0, 1.0, infinity, -infinity, infinity, infinity};
  const Slopes slopes = choose_slopes(hinges, x);
  const std::array<double, 4> points{x.low, x.high, std::clamp(hinges.low, x.low, x.high),
                                     std::clamp(hinges.high, x.low, x.high)};
  HingeLines lines{slopes.high, slopes.low, -infinity, infinity, 0.0, 0.0};
  for (const double point : points) {
    const double value = hinges(point), magnitude = std::abs(value) + std::abs(point) + std::abs(hinges.low);
    lines.offset_high = std::max(lines.offset_high, above(value - slopes.high * point, magnitude));
    lines.offset_low = std::min(lines.offset_low, below(value - slopes.low * point, magnitude));
  }
  for (const double point : points) {
    lines.gap_high = std::max(lines.gap_high, slopes.high * point + lines.offset_high - hinges(point));
    lines.gap_low = std::max(lines.gap_low, hinges(point) - slopes.low * point - lines.offset_low);
  }
  return lines;
}

bool same_piece(Phase f, Phase fq) { return f == fq && f != Phase::open; }

}  // namespace

Phase phase_of(const Hinges& hinges, const Interval& x) {
  if (x.high <= hinges.low) return Phase::low;
  if (x.low >= hinges.high) return Phase::high;
  return x.low >= hinges.low && x.high <= hinges.high ? Phase::middle : Phase::open;
}

Interval within(const Hinges& hinges, Phase phase, Interval x) {
  if (phase == Phase::low) x.high = std::min(x.high, hinges.low);
  if (phase == Phase::middle) x = {std::max(x.low, hinges.low), std::min(x.high, hinges.high)};
  if (phase == Phase::high) x.low = std::max(x.low, hinges.high);
  return x;
}

HingeLines activation_lines(const Hinges& hinges, Phase phase, const Interval& x) {
  if (phase != Phase::open) return piece(hinges, phase);
  const bool relu = hinges.low == 0.0 && hinges.below == 0.0 && hinges.high == infinity;
  return relu ? relu_lines(x) : bent_lines(hinges, x);
}

HingeLines change_lines(const Hinges& hinges, Phase f, Phase fq, const Interval& d) {
  if (same_piece(f, fq)) {
    const double slope = f == Phase::middle ? 1.0 : f == Phase::low ? hinges.below : 0.0;
    return {slope, slope, 0.0, 0.0, 0.0, 0.0};
  }
  const double gap = std::max(d.high, -d.low);
  if (d.low >= 0.0) return {1.0, 0.0, 0.0, 0.0, gap, gap};
  if (d.high <= 0.0) return {0.0, 1.0, 0.0, 0.0, gap, gap};
  const double width = d.high - d.low;
  if (!(width < infinity)) return {1.0, 1.0, infinity, -infinity, infinity, infinity};
  const double up = slope_in_range(d.high / width), down = slope_in_range(-d.low / width);
  const double high = std::max(-up * d.low, d.high - up * d.high), low = std::min(d.low - down * d.low, -down * d.high);
  return {up, down, above(high, width), below(low, width), gap, gap};
}

Interval activation_range(const Hinges& hinges, const Interval& x) {
  Interval range{hinges(x.low), hinges(x.high)};
  if (hinges.below != 0.0) {  // the only piece that rounds
    if (x.low < hinges.low) range.low = core::next_down(range.low);
    if (x.high < hinges.low) range.high = core::next_up(range.high);
  }
  return range;
}

Interval change_range(const Hinges& hinges, Phase f, Phase fq, const Interval& x, const Interval& fq_x,
                      const Interval& d) {
  if (same_piece(f, fq)) {
    if (f == Phase::middle) return d;
    if (f == Phase::high || hinges.below == 0.0) return {0.0, 0.0};
    return d.low == 0.0 && d.high == 0.0
               ? d
               : Interval{core::next_down(hinges.below * d.low), core::next_up(hinges.below * d.high)};
  }
  const Interval y = activation_range(hinges, x), fq_y = activation_range(hinges, fq_x);
  return {std::max(std::min(d.low, 0.0), -core::add_up(y.high, -fq_y.low)),
          std::min(std::max(d.high, 0.0), core::add_up(fq_y.high, -y.low))};
}

}  // namespace quantbound::certify::detail
