#include "zonotope_relaxation.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/rounding.hpp"

#include "zonotope_form.hpp"

namespace quantbound::certify::detail {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double rounding_unit = 0x1p-47;  // of everything that is computed here from a handful of operations
constexpr double tiny = 0x1p-1060;

/// What carried by a slope costs beside a noise; found by trial on MNIST, where 0.03 to 0.3 give the same within 3 %.
constexpr double slope_cost = 0.1;
constexpr double line_slope_cost = 0.3;

const Piece& piece_at(const Pieces& pieces, double x) {
  std::size_t k = 0;
  while (x > pieces[k].end) ++k;
  return pieces[k];
}

double value(const Pieces& pieces, double x) {
  const Piece& piece = piece_at(pieces, x);
  return (piece.slope == 0.0 ? 0.0 : piece.slope * x) + piece.constant;
}

/// The piece that covers the whole interval.
const Piece* only_piece(const Pieces& pieces, double low, double high) {
  double begin = -infinity;
  for (const Piece& piece : pieces) {
    if (low >= begin && high <= piece.end) return &piece;
    begin = piece.end;
  }
  return nullptr;
}

double steepest(const Pieces& pieces) {
  double slope = 0.0;
  for (const Piece& piece : pieces) slope = std::max(slope, std::abs(piece.slope));
  return slope;
}

/// At most the two ends and two kinks.
struct Abscissae {
  std::array<double, 4> x{};
  std::size_t count = 0;
  void push(double value) { x[count++] = value; }
};

Abscissae abscissae(const Pieces& pieces, double low, double high) {
  Abscissae result;
  result.push(low);
  result.push(high);
  for (const Piece& piece : pieces) {
    if (piece.end > low && piece.end < high) result.push(piece.end);
  }
  return result;
}

double magnitude(const Pieces& pieces, double low, double high) {
  return std::max({std::abs(low), std::abs(high), std::abs(value(pieces, low)), std::abs(value(pieces, high))});
}

struct Range {
  double low = infinity, high = -infinity;
  void include(double x) {
    low = std::min(low, x);
    high = std::max(high, x);
  }
};

/// sigma(x) - slope x over [low, high].
Line line_with(const Pieces& pieces, double low, double high, double slope) {
  const Abscissae kinks = abscissae(pieces, low, high);
  Range residual;
  for (std::size_t k = 0; k < kinks.count; ++k) residual.include(value(pieces, kinks.x[k]) - slope * kinks.x[k]);
  const double error = rounding_unit * (steepest(pieces) + std::abs(slope) + 1.0) * magnitude(pieces, low, high) + tiny;
  const Ball known = ball(residual.low, residual.high);
  return {slope, known.center, core::add_up(known.radius, error)};
}

/// The chord, the best there is for a convex function as far as noise counts, or one of the slopes of the function.
Line relax_one(const Pieces& pieces, double rounding, double low, double high, Style style) {
  Line line;
  if (const Piece* piece = only_piece(pieces, low, high)) {
    line = {piece->slope, piece->constant, 0.0};
  } else {
    const double reach = (style == Style::least_price ? line_slope_cost : 0.0) * (high - low) / 2.0;
    const auto price = [&](const Line& candidate) { return candidate.noise + reach * std::abs(candidate.slope); };
    const double chord = (value(pieces, high) - value(pieces, low)) / (high - low);
    line = line_with(pieces, low, high, std::isfinite(chord) ? chord : 0.0);
    for (const Piece& other_piece : pieces) {
      const Line other = line_with(pieces, low, high, other_piece.slope);
      if (price(other) < price(line)) line = other;
    }
  }
  line.noise = core::add_up(line.noise, rounding);
  return line;
}

struct Corner {
  double f, fq, d, result;
};

/// The polygon cut at the kinks: every corner, and points that are corners only up to rounding.
class Corners {
 public:
  Corners(const PiecewisePair& functions, const PairInterval& x)
      : functions_(functions),
        x_(x),
        magnitude_(std::max({magnitude(functions.f, x.f_low, x.f_high), magnitude(functions.fq, x.fq_low, x.fq_high),
                             std::abs(x.d_low), std::abs(x.d_high)})),
        tolerance_(0x1p-50 * magnitude_) {
    const Abscissae f = abscissae(functions.f, x.f_low, x.f_high), fq = abscissae(functions.fq, x.fq_low, x.fq_high);
    for (std::size_t i = 0; i < f.count; ++i) {
      for (std::size_t j = 0; j < fq.count; ++j) push(f.x[i], fq.x[j], fq.x[j] - f.x[i]);
      for (const double d : {x.d_low, x.d_high}) push(f.x[i], f.x[i] + d, d);
    }
    for (std::size_t j = 0; j < fq.count; ++j) {
      for (const double d : {x.d_low, x.d_high}) push(fq.x[j] - d, fq.x[j], d);
    }
  }

