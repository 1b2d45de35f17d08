#include "state.hpp"

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/hash.hpp"

namespace quantbound::reconstruct::detail {

namespace {

constexpr std::uint64_t format = 1;

void describe(const Graph& graph, core::ByteWriter& out) {
  for (const network::Node& node : graph.nodes) {
    out.text(node.name).text(std::string(network::operator_name(node.op))).values(node.inputs).values(node.shape);
  }
  out.value(graph.output);
}

void describe(const Options& options, core::ByteWriter& out) {
  for (const Index value : {options.iterations, options.batch, options.joins, options.longest_run}) out.value(value);
  for (const double value :
       {options.learning_rate, options.regularization, options.warm_up, options.beta_first, options.beta_last,
        options.drop, options.damping, options.join_penalty, options.capacity.stride_factor}) {
    out.value(value);
  }
  out.value(options.bias_absorption.value_or(-1.0));
  out.value(options.weighting).value(options.quadratic).value(options.equalization).value(options.bias_correction);
  out.value(options.regularization_unit).value(options.homogeneity).value(options.order);
  out.value(options.modules).value(options.joining).value(options.joint).value(options.seed).values(options.runs);
  for (const LayerRange& range : options.named) out.text(range.first).text(range.last);
}

void write(const ModuleReport& report, core::ByteWriter& out) {
  out.value(report.loss_round).value(report.loss).value(report.settled).value(report.iterations);
  out.value(static_cast<std::uint8_t>(report.kept_rounding ? 1 : 0));
}

ModuleReport read_report(core::ByteReader& in) {
  ModuleReport report;
  report.loss_round = in.value<double>();
  report.loss = in.value<double>();
  report.settled = in.value<double>();
  report.iterations = in.value<Index>();
  report.kept_rounding = in.value<std::uint8_t>() != 0;
  return report;
}

}  // namespace

std::uint64_t identity(const Network& network, const quantize::Configuration& configuration, Method method,
                       const Calibration& calibration, const Options& options) {
  core::ByteWriter out;
  describe(network.graph, out);
  for (const LayerParameters& layer : network.layers) {
    out.value(core::hash64(std::as_bytes(std::span(layer.weights))));
    out.value(core::hash64(std::as_bytes(std::span(layer.bias))));
  }
  out.text(fmt::format("{} {} {} {} {} {}", quantize::label(configuration), to_string(configuration.grid),
                       to_string(configuration.step_rule), configuration.fixed_step, configuration.bias_bits,
                       to_string(method)));
  out.value(calibration.count).value(core::hash64(std::as_bytes(calibration.inputs)));
  describe(options, out);
  return core::hash64(out.take());
}

core::Bytes to_bytes(const State& state, std::uint64_t identity) {
  core::ByteWriter out;
  out.value(format).value(identity).value(state.pass).values(state.losses);
  out.value(static_cast<std::uint64_t>(state.layers.size()));
  for (const LayerParameters& layer : state.layers) out.values(layer.weights).values(layer.bias);
  out.value(static_cast<std::uint64_t>(state.reports.size()));
  for (const ModuleReport& report : state.reports) write(report, out);
  out.values(state.training);
  return out.take();
}

State from_bytes(std::span<const std::byte> bytes, std::uint64_t identity) {
  core::ByteReader in(bytes);
  if (in.value<std::uint64_t>() != format || in.value<std::uint64_t>() != identity) {
    throw core::InputError(
        "the saved state belongs to another network, configuration, option or set of samples; begin "
        "without it",
        "reconstruction");
  }
  State state;
  state.pass = in.value<Index>();
  state.losses = in.values<double>();
  const auto layers = in.value<std::uint64_t>();
  for (std::uint64_t i = 0; i < layers; ++i) {
    LayerParameters& layer = state.layers.emplace_back();
    layer.weights = in.values<double>();
    layer.bias = in.values<double>();
  }
  const auto reports = in.value<std::uint64_t>();
  for (std::uint64_t i = 0; i < reports; ++i) state.reports.push_back(read_report(in));
  state.training = in.values<std::byte>();
  if (!in.at_end()) throw core::Error("a saved state of a reconstruction is longer than it says", "");
  return state;
}

}  // namespace quantbound::reconstruct::detail
