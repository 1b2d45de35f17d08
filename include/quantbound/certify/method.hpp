/// The table of methods: how each is called, where it comes from, which pairs it takes, and one call that runs any of
/// them over one region. Every method stands alone (it starts from difference_interval or the cheaper relaxation it
/// refines, never from what else was selected), so its number means the same in every study; callers intersect.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quantbound/certify/pair_bounds.hpp"

namespace quantbound::certify {

enum class Method {
  interval,
  merged_interval,
  difference_interval,
  difference_zonotope,
  merged_crown,
  difference_crown,
  alpha_crown,
  star,
  branch_and_bound,
};

struct MethodInfo {
  Method method;
  std::string_view name;
  std::string_view summary;   ///< one line for --help
  std::string_view equation;  ///< paper and place, for the result file
};

/// From cheap to dear; the order of the `method` axis.
std::span<const MethodInfo> methods();
std::string_view to_string(Method method);
std::optional<Method> parse_method(std::string_view name);

struct MethodOptions {
  Index generators = 2000;          ///< difference_zonotope: most generators kept
  Index alpha_steps = 20;           ///< alpha_crown: steps of the optimiser
  double tolerance = 0.05;          ///< branch_and_bound: stop at upper <= (1 + tolerance) lower
  std::optional<double> threshold;  ///< branch_and_bound: stop when upper <= threshold, or lower > threshold
  double max_seconds = std::numeric_limits<double>::infinity();       ///< star and branch_and_bound
  std::int64_t max_boxes = std::numeric_limits<std::int64_t>::max();  ///< branch_and_bound
  std::size_t max_bytes = std::size_t{4} << 30;  ///< for one pair; what would need more is not applicable or stops
  /// Returns true when the work should end early with what is proved by then. Called from one thread, often.
  std::function<bool()> stop;
};

/// A proved result: f_q(x) - f(x) lies in `difference` for every x of the region.
struct Certificate {
  Box difference;          ///< per output, rounded outward; infinite where nothing was proved
  double lower = 0.0;      ///< branch_and_bound: a deviation that is attained, proved; otherwise 0
  std::int64_t boxes = 1;  ///< regions or subproblems bounded
  double seconds = 0.0;
  bool timed_out = false;  ///< max_seconds or `stop` ended it: another run may prove more
};

/// Why a method cannot be applied to a pair, in words with the node's name or the memory it would need; empty when it
/// can.
std::string not_applicable(Method method, const Pair& pair, const MethodOptions& options);

/// Uses the OpenMP threads of the caller; unless timed out the result depends neither on their number nor on time.
/// @pre not_applicable(...) is empty
Certificate certify(Method method, const Pair& pair, const Box& region, const MethodOptions& options);

}  // namespace quantbound::certify
