#include "quantbound/sweep/task.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <map>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/hash.hpp"
#include "quantbound/quantize/quantize.hpp"

#include "merge_observations.hpp"
#include "pair_source.hpp"

namespace quantbound::sweep {

namespace {

using tensor::elements;

/// Norms of a layer of f_q whose weights are given; the step is that of the grids on which they lie.
bounds::QuantizedLayerNorms norms_of_given(const network::LayerParameters& original, const bounds::LayerNorms& norms,
                                           const network::LayerParameters& quantized, const bounds::LayerShape& shape,
                                           Index layer, const quantize::Configuration& configuration) {
  auto result = bounds::measure_pair(original, norms, quantized, shape, layer);
  for (const auto& grid : quantize::choose_grids(original, configuration).weights) {
    result.step_max = std::max(result.step_max, grid.step);
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

/// Calibration samples as the float engine takes them; sets are rounded to float when they are read.
std::vector<float> calibration_inputs(const PlannedNetwork& planned) {
  constexpr Index block_numbers = Index{1} << 22;
  const auto& shape = planned.graph.input_shape();
  const Index count = planned.calibration->count(), block = std::max<Index>(1, block_numbers / elements(shape));
  std::vector<float> inputs;
  inputs.reserve(static_cast<std::size_t>(count * elements(shape)));
  for (Index first = 0; first < count; first += block) {
    for (const double value : planned.calibration->block(shape, first, std::min(block, count - first))) {
      inputs.push_back(static_cast<float>(value));
    }
  }
  return inputs;
}

ReconstructResult result_of(const reconstruct::Reconstruction& reconstruction) {
  ReconstructResult result;
  for (const auto& report : reconstruction.modules) {
    result.modules.push_back({.layers = report.module.layers,
                              .output = report.module.output,
                              .loss_round = report.loss_round,
                              .loss = report.loss,
                              .settled = report.settled,
                              .kept_rounding = static_cast<std::uint8_t>(report.kept_rounding ? 1 : 0)});
  }
  return result;
}

/// Rounding rules make their weights anew wherever they are needed: of those only the losses are measured.
bool leaves_weights(const Study& study, const Unit& unit) { return quantizer_of(study, unit.first).method.has_value(); }

bool equal(std::span<const network::LayerParameters> a, std::span<const network::LayerParameters> b) {
  return std::ranges::equal(
      a, b, [](const auto& one, const auto& other) { return one.weights == other.weights && one.bias == other.bias; });
}

}  // namespace

/// The shelf could not be read or written: no unit is to blame, and nothing is recorded.
struct TaskRunner::ShelfFailed {
  std::exception_ptr cause;
};

namespace {

/// What `action` returns; its errors are those of the shelf.
template <class Failed, class Action>
auto on_shelf(const Action& action) {
  try {
    return action();
  } catch (...) {
    throw Failed{std::current_exception()};
  }
}

}  // namespace

TaskRunner::TaskRunner(const Plan& plan)
    : plan_(&plan), own_shelf_(std::make_unique<MemoryShelf>()), shelf_(own_shelf_.get()) {}
TaskRunner::TaskRunner(const Plan& plan, Shelf& shelf, TaskWatch watch)
    : plan_(&plan), shelf_(&shelf), watch_(std::move(watch)) {}
TaskRunner::~TaskRunner() = default;

reconstruct::Reconstruction TaskRunner::reconstruct_configuration(Index network, Index configuration) {
  const auto& planned = plan_->networks[static_cast<std::size_t>(network)];
  const auto& quantizer = quantizer_of(plan_->study, configuration);
  const std::string state = detail::state_name(network, configuration);
  if (calibration_.empty()) calibration_ = calibration_inputs(planned);
  reconstruct::Watch watch;
  if (watch_.progress) {
    watch.progress = [&](const reconstruct::Progress& progress) {
      watch_.progress({network, configuration, progress});
    };
  }
  watch.stop = watch_.stop;
  watch.save_seconds = watch_.save_seconds;
  watch.save = [&](std::span<const std::byte> bytes) { on_shelf<ShelfFailed>([&] { shelf_->write(state, bytes); }); };
  if (auto saved = on_shelf<ShelfFailed>([&] { return shelf_->read(state); })) watch.saved = std::move(*saved);
  const auto& planned_configuration = plan_->configurations[static_cast<std::size_t>(configuration)];
  return reconstruct::reconstruct(pairs(network).network(), planned_configuration, *module_method(quantizer),
                                  {calibration_, planned.calibration->count()},
                                  options_of(quantizer, plan_->study.reconstruct, planned_configuration.seed), watch);
}

ReconstructResult TaskRunner::run_reconstruct(const Task& task, const Unit& unit) {
  const std::string name = detail::pair_name(task.network, unit.first);
  // What is there already was made by a run that was killed before it could record it.
  if (const auto bytes = on_shelf<ShelfFailed>([&] { return shelf_->read(name); })) {
    const auto pair = detail::stored_pair_from_bytes(*bytes);
    if (!pair.failure.empty()) throw core::Error(pair.failure, "");
    return pair.result;
  }
  const auto keep = [&](const detail::StoredPair& pair) {
    if (!leaves_weights(plan_->study, unit)) return;
    on_shelf<ShelfFailed>([&] { shelf_->write(name, detail::to_bytes(pair)); });
  };
  detail::StoredPair pair;
  try {
    const auto made = reconstruct_configuration(task.network, unit.first);
    if (made.stopped) throw Stopped{};
    pair.result = result_of(made);
    if (!equal(made.original, pairs(task.network).network().layers)) pair.original = detail::pack(made.original);
    pair.quantized = detail::pack(made.quantized);
  } catch (const core::Error& error) {
    keep({.failure = error.what()});
    throw;
  } catch (const std::bad_alloc&) {
    keep({.failure = "out of memory"});
    throw;
  }
  keep(pair);
  on_shelf<ShelfFailed>([&] { shelf_->remove(detail::state_name(task.network, unit.first)); });
  return pair.result;
}

/// The weights of all configurations that the unit is about.
void TaskRunner::fetch(const Unit& unit) {
  const bool all = unit.stage == Stage::norms;
  const Index first = all ? 0 : unit.first, count = all ? std::ssize(plan_->configurations) : unit.count;
  on_shelf<ShelfFailed>([&] {
    for (Index c = first; c < first + count; ++c) pairs_->fetch(c);
  });
}

/// Rounded configurations are measured in one pass over the weights, the others one by one.
NormsResult TaskRunner::run_norms(const PlannedNetwork& planned, const Unit& unit) const {
  const auto shapes = bounds::layer_shapes(planned.graph);
  const auto& layers = pairs_->network().layers;
  std::vector<quantize::Configuration> rounded;
  for (Index c = 0; c < std::ssize(plan_->configurations); ++c) {
    if (!pairs_->is_reconstructed(c)) rounded.push_back(plan_->configurations[static_cast<std::size_t>(c)]);
  }
  NormsResult result;
  for (Index l = unit.first; l < unit.first + unit.count; ++l) {
    const auto layer = static_cast<std::size_t>(l);
    auto report =
        bounds::measure_layer(layers[layer], shapes[layer], l, quantize::at_layer(rounded, l, std::ssize(layers)));
    std::map<std::size_t, bounds::LayerNorms> versions{{0, report.norms}};
    for (Index c = 0; c < std::ssize(plan_->configurations); ++c) {
      if (!pairs_->is_reconstructed(c)) continue;
      const auto& original = pairs_->original(c)[layer];
      const auto [own, added] = versions.try_emplace(pairs_->version(c));
      if (added) own->second = bounds::measure_original(original, shapes[layer], l);
      const auto configuration =
          quantize::at_layer(plan_->configurations[static_cast<std::size_t>(c)], l, std::ssize(layers));
      report.quantized.insert(
          report.quantized.begin() + c,
          norms_of_given(original, own->second, pairs_->quantized_layer(c, l), shapes[layer], l, configuration));
      if (own->first != 0) result.equalized.push_back({.configuration = c, .layer = l, .norms = own->second});
    }
    result.layers.push_back(std::move(report));
  }
  return result;
}

WeightBoundsResult TaskRunner::run_weight_bounds(const PlannedNetwork& planned, const Unit& unit) const {
  const auto domain = bounds::make_domain(planned.graph, planned.domain);
  WeightBoundsResult result;
  for (Index c = unit.first; c < unit.first + unit.count; ++c) {
    const auto quantized = pairs_->quantized(c);
    auto& bounds = result.configurations.emplace_back();
    for (const auto& theory : bounds::theories()) {
      const auto& wanted = plan_->study.theories;
      if (!theory.reads_weights() || std::ranges::find(wanted, theory.name) == wanted.end()) continue;
      const bounds::WeightInput input{planned.graph, domain, pairs_->original(c), quantized};
      bounds.push_back({.theory = std::string(theory.name), .result = evaluate(theory, input)});
    }
  }
  return result;
}

CertifyResult TaskRunner::run_certify(const PlannedNetwork& planned, const Unit& unit) const {
  const auto method = plan_->study.methods[static_cast<std::size_t>(unit.method)];
  const Box& region = planned.regions[static_cast<std::size_t>(unit.region)];
  certify::MethodOptions options = plan_->study.certify;
  options.stop = watch_.stop;
  CertifyResult result;
  for (Index c = unit.first; c < unit.first + unit.count; ++c) {
    const auto original = pairs_->original(c);
    const auto pair = certify::make_pair(pairs_->network().name, planned.graph, {original.begin(), original.end()},
                                         pairs_->quantized(c));
    auto& [not_applicable, certificate] = result.configurations.emplace_back();
    not_applicable = certify::not_applicable(method, pair, options);
    if (!not_applicable.empty()) continue;
    certificate = certify::certify(method, pair, region, options);
    if (certificate.timed_out && watch_.stop && watch_.stop()) throw Stopped{};
  }
  return result;
}

/// The seed of a region's search is that of its name: adding a network or a configuration changes no other number.
AttackResult TaskRunner::run_attack(const PlannedNetwork& planned, const Unit& unit) const {
  observe::AttackOptions options = *plan_->study.attack;
  options.seed = core::hash64(fmt::format("{} attack {} {}", plan_->study.seed, planned.study.label, unit.region));
  options.group = unit.group;
  options.groups = unit.groups;
  options.stop = watch_.stop;
  const Box& region = planned.regions[static_cast<std::size_t>(unit.region)];
  AttackResult result;
  for (Index c = unit.first; c < unit.first + unit.count; ++c) {
    const auto found = observe::attack(planned.graph, pairs_->original(c), pairs_->quantized(c), region, options);
    if (found.stopped) throw Stopped{};
    result.deviation.push_back(found.deviation);
  }
  return result;
}

/// Configurations that are compared with other weights of f are observed beside those: what the layers do depends on
/// the weights of f, what the network does does not.
ObserveResult TaskRunner::run_observe(const PlannedNetwork& planned, const Unit& unit) const {
  const auto size = static_cast<std::size_t>(elements(planned.graph.input_shape()));
  Block block = read_block(*plan_, planned, unit);
  ObserveResult result;
  Index layer_samples = 0;  // inside the domain, among the first of the set
  for (Index i = 0; i < unit.sample_count; ++i) {
    if (!in_domain(planned, std::span(block.inputs).subspan(static_cast<std::size_t>(i) * size, size))) {
      result.outside_positions.push_back(i);
    } else if (unit.first_sample + i < plan_->study.layer_samples) {
      ++layer_samples;
    }
  }
  const Block outside = take_out(block, result.outside_positions, size);
  std::map<std::size_t, std::vector<Index>> versions;  // of f: positions of the unit's configurations
  for (Index i = 0; i < unit.count; ++i) versions[pairs_->version(unit.first + i)].push_back(i);
  const auto measure = [&](const Block& samples, Index by_layer) {
    std::vector<detail::ObservedPart> parts;
    for (const auto& [version, positions] : versions) {
      std::vector<observe::LayerSource> sources;
      for (const Index i : positions) {
        sources.emplace_back([this, c = unit.first + i](Index layer) { return pairs_->quantized_layer(c, layer); });
      }
      parts.push_back({positions, observe::observe(planned.graph, pairs_->original(unit.first + positions.front()),
                                                   sources, samples.inputs, samples.labels,
                                                   {.precision = plan_->study.precision, .layer_samples = by_layer})});
    }
    return detail::merge(std::move(parts));
  };
  result.inside = measure(block, layer_samples);
  result.outside = measure(outside, 0);
  return result;
}

detail::PairSource& TaskRunner::pairs(Index network) {
  if (loaded_ != network) {
    pairs_.reset();  // before another network takes memory
    calibration_.clear();
    pairs_ = std::make_unique<detail::PairSource>(*plan_, network, *shelf_);
    loaded_ = network;
  }
  return *pairs_;
}

UnitResult TaskRunner::run_unit(const Task& task, const Unit& unit) {
  const auto start = std::chrono::steady_clock::now();
  UnitResult result;
  try {
    const auto& planned = plan_->networks[static_cast<std::size_t>(task.network)];
    pairs(task.network);
    if (unit.stage != Stage::reconstruct) {
      calibration_ = {};
      fetch(unit);
    }
    switch (unit.stage) {
      case Stage::reconstruct:
        result.result = run_reconstruct(task, unit);
        break;
      case Stage::norms:
        result.result = run_norms(planned, unit);
        break;
      case Stage::weight_bounds:
        result.result = run_weight_bounds(planned, unit);
        break;
      case Stage::certify:
        result.result = run_certify(planned, unit);
        break;
      case Stage::attack:
        result.result = run_attack(planned, unit);
        break;
      case Stage::observe:
        result.result = run_observe(planned, unit);
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
  } catch (const ShelfFailed& failed) {
    std::rethrow_exception(failed.cause);
  }
  return record;
}

bool weights_are_missing(const Plan& plan, const Shelf& shelf, const Task& task) {
  const Unit& unit = task.units.front();
  if (!leaves_weights(plan.study, unit)) return false;
  return !shelf.read(detail::pair_name(task.network, unit.first)).has_value();
}

}  // namespace quantbound::sweep