  bool empty() const { return count_ == 0; }

  /// The result less f y + fq y' + d (y' - y).
  DifferenceLine line(double f, double fq, double d) const {
    Range residual;
    for (std::size_t k = 0; k < count_; ++k) {
      const Corner& c = corners_[k];
      residual.include(c.result - f * c.f - fq * c.fq - d * c.d);
    }
    const Ball known = ball(residual.low, residual.high);
    const double slopes =
        steepest(functions_.f) + steepest(functions_.fq) + std::abs(f) + std::abs(fq) + 2.0 * std::abs(d) + 2.0;
    DifferenceLine line{f, fq, d, known.center, core::add_up(known.radius, functions_.rounding)};
    line.error = rounding_unit * slopes * magnitude_ + tiny;
    return line;
  }

  double magnitude_bound() const { return magnitude_; }

 private:
  void push(double f, double fq, double d) {
    const auto inside = [&](double value, double low, double high) {
      return value >= low - tolerance_ && value <= high + tolerance_;
    };
    if (!inside(f, x_.f_low, x_.f_high) || !inside(fq, x_.fq_low, x_.fq_high) || !inside(d, x_.d_low, x_.d_high))
      return;
    corners_[count_++] = {f, fq, d, value(functions_.fq, fq) - value(functions_.f, f)};
  }

  const PiecewisePair& functions_;
  PairInterval x_;
  double magnitude_, tolerance_;
  std::array<Corner, 32> corners_;
  std::size_t count_ = 0;
};

/// What a relaxation costs: its noises, and a part of what its slopes carry, since that may cancel later.
class Price {
 public:
  Price(const PairInterval& x, const Line& f, const Line& fq)
      : f_((x.f_high - x.f_low) / 2.0),
        fq_((x.fq_high - x.fq_low) / 2.0),
        d_((x.d_high - x.d_low) / 2.0),
        f_noise_(f.noise),
        fq_noise_(fq.noise) {}

  double operator()(const DifferenceLine& line) const {
    const double carried = std::abs(line.f) * f_ + std::abs(line.fq) * fq_ + std::abs(line.d) * d_;
    return line.noise + line.error + std::abs(line.f_noise) * f_noise_ + std::abs(line.fq_noise) * fq_noise_ +
           slope_cost * carried;
  }

