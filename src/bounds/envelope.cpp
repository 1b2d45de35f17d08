#include "quantbound/bounds/envelope.hpp"

#include <algorithm>
#include <cmath>

#include "quantbound/core/assert.hpp"

#include "row_sums.hpp"

namespace quantbound::bounds {

namespace {

/// As points (slope, offset), a line lies below the maximum of two others wherever a point of the segment between those
/// is at least as large in both coordinates. So the envelope is the upper right part of the convex hull of the points.
double height_above(const Line& left, const Line& right, const Line& point) {
  return (right.slope - left.slope) * (point.offset - left.offset) -
         (right.offset - left.offset) * (point.slope - left.slope);
}

/// Whether the point is certainly on or below the segment; the margin is four times the rounding error of
/// height_above. @pre left.slope <= point.slope <= right.slope, left.offset >= point.offset >= right.offset
bool surely_covered(const Line& left, const Line& right, const Line& point) {
  const double size = (right.slope - left.slope) * (left.offset - point.offset) +
                      (left.offset - right.offset) * (point.slope - left.slope);
  return (size > 0x1p-900) & (height_above(left, right, point) < -0x1p-49 * size);  // below that products may underflow
}

bool dominates(const Line& a, const Line& b) { return a.slope >= b.slope && a.offset >= b.offset; }

/// Adds the lines of the envelope strictly between `left` and `right`, in order (quickhull). `lines` all have slopes
/// and offsets between theirs.
void add_between(const Line& left, const Line& right, std::vector<Line> lines, std::vector<Line>& result) {
  std::erase_if(lines, [&](const Line& line) {
    return dominates(left, line) || dominates(right, line) || surely_covered(left, right, line);
  });
  if (lines.empty()) return;
  const Line farthest = *std::max_element(lines.begin(), lines.end(), [&](const Line& a, const Line& b) {
    return height_above(left, right, a) < height_above(left, right, b);
  });
  std::vector<Line> steeper;
  for (const Line& line : lines) {
    if (line.slope > farthest.slope) steeper.push_back(line);
  }
  std::erase_if(lines, [&](const Line& line) { return line.slope > farthest.slope || dominates(farthest, line); });
  // What is neither flatter nor steeper has the farthest line's slope, and more offset only by rounding.
  add_between(left, farthest, std::move(lines), result);
  result.push_back(farthest);
  add_between(farthest, right, std::move(steeper), result);
}

}  // namespace

Envelope::Envelope(std::span<const double> slopes, std::span<const double> offsets) {
  QUANTBOUND_ASSERT(slopes.size() == offsets.size(), slopes.size(), offsets.size());
  if (slopes.empty()) return;
  Line highest{0.0, detail::extremes(offsets).high}, steepest{detail::extremes(slopes).high, 0.0};
  for (std::size_t i = 0; i < slopes.size(); ++i) {
    if (offsets[i] == highest.offset) highest.slope = std::max(highest.slope, slopes[i]);
    if (slopes[i] == steepest.slope) steepest.offset = std::max(steepest.offset, offsets[i]);
  }
  lines_.push_back(highest);
  if (dominates(highest, steepest)) return;
  std::vector<unsigned char> above(slopes.size());  // found without branches: for most rows they would be mispredicted
  for (std::size_t i = 0; i < slopes.size(); ++i) {
    const Line line{slopes[i], offsets[i]};
    above[i] = static_cast<unsigned char>((line.slope > highest.slope) & (line.offset > steepest.offset) &
                                          !surely_covered(highest, steepest, line));
  }
  std::vector<Line> between;
  for (std::size_t i = 0; i < slopes.size(); ++i) {
    if (above[i] != 0) between.push_back({slopes[i], offsets[i]});
  }
  add_between(highest, steepest, std::move(between), lines_);
  lines_.push_back(steepest);
}

core::Upper Envelope::operator()(core::Upper s) const {
  core::Upper largest;
  for (const Line& line : lines_) largest = max(largest, core::Upper(line.slope) * s + core::Upper(line.offset));
  return largest;
}

}  // namespace quantbound::bounds
