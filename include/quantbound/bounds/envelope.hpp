/// The upper envelope over s >= 0 of the lines slope_i * s + offset_i, one line per row of a layer: what a layer makes
/// of a value of size s when row i has absolute row sum slope_i and absolute bias offset_i (docs/theory.md 9.1, B4). It
/// keeps the few lines that matter; one is dropped only when two others provably cover it, so the envelope is never too
/// low.
#pragma once

#include <span>
#include <vector>

#include "quantbound/core/upper.hpp"

namespace quantbound::bounds {

struct Line {
  double slope = 0.0, offset = 0.0;
  bool operator==(const Line&) const = default;
};

class Envelope {
 public:
  /// No line: zero everywhere.
  Envelope() = default;
  /// @pre slopes.size() == offsets.size(); all finite and not negative
  Envelope(std::span<const double> slopes, std::span<const double> offsets);
  /// The given lines as they are.
  explicit Envelope(std::vector<Line> lines) : lines_(std::move(lines)) {}

  /// The largest of the lines at s, rounded up.
  core::Upper operator()(core::Upper s) const;

  /// By growing slope and falling offset.
  const std::vector<Line>& lines() const { return lines_; }
  bool operator==(const Envelope&) const = default;

 private:
  std::vector<Line> lines_;
};

}  // namespace quantbound::bounds
