/// Search for a large deviation inside a box: projected sign-gradient ascent on +-(f_q - f)_i from many starts. What it
/// reports is the difference of two forward passes in double at a point of the box, so it is attained (up to their
/// rounding) and a lower bound of the supremum. Steps shrink as in Auto-PGD (Croce and Hein, arXiv 2003.01690): half as
/// long, from the best point so far, where a stretch of them did not pay.
///
/// 64 points per start are looked at: the centre, uniform points and random corners. Small networks are climbed in
/// double: every output and sign from the first of these points and from the best of them, where that is affordable;
/// otherwise (many outputs) those that are largest there, at most 20. Then the best points are disturbed and climbed
/// again; with at most 16 inputs, coordinates are polished one by one at the end.
///
/// Large networks (AttackOptions::float_from) are climbed in float, a batch of points per thread, and the best eight
/// points evaluated in double. There outputs and signs race: 8 climbs per start, over the 4 targets per start that are
/// largest at the points looked at, take an eighth of the steps; the best fourth goes on for half of the steps, the
/// best fourth of these for twice as many: in all 3 x starts x steps steps of both networks. The race finds more than
/// climbing the largest target alone or the inf-norm itself (docs/performance.md has the figures).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::observe {

using network::Box;
using network::Graph;
using network::Index;
using network::LayerParameters;

struct AttackOptions {
  Index starts = 16;  ///< in double: of each output and sign that is climbed; half as many again from the best points
  Index steps = 100;  ///< in double: of one climb; in float: of one start in each round of the race
  std::uint64_t seed = 1;
  /// Part `group` of `groups`: every start belongs to one group, and groups are searched independently of each other,
  /// on other ranks perhaps. best_of() puts their results together.
  Index group = 0, groups = 1;
  /// Networks of at least so many multiply-adds in one pass over one input are climbed in float.
  Index float_from = Index{1} << 22;
  /// Returns true when the search should end early with what it has found. Called from one thread, between steps.
  std::function<bool()> stop = {};
};

struct AttackResult {
  double deviation = 0.0;     ///< |f_q - f|, inf-norm, at `point`: of two forward passes in double
  Index output = 0;           ///< where it is largest
  std::vector<double> point;  ///< inside the box
  bool stopped = false;       ///< options.stop ended it: another run may find more
};

/// Deterministic in its arguments, `stop` apart; uses the OpenMP threads of the caller. Points where a value is not
/// finite do not count; where no other was met, the deviation is 0. Throws core::InputError for a box that is not
/// bounded.
/// @pre 0 <= group < groups <= starts, steps >= 0, box as large as the input
AttackResult attack(const Graph& graph, std::span<const LayerParameters> f, std::span<const LayerParameters> fq,
                    const Box& box, const AttackOptions& options);

/// The largest of the groups' results, the first of equal ones; stopped if any was. @pre not empty
AttackResult best_of(std::span<const AttackResult> groups);

}  // namespace quantbound::observe
