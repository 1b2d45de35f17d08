/// Lines around the activation of a neuron whose input is known to lie in an interval, and around the change of an
/// activation by the change of its input (docs/theory.md 5.5). Slopes are any numbers in [0, 1]; offsets are rounded
/// outward for the very slope that was computed (9.5.4), so the lines hold whatever rounding did to the slope.
#pragma once

#include "dense_pair.hpp"

namespace quantbound::certify::detail {

/// Which piece of its activation a neuron is proved to be on; `open` when several are possible.
enum class Phase : unsigned char { open = 0, low = 1, middle = 2, high = 3 };

struct Interval {
  double low = 0.0, high = 0.0;
};

struct HingeLines {
  double slope_high = 0.0, slope_low = 0.0, offset_high = 0.0, offset_low = 0.0;
  double gap_high = 0.0, gap_low = 0.0;  ///< farthest distance of each line from the function; not rounded
};

Phase phase_of(const Hinges& hinges, const Interval& x);

/// What of the interval is left on the piece `phase`.
Interval within(const Hinges& hinges, Phase phase, Interval x);

/// Encloses the activation over x. @pre phase is phase_of(x), or known otherwise
HingeLines activation_lines(const Hinges& hinges, Phase phase, const Interval& x);

/// Encloses e = s(y + d) - s(y) as lines in d, for every y: 1-Lipschitz and monotone is all that is known of s, unless
/// both are on the same piece.
HingeLines change_lines(const Hinges& hinges, Phase f, Phase fq, const Interval& d);

/// s over x, and e over x, x' and d.
Interval activation_range(const Hinges& hinges, const Interval& x);
Interval change_range(const Hinges& hinges, Phase f, Phase fq, const Interval& x, const Interval& fq_x,
                      const Interval& d);

}  // namespace quantbound::certify::detail
