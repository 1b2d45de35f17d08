#include "quantbound/certify/method.hpp"

#include <algorithm>
#include <array>
#include <chrono>

#include <fmt/format.h>

#include "quantbound/certify/difference_interval.hpp"
#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

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

double all_weights(const Pair& pair) {
  double sum = 0.0;
  for (const auto& layer : pair.f) sum += static_cast<double>(layer.weights.size() + layer.bias.size());
  return sum;
}

std::string rounded_activation(const Pair& pair) {
  for (std::size_t n = 0; n < pair.activation_grids.size(); ++n) {
    if (pair.activation_grids[n]) return fmt::format("f_q rounds the activation '{}'", pair.graph.nodes[n].name);
  }
  return {};
}

Certificate from_bounds(const Pair& pair, const PairBounds& bounds) {
  return {.difference = bounds[pair.graph.output].difference};
}

std::string none(const Pair&) { return {}; }

double interval_bytes(const Pair& pair, const MethodOptions&) { return 8.0 * 16.0 * all_elements(pair); }

Certificate run_interval(const Pair& pair, const Box& region, const MethodOptions&) {
  return from_bounds(pair, separate_intervals(pair, region));
}

std::string not_merged(const Pair& pair) {
  if (auto reason = rounded_activation(pair); !reason.empty()) return reason;
  try {
    static_cast<void>(merged_network(pair));
  } catch (const core::InputError& error) {
    return error.what();
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

constexpr std::array entries{
    Entry{{Method::interval, "interval", "both networks apart, by interval arithmetic",
           "interval arithmetic; docs/theory.md 9.1"},
          none,
          interval_bytes,
          run_interval},
    Entry{{Method::merged_interval, "merged_interval", "the merged network of the literature, by interval arithmetic",
           "arXiv 2202.01214, eqs. 13-27; docs/theory.md 4.1"},
          not_merged,
          merged_bytes,
          run_merged_interval},
    Entry{{Method::difference_interval, "difference_interval", "intervals of f, f_q and f_q - f at every node",
           "docs/theory.md 9.1, B8; after arXiv 2212.02781, Theorem 1"},
          none,
          interval_bytes,
          run_difference_interval},
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
