#include "quantbound/certify/method.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include <fmt/format.h>
#include <omp.h>

#include "quantbound/certify/branch_and_bound.hpp"
#include "quantbound/certify/crown.hpp"
#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/certify/star.hpp"
#include "quantbound/certify/zonotope.hpp"
#include "quantbound/core/assert.hpp"

#include "dense_pair.hpp"

namespace quantbound::certify {

namespace {

using network::Node;
using Clock = std::chrono::steady_clock;

/// One method: what it takes, what it costs, how it runs. A new method is one row of the table below.
struct Entry {
  MethodInfo info;
  std::string (*refusal)(const Pair& pair);                         ///< operators it does not have
  double (*bytes)(const Pair& pair, const MethodOptions& options);  ///< of its largest working set, about
  Certificate (*run)(const Pair& pair, const Box& region, const MethodOptions& options);
};

double elements(const Node& node) { return static_cast<double>(tensor::elements(node.shape)); }

/// Elements of all nodes: what one interval end of every node takes.
double all_elements(const Pair& pair) {
  double sum = 0.0;
  for (const Node& node : pair.graph.nodes) sum += elements(node);
  return sum;
}

double widest(const Pair& pair) {
  double most = 0.0;
  for (const Node& node : pair.graph.nodes) most = std::max(most, elements(node));
  return most;
}

double all_weights(const Pair& pair) {
  double sum = 0.0;
  for (const auto& layer : pair.f) sum += static_cast<double>(layer.weights.size() + layer.bias.size());
  return sum;
}

Certificate from_bounds(const Pair& pair, const PairBounds& bounds) {
  return {.difference = bounds[pair.graph.output].difference};
}

std::string none(const Pair&) { return {}; }

double interval_bytes(const Pair& pair, const MethodOptions&) { return 8.0 * 16.0 * all_elements(pair); }

Certificate run_interval(const Pair& pair, const Box& region, const MethodOptions&) {
  return from_bounds(pair, separate_intervals(pair, region));
}

/// For methods that have no place for an activation of f_q that rounds.
std::string rounds(const Pair& pair) {
  for (std::size_t n = 0; n < pair.activation_grids.size(); ++n) {
    if (pair.activation_grids[n]) return fmt::format("f_q rounds the activation '{}'", pair.graph.nodes[n].name);
  }
  return {};
}

/// The merged weights are block matrices with f and f_q on the diagonal.
double merged_bytes(const Pair& pair, const MethodOptions& options) {
  return 8.0 * 3.0 * 4.0 * all_weights(pair) + 2.0 * interval_bytes(pair, options);
}

/// As the literature reads the merged network: a network like any other, its output interval by interval arithmetic.
Certificate run_merged_interval(const Pair& pair, const Box& region, const MethodOptions&) {
  const network::Network merged = merged_network(pair);
  const Pair alone = make_pair(merged, merged);
  return {.difference = separate_intervals(alone, region)[alone.graph.output].f};
}

Certificate run_difference_interval(const Pair& pair, const Box& region, const MethodOptions&) {
  return from_bounds(pair, difference_interval(pair, region));
}

double zonotope_bytes(const Pair& pair, const MethodOptions& options) {
  return static_cast<double>(difference_zonotope_bytes(pair, options.generators));
}

Certificate run_difference_zonotope(const Pair& pair, const Box& region, const MethodOptions& options) {
  return from_bounds(pair, difference_zonotope(pair, region, options.generators));
}

/// What is prepared of every node, and a block of rows of coefficients for every thread.
double crown_bytes(const Pair& pair, const MethodOptions& options) {
  constexpr double prepared = 32.0, rows = 64.0;
  return 8.0 * (prepared * all_elements(pair) + 4.0 * rows * widest(pair) * omp_get_max_threads()) +
         interval_bytes(pair, options);
}

Certificate run_merged_crown(const Pair& pair, const Box& region, const MethodOptions&) {
  return from_bounds(pair, merged_crown(pair, region));
}

Certificate run_difference_crown(const Pair& pair, const Box& region, const MethodOptions&) {
  return from_bounds(pair, difference_crown(pair, region));
}

Certificate run_alpha_crown(const Pair& pair, const Box& region, const MethodOptions& options) {
  return from_bounds(pair, alpha_crown(pair, region, options.alpha_steps));
}

Certificate run_star(const Pair& pair, const Box& region, const MethodOptions& options) {
  StarBounds bounds = star_bounds(pair, region, options);
  Certificate certificate{.difference = std::move(bounds.difference)};
  certificate.timed_out = bounds.timed_out;
  return certificate;
}

double branch_bytes(const Pair& pair, const MethodOptions& options) {
  const bool dense = automatic_split(pair) == Split::input && detail::not_dense(pair).empty();
  return dense ? interval_bytes(pair, options) : crown_bytes(pair, options);
}

BranchOptions branch_options(const Pair& pair, const MethodOptions& options) {
  BranchOptions branch{.tolerance = options.tolerance, .max_bytes = options.max_bytes};
  if (options.threshold) {
    const auto outputs = static_cast<std::size_t>(tensor::elements(pair.graph.output_shape()));
    branch.target =
        Box{std::vector<double>(outputs, -*options.threshold), std::vector<double>(outputs, *options.threshold)};
  }
  return branch;
}

/// Boxes between two looks at `stop`: about a second's work, and the same whatever the clock says.
std::int64_t boxes_between_looks(const Pair& pair) {
  constexpr double multiplications = 2e8;
  return std::clamp(static_cast<std::int64_t>(multiplications / (1.0 + all_weights(pair))), std::int64_t{16},
                    std::int64_t{8192});
}

Certificate run_branch_and_bound(const Pair& pair, const Box& region, const MethodOptions& options) {
  const auto start = Clock::now();
  const std::int64_t step = boxes_between_looks(pair);
  BranchAndBound search(pair, region, branch_options(pair, options));
  bool timed_out = false;
  while (!search.done() && search.state().boxes < options.max_boxes) {
    const double left = options.max_seconds - std::chrono::duration<double>(Clock::now() - start).count();
    timed_out = left <= 0.0 || (options.stop && options.stop());
    if (timed_out) break;
    search.advance(std::min(step, options.max_boxes - search.state().boxes), left);
  }
  const SearchState state = search.state();
  return {.difference = search.difference(), .lower = state.lower, .boxes = state.boxes, .timed_out = timed_out};
}

constexpr std::array entries{
    Entry{{Method::interval, "interval", "both networks apart, by interval arithmetic",
           "interval arithmetic; docs/theory.md 9.1"},
          none,
          interval_bytes,
          run_interval},
    Entry{{Method::merged_interval, "merged_interval", "the merged network of the literature, by interval arithmetic",
           "arXiv 2202.01214, eqs. 13-27; docs/theory.md 4.1"},
          rounds,
          merged_bytes,
          run_merged_interval},
    Entry{{Method::difference_interval, "difference_interval", "intervals of f, f_q and f_q - f at every node",
           "docs/theory.md 9.1, B8; after arXiv 2212.02781, Theorem 1"},
          none,
          interval_bytes,
          run_difference_interval},
    Entry{{Method::difference_zonotope, "difference_zonotope", "zonotopes of f, f_q and f_q - f with shared generators",
           "after VeryDiff (Teuber et al. 2024); docs/theory.md 5.4"},
          none,
          zonotope_bytes,
          run_difference_zonotope},
    Entry{{Method::merged_crown, "merged_crown", "backward linear relaxation of f and f_q apart (CROWN)",
           "arXiv 1811.00866 on the merged network; docs/theory.md 5.5"},
          none,
          crown_bytes,
          run_merged_crown},
    Entry{{Method::difference_crown, "difference_crown", "backward linear relaxation over f and f_q - f",
           "docs/theory.md 5.5; after NeuroDiff (ASE 2020)"},
          none,
          crown_bytes,
          run_difference_crown},
    Entry{{Method::alpha_crown, "alpha_crown", "difference_crown with slopes optimised",
           "after arXiv 2011.13824; docs/theory.md 5.5"},
          none,
          crown_bytes,
          run_alpha_crown},
    Entry{{Method::star, "star", "linear programs over the relaxation of the pair",
           "after arXiv 2004.05519; docs/theory.md 5.5"},
          none,
          interval_bytes,
          run_star},
    Entry{{Method::branch_and_bound, "branch_and_bound", "splits inputs or activations until upper and lower meet",
           "docs/theory.md 9.1, B10"},
          rounds,
          branch_bytes,
          run_branch_and_bound},
};

constexpr auto infos = [] {
  std::array<MethodInfo, entries.size()> result{};
  for (std::size_t i = 0; i < entries.size(); ++i) result[i] = entries[i].info;
  return result;
}();

const Entry& entry(Method method) {
  const auto* found =
      std::find_if(entries.begin(), entries.end(), [&](const Entry& e) { return e.info.method == method; });
  QUANTBOUND_ASSERT(found != entries.end(), static_cast<int>(method));
  return *found;
}

}  // namespace

std::span<const MethodInfo> methods() { return infos; }

std::string_view to_string(Method method) { return entry(method).info.name; }

std::optional<Method> parse_method(std::string_view name) {
  const auto* found =
      std::find_if(infos.begin(), infos.end(), [&](const MethodInfo& info) { return info.name == name; });
  return found == infos.end() ? std::nullopt : std::optional(found->method);
}

std::string not_applicable(Method method, const Pair& pair, const MethodOptions& options) {
  const Entry& e = entry(method);
  const double needed = e.bytes(pair, options), allowed = static_cast<double>(options.max_bytes);
  if (needed > allowed)
    return fmt::format("needs about {:.1f} GiB, {:.1f} are allowed", needed * 0x1p-30, allowed * 0x1p-30);
  return e.refusal(pair);
}

Certificate certify(Method method, const Pair& pair, const Box& region, const MethodOptions& options) {
  const auto inputs = static_cast<std::size_t>(tensor::elements(pair.graph.input_shape()));
  QUANTBOUND_ASSERT(region.low.size() == inputs && region.high.size() == inputs, region.low.size(), inputs);
  const auto start = Clock::now();
  Certificate certificate = entry(method).run(pair, region, options);
  certificate.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return certificate;
}

}  // namespace quantbound::certify
