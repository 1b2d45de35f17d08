#include "reconstruct_cost.hpp"

#include "certify_cost.hpp"

namespace quantbound::sweep::detail {

namespace {

using reconstruct::Method;

/// Seconds of one core per multiply-add of the float engine, module by module, and there and back.
constexpr double per_float_pass = 1.5e-11, per_float_gradient = 5e-11;
/// Of products of matrices in double, and of a step of the optimiser on one weight.
constexpr double per_product = 1e-10, per_step = 2e-9;
/// Passes over all samples that measure: f's values, those of rounding, and those of what was found.
constexpr double measuring_passes = 3.0;

double weight_count(const network::Graph& graph) {
  double weights = 0.0;
  for (const auto id : graph.weight_layers()) {
    const auto& op = graph.nodes[static_cast<std::size_t>(id)].op;
    const auto* convolution = std::get_if<network::Convolution>(&op);
    weights += static_cast<double>(convolution != nullptr
                                       ? convolution->geometry.weight_count()
                                       : std::get<network::Dense>(op).inputs * std::get<network::Dense>(op).outputs);
  }
  return weights;
}

/// Second moments of the inputs of every layer and their inverse.
double moments_seconds(const network::Graph& graph, double samples) {
  double seconds = 0.0;
  for (const auto id : graph.weight_layers()) {
    const auto& node = graph.nodes[static_cast<std::size_t>(id)];
    double columns = 0.0, groups = 1.0, positions = 1.0, rows = 0.0;
    if (const auto* convolution = std::get_if<network::Convolution>(&node.op)) {
      const auto& g = convolution->geometry;
      columns = static_cast<double>(g.fan_in());
      groups = static_cast<double>(g.groups);
      rows = static_cast<double>(g.channels_out) / groups;
      positions = static_cast<double>(tensor::elements(node.shape)) / static_cast<double>(g.channels_out);
    } else {
      const auto& dense = std::get<network::Dense>(node.op);
      columns = static_cast<double>(dense.inputs);
      rows = static_cast<double>(dense.outputs);
    }
    seconds += groups * columns * columns * (samples * positions * per_float_pass + (columns + rows) * per_product);
  }
  return seconds;
}

}  // namespace

double reconstruct_seconds(Method method, const network::Graph& graph, network::Index samples,
                           const reconstruct::Options& options) {
  const GraphSize size = measure(graph);
  const auto count = static_cast<double>(samples), iterations = static_cast<double>(options.iterations);
  const double measuring = 0.01 + count * measuring_passes * size.multiply_adds * per_float_pass;
  const double training = iterations * (static_cast<double>(options.batch) * size.multiply_adds * per_float_gradient +
                                        weight_count(graph) * per_step);
  switch (method) {
    case Method::round:
      return measuring;
    case Method::gptq:
      return measuring + moments_seconds(graph, count);
    case Method::adaround:
    case Method::brecq:
    case Method::qdrop:
    case Method::mrecg:
      return measuring + training;
    case Method::mrecg_loss:  // and a first reconstruction, whose losses it goes by
      return 2.0 * (measuring + training);
  }
  return measuring;
}

}  // namespace quantbound::sweep::detail
