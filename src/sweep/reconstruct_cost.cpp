#include "reconstruct_cost.hpp"

#include "certify_cost.hpp"

namespace quantbound::sweep::detail {

namespace {

/// Seconds of one core per multiply-add of the float engine, module by module.
constexpr double per_float_pass = 1.5e-11;
/// Passes over all samples that measure: f's values, those of rounding, and those of what was found.
constexpr double measuring_passes = 3.0;

}  // namespace

double reconstruct_seconds(reconstruct::Method method, const network::Graph& graph, network::Index samples,
                           const reconstruct::Options& options) {
  static_cast<void>(method);
  static_cast<void>(options);
  const GraphSize size = measure(graph);
  return 0.01 + static_cast<double>(samples) * measuring_passes * size.multiply_adds * per_float_pass;
}

}  // namespace quantbound::sweep::detail