 private:
  double f_, fq_, d_, f_noise_, fq_noise_;
};

/// The difference of the two lines, which shares their noises; the slopes are split between y, y' and d.
enum class Base { apart, f, fq };
DifferenceLine difference_of_lines(const Line& f, const Line& fq, Base base, double magnitude) {
  DifferenceLine line;
  const double change = fq.slope - f.slope;
  bool exact = true;
  switch (base) {
    case Base::apart:
      line.f = -f.slope;
      line.fq = fq.slope;
      break;
    case Base::f:  // y' = y + d
      line.d = fq.slope;
      line.f = change;
      exact = change + f.slope == fq.slope && fq.slope - change == f.slope;
      break;
    case Base::fq:  // y = y' - d
      line.d = f.slope;
      line.fq = change;
      exact = change + f.slope == fq.slope && fq.slope - change == f.slope;
      break;
  }
  line.offset = fq.offset - f.offset;
  if (!exact) line.error = rounding_unit * (std::abs(f.slope) + std::abs(fq.slope)) * magnitude + tiny;
  if (fq.offset != 0.0 && f.offset != 0.0) line.error += rounding_unit * (std::abs(f.offset) + std::abs(fq.offset));
  line.f_noise = f.noise > 0.0 ? -1.0 : 0.0;
  line.fq_noise = fq.noise > 0.0 ? 1.0 : 0.0;
  return line;
}

DifferenceLine box_of(double low, double high) {
  const Ball known = ball(low, high);
  return {.offset = known.center, .noise = known.radius};
}

Line flat(double low, double high) {
  const Ball known = ball(low, high);
  return {0.0, known.center, known.radius};
}

bool finite(const PairInterval& x) {
  return std::isfinite(x.f_low) && std::isfinite(x.f_high) && std::isfinite(x.fq_low) && std::isfinite(x.fq_high) &&
         std::isfinite(x.d_low) && std::isfinite(x.d_high);
}

/// The slope of d alone that leaves the least noise, which is a convex function of it.
DifferenceLine best_slope(const Corners& corners, double steepest_slope) {
  double low = 0.0, high = steepest_slope;
  for (int step = 0; step < 24; ++step) {
    const double a = low + (high - low) / 3.0, b = high - (high - low) / 3.0;
    if (corners.line(0.0, 0.0, a).noise <= corners.line(0.0, 0.0, b).noise) {
      high = b;
    } else {
      low = a;
    }
  }
  return corners.line(0.0, 0.0, low);
}

/// d_high / (d_high - d_low) in [0, 1].
double upper_share(const PairInterval& x) {
  if (x.d_low >= 0.0) return 1.0;
  return x.d_high <= 0.0 ? 0.0 : x.d_high / (x.d_high - x.d_low);
}

/// The relaxations of one difference, given the lines of the two functions.
class DifferenceRelaxation {
 public:
  DifferenceRelaxation(const PiecewisePair& functions, const PairInterval& before, const PairInterval& after,
                       const Line& f, const Line& fq)
      : functions_(functions),
        before_(before),
        box_(box_of(after.d_low, after.d_high)),
        f_(f),
        fq_(fq),
        corners_(functions, before) {}

  DifferenceLine by(Rule rule) const {
    if (functions_.same && before_.d_low == 0.0 && before_.d_high == 0.0) return {};
    if (corners_.empty()) return box_;  // the intervals meet in rounding errors only
    if (rule == Rule::cheapest) return cheapest();
    if (f_.noise == 0.0 || fq_.noise == 0.0) return of_lines();
    const double share = upper_share(before_);
    return corners_.line(0.0, 0.0, slope() * (rule == Rule::upper ? share : 1.0 - share));
  }

 private:
  double slope() const { return std::max(steepest(functions_.f), steepest(functions_.fq)); }

  DifferenceLine cheapest() const {
    const Price price(before_, f_, fq_);
    DifferenceLine best = box_;
    const auto consider = [&](const DifferenceLine& line) {
      if (price(line) < price(best)) best = line;
    };
    for (const Base base : {Base::f, Base::fq, Base::apart}) {
      consider(difference_of_lines(f_, fq_, base, corners_.magnitude_bound()));
    }
    consider(corners_.line(0.0, 0.0, slope()));
    consider(corners_.line(0.0, 0.0, slope() * upper_share(before_)));
    consider(best_slope(corners_, slope()));
    return best;
  }

  /// Where a function is linear: with d at its slope, or without d where it is constant.
  DifferenceLine of_lines() const {
    const Line& linear = f_.noise == 0.0 ? f_ : fq_;
    const Base base = linear.slope == 0.0 ? Base::apart : f_.noise == 0.0 ? Base::fq : Base::f;
    return difference_of_lines(f_, fq_, base, corners_.magnitude_bound());
  }

  const PiecewisePair& functions_;
  PairInterval before_;
  DifferenceLine box_;
  Line f_, fq_;
  Corners corners_;
};

bool exact_slope(double slope) { return slope == 0.0 || slope == 1.0; }
double value_down(const Pieces& pieces, double x) {
  const double y = value(pieces, x);
  return exact_slope(piece_at(pieces, x).slope) ? y : y - std::abs(y) * 0x1p-50 - tiny;
}
double value_up(const Pieces& pieces, double x) {
  const double y = value(pieces, x);
  return exact_slope(piece_at(pieces, x).slope) ? y : y + std::abs(y) * 0x1p-50 + tiny;
}

}  // namespace

