#include "quantbound/sweep/task.hpp"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/hash.hpp"
#include "quantbound/quantize/quantize.hpp"

namespace quantbound::sweep {

namespace {

using tensor::elements;

NormsResult run_norms(const Plan& plan, const PlannedNetwork& planned, const network::Network& network,
                      const Unit& unit) {
  const auto shapes = bounds::layer_shapes(planned.graph);
  NormsResult result;
  for (Index l = unit.first; l < unit.first + unit.count; ++l) {
    const auto layer = static_cast<std::size_t>(l);
    result.layers.push_back(
        bounds::measure_layer(network.layers[layer], shapes[layer], l,
                              quantize::at_layer(plan.configurations, l, std::ssize(network.layers))));
  }
  return result;
}

WeightBoundsResult run_weight_bounds(const Plan& plan, const PlannedNetwork& planned, const network::Network& network,
                                     const Unit& unit) {
  const auto domain = bounds::make_domain(planned.graph, planned.domain);
  WeightBoundsResult result;
  for (Index c = unit.first; c < unit.first + unit.count; ++c) {
    const auto quantized = quantize::quantize_layers(network.layers, plan.configurations[static_cast<std::size_t>(c)]);
    auto& bounds = result.configurations.emplace_back();
    for (const auto& theory : bounds::theories()) {
      if (!theory.reads_weights() || std::ranges::find(plan.study.theories, theory.name) == plan.study.theories.end())
        continue;
      const bounds::WeightInput input{planned.graph, domain, network.layers, quantized};
      bounds.push_back({.theory = std::string(theory.name), .result = evaluate(theory, input)});
    }
  }
  return result;
}

bool inside(const Box& box, std::span<const double> point) {
  for (std::size_t i = 0; i < point.size(); ++i) {
    if (point[i] < box.low[i] || point[i] > box.high[i]) return false;
  }
  return true;
}

bool in_domain(const PlannedNetwork& planned, std::span<const double> point) {
  return std::ranges::any_of(planned.regions, [&](const Box& region) { return inside(region, point); });
}

/// Uniform points of the domain: point k lies in region k mod (number of regions).
std::vector<double> uniform_block(const Plan& plan, const PlannedNetwork& planned, const Unit& unit) {
  const auto regions = static_cast<Index>(planned.regions.size());
  const auto stream = core::hash64(planned.study.label);
  if (regions == 1) {
    return observe::uniform_points(planned.domain, plan.study.seed, stream, unit.first, unit.count);
  }
  std::vector<double> points;
  for (Index k = unit.first; k < unit.first + unit.count; ++k) {
    const auto& region = planned.regions[static_cast<std::size_t>(k % regions)];
    const auto point = observe::uniform_points(region, plan.study.seed, stream, k, 1);
    points.insert(points.end(), point.begin(), point.end());
  }
  return points;
}

/// Samples and labels of a block, those inside the domain apart from the others.
struct Block {
  std::vector<double> inputs;
  std::vector<Index> labels;
};

ObserveResult run_observe(const Plan& plan, const PlannedNetwork& planned, const network::Network& network,
                          const Unit& unit) {
  const auto& entry = plan.samples[static_cast<std::size_t>(unit.samples)];
  const auto size = static_cast<std::size_t>(elements(planned.graph.input_shape()));
  const std::vector<double> inputs = entry.set ? entry.set->block(planned.graph.input_shape(), unit.first, unit.count)
                                               : uniform_block(plan, planned, unit);
  Block in, out;
  for (std::size_t i = 0; i < static_cast<std::size_t>(unit.count); ++i) {
    const std::span<const double> point(inputs.data() + i * size, size);
    Block& block = in_domain(planned, point) ? in : out;
    block.inputs.insert(block.inputs.end(), point.begin(), point.end());
    if (entry.set && entry.set->has_labels()) {
      block.labels.push_back(entry.set->labels()[static_cast<std::size_t>(unit.first) + i]);
    }
  }
  const auto measure = [&](const Block& block) {
    return observe::observe(
        planned.graph, network.layers, plan.configurations, block.inputs, block.labels,
        {.precision = plan.study.precision, .layer_samples = static_cast<Index>(block.inputs.size() / size)});
  };
  return {.inside = measure(in), .outside = measure(out)};
}

/// The seed of a region's search is that of its name: adding a network or a configuration changes no other number.
AttackResult run_attack(const Plan& plan, const PlannedNetwork& planned, const network::Network& network,
                        const Unit& unit) {
  observe::AttackOptions options = *plan.study.attack;
  options.seed = core::hash64(fmt::format("{} attack {} {}", plan.study.seed, planned.study.label, unit.region));
  const Box& region = planned.regions[static_cast<std::size_t>(unit.region)];
  AttackResult result;
  for (Index c = unit.first; c < unit.first + unit.count; ++c) {
    const auto quantized = quantize::quantize_layers(network.layers, plan.configurations[static_cast<std::size_t>(c)]);
    result.deviation.push_back(observe::attack(planned.graph, network.layers, quantized, region, options).deviation);
  }
  return result;
}

}  // namespace

CertifyResult TaskRunner::run_certify(const PlannedNetwork& planned, const network::Network& network,
                                      const Unit& unit) const {
  const auto method = plan_->study.methods[static_cast<std::size_t>(unit.method)];
  const Box& region = planned.regions[static_cast<std::size_t>(unit.region)];
  certify::MethodOptions options = plan_->study.certify;
  options.stop = stop_;
  CertifyResult result;
  for (Index c = unit.first; c < unit.first + unit.count; ++c) {
    const auto pair = certify::make_pair(network, plan_->configurations[static_cast<std::size_t>(c)]);
    auto& [not_applicable, certificate] = result.configurations.emplace_back();
    not_applicable = certify::not_applicable(method, pair, options);
    if (!not_applicable.empty()) continue;
    certificate = certify::certify(method, pair, region, options);
    if (certificate.timed_out && stop_ && stop_()) throw Stopped{};
  }
  return result;
}

const network::Network& TaskRunner::network(Index index) {
  if (loaded_index_ != index) {
    loaded_ = load(plan_->networks[static_cast<std::size_t>(index)]);
    loaded_index_ = index;
  }
  return *loaded_;
}

UnitResult TaskRunner::run_unit(const Task& task, const Unit& unit) {
  const auto start = std::chrono::steady_clock::now();
  UnitResult result;
  try {
    const auto& planned = plan_->networks[static_cast<std::size_t>(task.network)];
    const auto& loaded = network(task.network);
    switch (unit.stage) {
      case Stage::norms:
        result.result = run_norms(*plan_, planned, loaded, unit);
        break;
      case Stage::weight_bounds:
        result.result = run_weight_bounds(*plan_, planned, loaded, unit);
        break;
      case Stage::certify:
        result.result = run_certify(planned, loaded, unit);
        break;
      case Stage::attack:
        result.result = run_attack(*plan_, planned, loaded, unit);
        break;
      case Stage::observe:
        result.result = run_observe(*plan_, planned, loaded, unit);
        break;
    }
  } catch (const core::Error& error) {
    result.result = Failure{error.what()};
  } catch (const std::bad_alloc&) {
    result.result = Failure{"out of memory"};
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

std::optional<Record> TaskRunner::run(std::size_t index) {
  const Task& task = plan_->tasks[index];
  Record record;
  try {
    for (const auto& unit : task.units) record.units.push_back(run_unit(task, unit));
  } catch (const Stopped&) {
    return std::nullopt;
  }
  return record;
}

}  // namespace quantbound::sweep
