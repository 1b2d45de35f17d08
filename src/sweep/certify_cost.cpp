#include "certify_cost.hpp"

#include <algorithm>
#include <cmath>

namespace quantbound::sweep::detail {

namespace {

/// Seconds of one core per multiply-add: of passes over vectors, which wait for the weights, and over matrices.
constexpr double per_vector_step = 0.5e-9, per_matrix_step = 0.1e-9;
/// The same of the engines that an attack uses: oneDNN there, there and back, and a pass in double.
constexpr double per_float_pass = 1.2e-11, per_float_gradient = 3e-11, per_double_pass = 0.2e-9;
/// A row of a backward pass, however short.
constexpr double per_row = 30e-6;
/// Pieces until branch and bound is usually done, and passes that one takes.
constexpr double usual_boxes = 2000.0, passes_per_box = 15.0;

network::Index multiply_adds(const network::Node& node) {
  if (const auto* convolution = std::get_if<network::Convolution>(&node.op))
    return convolution->geometry.multiply_adds();
  if (const auto* dense = std::get_if<network::Dense>(&node.op)) return dense->inputs * dense->outputs;
  return 0;
}

double generators(const GraphSize& size, const certify::MethodOptions& options) {
  return std::min(static_cast<double>(options.generators), size.inputs + size.hidden);
}

bool is_climbed_in_float(const GraphSize& size, const observe::AttackOptions& options) {
  return size.multiply_adds >= static_cast<double>(options.float_from);
}

}  // namespace

GraphSize measure(const network::Graph& graph) {
  GraphSize size;
  size.inputs = static_cast<double>(tensor::elements(graph.input_shape()));
  const auto layers = graph.weight_layers();
  for (const auto id : layers) {
    const auto& node = graph.nodes[static_cast<std::size_t>(id)];
    const auto values = static_cast<double>(tensor::elements(node.shape));
    size.multiply_adds += static_cast<double>(multiply_adds(node));
    size.substitution += values * size.multiply_adds;
    size.widest = std::max(size.widest, values);
    (id == layers.back() ? size.outputs : size.hidden) += values;
  }
  return size;
}

double certify_seconds(certify::Method method, const GraphSize& size, const certify::MethodOptions& options) {
  using certify::Method;
  const double pass = size.multiply_adds * per_vector_step + 1e-6 * size.hidden / 100.0;
  const double crown = 4.0 * size.substitution * per_matrix_step + size.hidden * per_row + 10.0 * pass;
  switch (method) {
    case Method::interval:
      return 4.0 * pass;
    case Method::merged_interval:
      return 6.0 * pass;
    case Method::difference_interval:
      return 10.0 * pass;
    case Method::difference_zonotope:
      return 10.0 * pass + 30.0 * generators(size, options) * size.multiply_adds * per_matrix_step;
    case Method::merged_crown:
    case Method::difference_crown:
      return crown;
    case Method::alpha_crown:
      return crown * (1.0 + 3.0 * static_cast<double>(options.alpha_steps));
    case Method::star:
      return 10.0 * crown * size.outputs;
    case Method::branch_and_bound:
      return passes_per_box * pass * std::min(usual_boxes, static_cast<double>(options.max_boxes));
  }
  return 0.0;
}

double attack_seconds(const GraphSize& size, const observe::AttackOptions& options) {
  const auto starts = static_cast<double>(options.starts) / static_cast<double>(options.groups);
  const auto steps = static_cast<double>(options.steps);
  constexpr double looks = 64.0, rounds = 3.0, evaluated = 9.0, networks = 2.0;
  if (is_climbed_in_float(size, options)) {
    const double of_start = networks * (rounds * steps * per_float_gradient + looks * per_float_pass);
    return size.multiply_adds * (starts * of_start + evaluated * networks * per_double_pass);
  }
  // f and f_q there and back for every output and sign, of at most ten outputs, and a look at many points before.
  const double climbs = 2.0 * std::min(10.0, size.outputs), looks_as_steps = 400.0;
  return starts * (climbs * steps + looks_as_steps) * size.multiply_adds * 0.7e-9;
}

network::Index attack_groups(const GraphSize& size, const observe::AttackOptions& options) {
  constexpr double seconds_of_group = 10.0;  // what every group evaluates in double takes a second of MobileNetV2
  if (!is_climbed_in_float(size, options)) return 1;
  observe::AttackOptions whole = options;
  whole.groups = 1;
  const double groups = std::ceil(attack_seconds(size, whole) / seconds_of_group);
  return static_cast<network::Index>(std::min(groups, static_cast<double>(options.starts)));
}

double certify_bytes(certify::Method method, const GraphSize& size, const certify::MethodOptions& options) {
  using certify::Method;
  switch (method) {
    case Method::interval:
    case Method::merged_interval:
    case Method::difference_interval:
      return 0.0;
    case Method::difference_zonotope:
      return std::min(static_cast<double>(options.max_bytes), 4.0 * 8.0 * generators(size, options) * size.widest);
    default:
      return std::min(static_cast<double>(options.max_bytes), 4.0 * 8.0 * size.widest * size.widest);
  }
}

}  // namespace quantbound::sweep::detail