std::optional<Pieces> pieces_of(const network::Activation& activation) {
  switch (activation.kind) {
    case network::ActivationKind::relu:
      return Pieces{{0.0, 0.0, 0.0}, {1.0, 0.0, infinity}};
    case network::ActivationKind::leaky_relu:
      return Pieces{{activation.alpha, 0.0, 0.0}, {1.0, 0.0, infinity}};
    case network::ActivationKind::clip:
      return Pieces{
          {0.0, activation.alpha, activation.alpha}, {1.0, 0.0, activation.beta}, {0.0, activation.beta, infinity}};
    case network::ActivationKind::sigmoid:
    case network::ActivationKind::tanh:
    case network::ActivationKind::hard_swish:
    case network::ActivationKind::hard_sigmoid:
      return std::nullopt;
  }
  QUANTBOUND_ASSERT(false, static_cast<int>(activation.kind));
  return std::nullopt;
}

std::optional<Pieces> pieces_of(const ActivationGrid& grid) {
  return pieces_of(network::Activation{network::ActivationKind::clip, grid.low, grid.high});
}

PairInterval image(const PiecewisePair& functions, const PairInterval& before) {
  PairInterval result{-infinity, infinity, -infinity, infinity, -infinity, infinity};
  if (!finite(before)) return result;
  result.f_low = value_down(functions.f, before.f_low);
  result.f_high = value_up(functions.f, before.f_high);
  result.fq_low = core::next_down(value_down(functions.fq, before.fq_low) - functions.rounding);
  result.fq_high = core::next_up(value_up(functions.fq, before.fq_high) + functions.rounding);
  if (functions.rounding == 0.0) {
    result.fq_low = value_down(functions.fq, before.fq_low);
    result.fq_high = value_up(functions.fq, before.fq_high);
  }
  if (functions.same && before.d_low == 0.0 && before.d_high == 0.0) {
    result.d_low = result.d_high = 0.0;
    return result;
  }
  const Corners corners(functions, before);
  if (corners.empty()) return result;
  const DifferenceLine line = corners.line(0.0, 0.0, 0.0);
  const double reach = core::add_up(line.noise, line.error);
  result.d_low = -core::add_up(-line.offset, reach);
  result.d_high = core::add_up(line.offset, reach);
  return result;
}

std::span<const Rule> rules_of(Style style) {
  static constexpr std::array least_noise{Rule::cheapest, Rule::mirrored};
  static constexpr std::array least_price{Rule::upper};
  if (style == Style::least_price) return least_price;
  return least_noise;
}

ActivationLines relax(const PiecewisePair& functions, const PairInterval& before, const PairInterval& after,
                      Style style) {
  if (!finite(before)) return boxes(after);
  ActivationLines lines;
  lines.f = relax_one(functions.f, 0.0, before.f_low, before.f_high, style);
  lines.fq = relax_one(functions.fq, functions.rounding, before.fq_low, before.fq_high, style);
  const DifferenceRelaxation difference(functions, before, after, lines.f, lines.fq);
  const auto rules = rules_of(style);
  for (std::size_t k = 0; k < rules.size(); ++k) lines.difference[k] = difference.by(rules[k]);
  return lines;
}

ActivationLines boxes(const PairInterval& after) {
  ActivationLines lines{flat(after.f_low, after.f_high), flat(after.fq_low, after.fq_high), {}};
  lines.difference.fill(box_of(after.d_low, after.d_high));
  return lines;
}

Largest largest(const Box& box, const std::vector<Index>& candidates) {
  QUANTBOUND_ASSERT(!candidates.empty());
  Largest best{candidates.front(), infinity};
  for (const Index k : candidates) {
    double excess = 0.0;
    for (const Index j : candidates) {
      const double above = core::add_up(box.high[static_cast<std::size_t>(j)], -box.low[static_cast<std::size_t>(k)]);
      if (j != k) excess = std::max(excess, std::isnan(above) ? infinity : above);
    }
    if (excess < best.excess) best = {k, excess};
  }
  return best;
}

namespace {

/// The element taken, plus half of what another one can be above it; or the box, where that leaves less.
Line relax_largest_one(const Largest& taken, double low, double high) {
  const double half = core::next_up(taken.excess / 2.0);
  const Line line{1.0, taken.excess == 0.0 ? 0.0 : taken.excess / 2.0, taken.excess == 0.0 ? 0.0 : half};
  const Line box = flat(low, high);
  return box.noise < line.noise ? box : line;
}

}  // namespace

