/// Linear relaxations of one activation of a pair, as difference_zonotope uses them: sigma(y), sigma'(y') and their
/// difference, each a linear function of y, y' and d = y' - y up to a noise, over the polygon {y, y', d in their
/// intervals} (docs/theory.md 5.1, 5.4, 5.5). For piecewise linear functions the residual of any slopes is exact at the
/// corners of the polygon cut at the kinks, so slopes are chosen by the noise they leave. Everything is rounded
/// outward.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "quantbound/certify/pair.hpp"

namespace quantbound::certify::detail {

/// What is known of one element.
struct PairInterval {
  double f_low, f_high, fq_low, fq_high, d_low, d_high;
};

/// value = slope x + offset, up to noise.
struct Line {
  double slope = 0.0, offset = 0.0, noise = 0.0;
};

/// difference = f y + fq y' + d (y' - y) + offset, up to `noise`, `error`, and `f_noise` (`fq_noise`) times the noise
/// of f's (f_q's) own line. `error` is rounding, not worth a noise of its own.
struct DifferenceLine {
  double f = 0.0, fq = 0.0, d = 0.0;
  double offset = 0.0, noise = 0.0, error = 0.0;
  double f_noise = 0.0, fq_noise = 0.0;
};

/// No slopes are best for all that follows, so there are two families of forms of f, f_q and the difference, whose
/// bounds meet at every node. With the least noise, a line of f is DeepZ's; by price, slopes cost a part of what they
/// carry, which wins where that no longer cancels.
enum class Style { least_noise, least_price };
inline constexpr std::array styles{Style::least_noise, Style::least_price};

/// How the difference is relaxed: by the cheapest of all lines, noise and slopes weighed; with the slope
/// d_high / (d_high - d_low) of VeryDiff; or with that of the mirrored difference, -d_low / (d_high - d_low), which
/// leaves as much noise.
enum class Rule { cheapest, upper, mirrored };
inline constexpr std::size_t most_rules = 2;
/// The differences that a family carries.
std::span<const Rule> rules_of(Style style);

struct ActivationLines {
  Line f, fq;
  std::array<DifferenceLine, most_rules> difference;  ///< by the rules of the style
};

/// slope x + constant up to `end`; the pieces of a continuous function, the last one without end.
struct Piece {
  double slope, constant, end;
};
using Pieces = std::vector<Piece>;

/// The pieces of an activation, or nothing where it is not piecewise linear with exact kinks.
std::optional<Pieces> pieces_of(const network::Activation& activation);
std::optional<Pieces> pieces_of(const ActivationGrid& grid);

/// The pair of functions at one node: f's pieces, f_q's, and how far f_q's rounding strays from them.
struct PiecewisePair {
  Pieces f, fq;
  double rounding = 0.0;
  bool same = true;  ///< one function, not rounded
};

/// `after`: what is already known of the result.
ActivationLines relax(const PiecewisePair& functions, const PairInterval& before, const PairInterval& after,
                      Style style);

/// Sigmoid and tanh.
ActivationLines relax_smooth(network::ActivationKind kind, const PairInterval& before, const PairInterval& after);

/// No slope: the boxes of `after`.
ActivationLines boxes(const PairInterval& after);

/// Which of some elements is taken for the largest, and how far another one can lie above it.
struct Largest {
  Index element = 0;
  double excess = 0.0;
};
Largest largest(const Box& box, const std::vector<Index>& candidates);

/// The maximum of a window in f and in f_q. `taken`: what is known of the elements taken, and of the difference at f's.
ActivationLines relax_largest(const Largest& f, const Largest& fq, const PairInterval& taken,
                              const PairInterval& after);

/// Encloses the function and the difference over the polygon: what the corners prove about the result.
PairInterval image(const PiecewisePair& functions, const PairInterval& before);

}  // namespace quantbound::certify::detail
