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
    return observe::uniform_points(planned.domain, plan.study.seed, stream, unit.first_sample, unit.sample_count);
  }
  std::vector<double> points;
  for (Index k = unit.first_sample; k < unit.first_sample + unit.sample_count; ++k) {
    const auto& region = planned.regions[static_cast<std::size_t>(k % regions)];
    const auto point = observe::uniform_points(region, plan.study.seed, stream, k, 1);
    points.insert(points.end(), point.begin(), point.end());
  }
  return points;
}

/// Samples and labels.
struct Block {
  std::vector<double> inputs;
  std::vector<Index> labels;
};

Block read_block(const Plan& plan, const PlannedNetwork& planned, const Unit& unit) {
  const auto& entry = plan.samples[static_cast<std::size_t>(unit.samples)];
  if (!entry.set) return {.inputs = uniform_block(plan, planned, unit), .labels = {}};
  Block block{.inputs = entry.set->block(planned.graph.input_shape(), unit.first_sample, unit.sample_count),
              .labels = {}};
  if (entry.set->has_labels()) {
    const auto first = entry.set->labels().begin() + unit.first_sample;
    block.labels.assign(first, first + unit.sample_count);
  }
  return block;
}

/// Takes the samples at these positions out of the block, in place: what stays moves up.
Block take_out(Block& block, std::span<const Index> positions, std::size_t size) {
  Block taken;
  std::size_t stays = 0, next = 0;
  const std::size_t count = block.inputs.size() / size;
  for (std::size_t i = 0; i < count; ++i) {
    const auto sample = block.inputs.begin() + static_cast<Index>(i * size);
    if (next < positions.size() && static_cast<std::size_t>(positions[next]) == i) {
      taken.inputs.insert(taken.inputs.end(), sample, sample + static_cast<Index>(size));
      if (!block.labels.empty()) taken.labels.push_back(block.labels[i]);
      ++next;
    } else {
      if (stays != i) std::copy_n(sample, size, block.inputs.begin() + static_cast<Index>(stays * size));
      if (!block.labels.empty()) block.labels[stays] = block.labels[i];
      ++stays;
    }
  }
  block.inputs.resize(stays * size);
  if (!block.labels.empty()) block.labels.resize(stays);
  return taken;
}

ObserveResult run_observe(const Plan& plan, const PlannedNetwork& planned, const network::Network& network,
                          const Unit& unit) {
  const auto size = static_cast<std::size_t>(elements(planned.graph.input_shape()));
  Block block = read_block(plan, planned, unit);
  ObserveResult result;
  Index layer_samples = 0;  // inside the domain, among the first of the set
  for (Index i = 0; i < unit.sample_count; ++i) {
    if (!in_domain(planned, std::span(block.inputs).subspan(static_cast<std::size_t>(i) * size, size))) {
      result.outside_positions.push_back(i);
    } else if (unit.first_sample + i < plan.study.layer_samples) {
      ++layer_samples;
    }
  }
  const Block outside = take_out(block, result.outside_positions, size);
  const auto configurations = std::span(plan.configurations)
                                  .subspan(static_cast<std::size_t>(unit.first), static_cast<std::size_t>(unit.count));
  const auto measure = [&](const Block& samples, Index by_layer) {
    return observe::observe(planned.graph, network.layers, configurations, samples.inputs, samples.labels,
                            {.precision = plan.study.precision, .layer_samples = by_layer});
  };
  result.inside = measure(block, layer_samples);
  result.outside = measure(outside, 0);
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

/// The seed of a region's search is that of its name: adding a network or a configuration changes no other number.
AttackResult TaskRunner::run_attack(const PlannedNetwork& planned, const network::Network& network,
                                    const Unit& unit) const {
  observe::AttackOptions options = *plan_->study.attack;
  options.seed = core::hash64(fmt::format("{} attack {} {}", plan_->study.seed, planned.study.label, unit.region));
  options.group = unit.group;
  options.groups = unit.groups;
  options.stop = stop_;
  const Box& region = planned.regions[static_cast<std::size_t>(unit.region)];
  AttackResult result;
  for (Index c = unit.first; c < unit.first + unit.count; ++c) {
    const auto quantized =
        quantize::quantize_layers(network.layers, plan_->configurations[static_cast<std::size_t>(c)]);
    const auto found = observe::attack(planned.graph, network.layers, quantized, region, options);
    if (found.stopped) throw Stopped{};
    result.deviation.push_back(found.deviation);
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
        result.result = run_attack(planned, loaded, unit);
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