ActivationLines relax_largest(const Largest& f, const Largest& fq, const PairInterval& taken,
                              const PairInterval& after) {
  ActivationLines lines{
      relax_largest_one(f, after.f_low, after.f_high), relax_largest_one(fq, after.fq_low, after.fq_high), {}};
  DifferenceLine best = box_of(after.d_low, after.d_high);
  lines.difference.fill(best);
  if (!finite(taken)) return lines;
  const double magnitude =
      std::max({std::abs(taken.f_low), std::abs(taken.f_high), std::abs(taken.fq_low), std::abs(taken.fq_high)});
  const Price price(taken, lines.f, lines.fq);
  const auto consider = [&](Base base) {
    const DifferenceLine line = difference_of_lines(lines.f, lines.fq, base, magnitude);
    if (price(line) < price(best)) best = line;
  };
  consider(Base::apart);
  if (f.element == fq.element) {  // otherwise the difference at one element says nothing
    consider(Base::f);
    consider(Base::fq);
  }
  lines.difference.fill(best);
  return lines;
}

namespace {

/// Written so that the relative error is small everywhere.
double sigmoid(double x) {
  const double e = std::exp(-std::abs(x));
  return x >= 0.0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
}

double smooth(network::ActivationKind kind, double x) {
  return kind == network::ActivationKind::tanh ? std::tanh(x) : sigmoid(x);
}

/// The derivative, which falls with |x|; library functions err by a few units in the last place.
double derivative(network::ActivationKind kind, double x) {
  const double e = std::exp(-(kind == network::ActivationKind::tanh ? 2.0 : 1.0) * std::abs(x));
  const double slope = e / ((1.0 + e) * (1.0 + e));
  return kind == network::ActivationKind::tanh ? 4.0 * slope : slope;
}
constexpr double library_error = 0x1p-44;

/// Smallest and largest derivative over an interval.
Range slopes_over(network::ActivationKind kind, double low, double high) {
  const double farthest = std::max(std::abs(low), std::abs(high));
  const double nearest = low <= 0.0 && high >= 0.0 ? 0.0 : std::min(std::abs(low), std::abs(high));
  const double smallest = derivative(kind, farthest) * (1.0 - library_error) - tiny;
  return {std::max(0.0, smallest), derivative(kind, nearest) * (1.0 + library_error) + tiny};
}

/// With the smallest slope the residual does not fall: its ends are its extremes.
Line relax_smooth_one(network::ActivationKind kind, double low, double high) {
  const double slope = slopes_over(kind, low, high).low;
  const double first = smooth(kind, low) - slope * low, last = smooth(kind, high) - slope * high;
  const double error = library_error * (1.0 + slope * std::max(std::abs(low), std::abs(high))) * 0x1p-3 + tiny;
  const Ball known = ball(std::min(first, last), std::max(first, last));
  return {slope, known.center, core::add_up(known.radius, error)};
}

}  // namespace

ActivationLines relax_smooth(network::ActivationKind kind, const PairInterval& before, const PairInterval& after) {
  if (!finite(before)) return boxes(after);
  ActivationLines lines;
  lines.f = relax_smooth_one(kind, before.f_low, before.f_high);
  lines.fq = relax_smooth_one(kind, before.fq_low, before.fq_high);
  if (before.d_low == 0.0 && before.d_high == 0.0) return lines;
  const Range slopes =
      slopes_over(kind, std::min(before.f_low, before.fq_low), std::max(before.f_high, before.fq_high));
  const double size = std::max(std::abs(before.d_low), std::abs(before.d_high));
  const double middle = slopes.low + (slopes.high - slopes.low) / 2.0;
  const double away = core::next_up(std::max(slopes.high - middle, middle - slopes.low));
  const DifferenceLine line{.d = middle, .noise = core::multiply_up(away, size)};
  const Price price(before, lines.f, lines.fq);
  const DifferenceLine box = box_of(after.d_low, after.d_high);
  lines.difference.fill(line);
  if (price(box) < price(line)) lines.difference.front() = box;
  return lines;
}

}  // namespace quantbound::certify::detail
