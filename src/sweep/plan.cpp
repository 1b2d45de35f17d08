#include "quantbound/sweep/plan.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>
#include <numeric>
#include <span>

#include <fmt/format.h>

#include "quantbound/bounds/theory.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/hash.hpp"
#include "quantbound/core/version.hpp"
#include "quantbound/network/families.hpp"
#include "quantbound/network/readers.hpp"
#include "quantbound/sweep/dataset_schema.hpp"

#include "certify_cost.hpp"
#include "reconstruct_cost.hpp"

namespace quantbound::sweep {

namespace {

using core::InputError;
using tensor::elements;

/// Seconds of one core per elementary step: measured once, used for balance and ETA only.
namespace seconds {
constexpr double norm_per_weight = 1.5e-9;         ///< one configuration, one weight
constexpr double pass_per_multiply_add = 0.25e-9;  ///< one pass with absolute weights in double
constexpr double float_per_multiply_add = 0.012e-9;
constexpr double double_per_multiply_add = 0.2e-9;
constexpr double quantize_per_weight = 1e-9;
constexpr double set_per_weight = 20e-9;  ///< into the layout of a kernel: up to 30 ns where it is transformed, else 1
constexpr double per_pass = 1e-6;         ///< of one sample through a network without multiply-adds
constexpr double engines = 0.1;           ///< making them, once per unit
constexpr double layer_passes = 6.0, probes = 5.0;
constexpr double generate_per_weight = 30e-9;  ///< synthetic weights
/// Tasks are cut near this size: small enough to balance, large enough that reading the network does not count.
constexpr double per_task = 1.0;
}  // namespace seconds

/// The program itself with the libraries of MPI, HDF5 and oneDNN: measured.
constexpr double process_bytes = 40e6;

/// SHA-256 of a file, in bounded memory.
std::string file_hash(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw InputError("cannot read the file", path);
  core::Sha256 hash;
  std::vector<char> piece(std::size_t{1} << 20);
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    hash.add(std::as_bytes(std::span(piece.data(), static_cast<std::size_t>(file.gcount()))));
  }
  if (!file.eof()) throw core::IoError("cannot read the file", path);
  return hash.hex();
}

// ------------------------------------------------------------------------------------------------------- networks

LayerInfo layer_info(const network::Node& node) {
  LayerInfo info{.name = node.name, .op = std::string(operator_name(node.op))};
  if (const auto* convolution = std::get_if<network::Convolution>(&node.op)) {
    const auto& g = convolution->geometry;
    info.fan_in = g.fan_in();
    info.fan_in_dense = g.fan_in() * g.groups;
    info.parameters = g.weight_count() + g.channels_out;
  } else {
    const auto& dense = std::get<network::Dense>(node.op);
    info.fan_in = info.fan_in_dense = dense.inputs;
    info.parameters = dense.inputs * dense.outputs + dense.outputs;
  }
  return info;
}

void describe_graph(PlannedNetwork& planned) {
  for (const auto id : planned.graph.weight_layers()) {
    const auto& node = planned.graph.nodes[static_cast<std::size_t>(id)];
    planned.layers.push_back(layer_info(node));
    planned.parameters += planned.layers.back().parameters;
  }
  planned.multiply_adds = static_cast<Index>(detail::measure(planned.graph).multiply_adds);
  if (planned.layers.empty()) {
    throw InputError(fmt::format("network '{}' has no weight layer to quantize", planned.study.label),
                     planned.study.where);
  }
}

std::vector<double> per_input(const std::vector<double>& given, Index inputs, const StudyNetwork& network) {
  if (given.size() == 1) return std::vector<double>(static_cast<std::size_t>(inputs), given.front());
  if (static_cast<Index>(given.size()) == inputs) return given;
  throw InputError(
      fmt::format("the domain of network '{}' has {} numbers, its input {}; give one number or one per input",
                  network.label, given.size(), inputs),
      network.where);
}

Box ball(const std::vector<double>& centre, const BallDomain& domain) {
  Box box;
  for (const double x : centre) {
    double low = x - domain.radius, high = x + domain.radius;
    if (domain.clip) {
      low = std::clamp(low, domain.clip->first, domain.clip->second);
      high = std::clamp(high, domain.clip->first, domain.clip->second);
    }
    box.low.push_back(low);
    box.high.push_back(high);
  }
  return box;
}

const observe::SampleSet& find_set(const std::vector<SampleAxisEntry>& samples, const std::string& name) {
  const auto found = std::ranges::find(samples, name, &SampleAxisEntry::name);
  return *found->set;
}

struct ResolveDomain {
  const PlannedNetwork& planned;
  const std::vector<SampleAxisEntry>& samples;
  const std::optional<Box>& file_box;

  Index inputs() const { return elements(planned.graph.input_shape()); }

  std::vector<Box> operator()(const FileDomain&) const {
    if (file_box) return {*file_box};
    throw InputError(
        fmt::format("network '{}' has no domain; add domain = {{ low = ..., high = ... }}", planned.study.label),
        planned.study.where);
  }
  std::vector<Box> operator()(const BoxDomain& box) const {
    return {
        Box{.low = per_input(box.low, inputs(), planned.study), .high = per_input(box.high, inputs(), planned.study)}};
  }
  std::vector<Box> operator()(const VnnlibDomain& vnnlib) const {
    return {network::read_vnnlib_box(vnnlib.path, inputs())};
  }
  std::vector<Box> operator()(const BallDomain& domain) const {
    const auto& set = find_set(samples, domain.samples);
    const auto& shape = planned.graph.input_shape();
    set.require_fits(shape, planned.study.label);
    if (domain.count > set.count()) {
      throw InputError(
          fmt::format("{} balls around samples '{}', which has {}", domain.count, domain.samples, set.count()),
          planned.study.where);
    }
    std::vector<Box> regions;
    for (Index i = 0; i < domain.count; ++i) regions.push_back(ball(set.block(shape, i, 1), domain));
    return regions;
  }
};

Box hull(const std::vector<Box>& regions) {
  Box box = regions.front();
  for (const auto& region : regions) {
    for (std::size_t i = 0; i < box.low.size(); ++i) {
      box.low[i] = std::min(box.low[i], region.low[i]);
      box.high[i] = std::max(box.high[i], region.high[i]);
    }
  }
  return box;
}

/// What the `region` axis calls the pieces: "box", "file", the name of the property, or set[row] of the centre.
std::vector<std::string> region_names(const Domain& domain, std::size_t count) {
  if (std::holds_alternative<FileDomain>(domain)) return {"file"};
  if (std::holds_alternative<BoxDomain>(domain)) return {"box"};
  if (const auto* vnnlib = std::get_if<VnnlibDomain>(&domain))
    return {std::filesystem::path(vnnlib->path).stem().string()};
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i)
    names.push_back(fmt::format("{}[{}]", std::get<BallDomain>(domain).samples, i));
  return names;
}

PlannedNetwork plan_network(const StudyNetwork& study, const std::vector<SampleAxisEntry>& samples) {
  PlannedNetwork planned{.study = study};
  std::optional<Box> file_box;
  if (const auto* point = std::get_if<network::FamilyPoint>(&study.origin)) {
    planned.graph = network::make_graph(*point);
    planned.sha256 =
        core::sha256_hex(std::string_view(fmt::format("{} seed {} inputs {} outputs {} resolution {}", study.label,
                                                      point->seed, point->inputs, point->outputs, point->resolution)));
  } else {
    const auto& path = std::get<std::filesystem::path>(study.origin);
    network::Network network = network::read_network(path, {.input_shape = study.input_shape});
    planned.graph = std::move(network.graph);
    planned.notes = std::move(network.notes);
    file_box = std::move(network.domain);
    planned.sha256 = file_hash(path.string());
  }
  describe_graph(planned);
  planned.regions =
      std::visit(ResolveDomain{.planned = planned, .samples = samples, .file_box = file_box}, study.domain);
  planned.region_names = region_names(study.domain, planned.regions.size());
  planned.domain = hull(planned.regions);
  return planned;
}

/// Modules of another kind than layers, as the study wants them; none where it wants layers.
std::vector<reconstruct::Module> larger_modules(const network::Graph& graph, const reconstruct::Options& options) {
  if (!options.named.empty()) return reconstruct::named_modules(graph, options.named, "[reconstruct] modules");
  if (options.modules == reconstruct::ModuleKind::layer) return {};
  return reconstruct::find_modules(graph, options.modules);
}

/// The runs of [reconstruct] join all modules of the network, neighbours that can be one.
void require_runs_fit(const PlannedNetwork& planned, std::span<const reconstruct::Module> modules,
                      std::span<const Index> runs) {
  if (runs.empty()) return;
  const Index sum = std::accumulate(runs.begin(), runs.end(), Index{0});
  if (sum != std::ssize(modules)) {
    throw InputError(fmt::format("the `runs` of [reconstruct] have {} modules together, network '{}' has {}", sum,
                                 planned.study.label, modules.size()),
                     planned.study.where);
  }
  std::size_t first = 0;
  for (const Index run : runs) {
    const auto last = first + static_cast<std::size_t>(run) - 1;
    for (std::size_t next = first + 1; next <= last; ++next) {
      if (may_merge(planned.graph, modules[first], modules[next])) continue;
      throw InputError(
          fmt::format("the `runs` of [reconstruct] join '{}' and '{}' of network '{}', which cannot be one "
                      "module: another value is read within or from outside",
                      modules[first].name, modules[next].name, planned.study.label),
          planned.study.where);
    }
    first = last + 1;
  }
}

/// Calibration samples and the modules that are reported, where the study has a method.
void plan_reconstruction(PlannedNetwork& planned, const Study& study, const std::vector<SampleAxisEntry>& samples) {
  if (!reconstructs(study)) return;
  planned.calibration = find_set(samples, planned.study.calibration);
  planned.calibration->require_fits(planned.graph.input_shape(), planned.study.label);
  for (const auto& quantizer : study.quantizers) {
    if (!quantizer.method) continue;
    const auto options = options_of(quantizer, study.reconstruct, study.seed);
    reconstruct::check_options(*quantizer.method, planned.calibration->count(), options);
  }
  const auto add = [&](const std::string& kind, const std::vector<reconstruct::Module>& modules) {
    for (std::size_t m = 0; m < modules.size(); ++m) {
      planned.modules.push_back({.kind = kind, .position = static_cast<Index>(m), .module = modules[m]});
    }
  };
  const auto layers = reconstruct::find_modules(planned.graph, reconstruct::ModuleKind::layer);
  const auto larger = larger_modules(planned.graph, study.reconstruct);
  require_runs_fit(planned, larger.empty() ? layers : larger, study.reconstruct.runs);
  add("layer", layers);
  if (larger == layers) return;
  add(study.reconstruct.named.empty() ? std::string(to_string(study.reconstruct.modules)) : "named", larger);
}

// ------------------------------------------------------------------------------------------------------------ work

std::vector<Unit> cut_norms(const PlannedNetwork& network, double configurations) {
  std::vector<Unit> units;
  Unit unit{.stage = Stage::norms};
  for (std::size_t l = 0; l < network.layers.size(); ++l) {
    ++unit.count;
    unit.cost += static_cast<double>(network.layers[l].parameters) * configurations * seconds::norm_per_weight;
    if (unit.cost >= seconds::per_task || l + 1 == network.layers.size()) {
      units.push_back(unit);
      unit = {.stage = Stage::norms, .first = static_cast<Index>(l) + 1};
    }
  }
  return units;
}

/// Passes over the network that the study's theories of weights take per configuration.
double weight_theory_passes(const Study& study) {
  double passes = 0.0;
  for (const auto& name : study.theories) {
    const auto* theory = bounds::find_theory(name);
    if (theory->reads_weights()) passes += theory->passes;
  }
  return passes;
}

/// Certificates and attacks: region by region, so that what is known of a region comes together.
void cut_regions(std::vector<Unit>& units, const Plan& plan, const PlannedNetwork& network) {
  const auto size = detail::measure(network.graph);
  const double quantize = static_cast<double>(network.parameters) * seconds::quantize_per_weight;
  const auto configurations = static_cast<Index>(plan.configurations.size());
  const auto add = [&](Unit unit, double each) {
    const auto piece = static_cast<Index>(std::clamp(seconds::per_task / each, 1.0, 1e6));
    for (unit.first = 0; unit.first < configurations; unit.first += piece) {
      unit.count = std::min(piece, configurations - unit.first);
      unit.cost = static_cast<double>(unit.count) * each;
      units.push_back(unit);
    }
  };
  for (std::size_t r = 0; r < network.regions.size(); ++r) {
    const auto region = static_cast<Index>(r);
    for (std::size_t m = 0; m < plan.study.methods.size(); ++m) {
      add({.stage = Stage::certify, .region = region, .method = static_cast<Index>(m)},
          quantize + detail::certify_seconds(plan.study.methods[m], size, plan.study.certify));
    }
    if (!plan.study.attack) continue;
    observe::AttackOptions options = *plan.study.attack;
    options.groups = detail::attack_groups(size, options);
    for (Index g = 0; g < options.groups; ++g) {
      add({.stage = Stage::attack, .region = region, .group = g, .groups = options.groups},
          quantize + detail::attack_seconds(size, options));
    }
  }
}

/// What observing costs, in seconds of one core.
struct ObservationCost {
  double per_sample = 0.0;         ///< one network
  double per_layer_sample = 0.0;   ///< beyond that, one configuration
  double per_configuration = 0.0;  ///< quantizing, in every unit
  double per_unit = 0.0;           ///< engines, and what is measured in double to know the error of the floats
};

ObservationCost observation_cost(const Plan& plan, const PlannedNetwork& network) {
  const auto macs = static_cast<double>(network.multiply_adds), weights = static_cast<double>(network.parameters);
  const double in_float = macs * seconds::float_per_multiply_add, in_double = macs * seconds::double_per_multiply_add;
  const bool floats = !observe::runs_in_double(network.graph, plan.study.precision);
  const double pass = floats ? in_float : in_double;
  return {.per_sample = pass + seconds::per_pass,
          .per_layer_sample = seconds::layer_passes * pass,
          .per_configuration = weights * (seconds::quantize_per_weight + (floats ? seconds::set_per_weight : 0.0)),
          .per_unit = floats ? seconds::engines + seconds::probes * in_double : 0.0};
}

/// Samples and configurations of one unit of observation: a second or more of work, so large that what every unit does
/// anew (f, quantizing, engines) stays below a few percent, so small that many ranks find work and the block fits into
/// memory.
struct ObservationCut {
  Index samples = 0, configurations = 0;
};

ObservationCut observation_cut(const Plan& plan, const PlannedNetwork& network) {
  constexpr Index most_configurations = 32, block_numbers = Index{1} << 25;
  constexpr Index share = 4;  // of batches: two or four threads have equally many
  constexpr double overhead = 0.03;
  const Index all = std::ssize(plan.configurations), chunks = (all + most_configurations - 1) / most_configurations;
  const Index configurations = (all + chunks - 1) / chunks;
  const ObservationCost cost = observation_cost(plan, network);
  const double each = static_cast<double>(configurations) * cost.per_sample;
  const double again = static_cast<double>(configurations) * cost.per_configuration + cost.per_unit;
  const auto wanted = static_cast<Index>(std::min(1e9, std::max(seconds::per_task, again / overhead) / each));
  const Index batch = observe::micro_batch(network.graph);
  const Index fitting = std::max<Index>(1, block_numbers / elements(network.graph.input_shape()) / batch);
  Index batches = std::clamp<Index>((wanted + batch - 1) / batch, 1, fitting);
  if (batches >= share) batches -= batches % share;
  return {.samples = batch * batches, .configurations = configurations};
}

void cut_observation(std::vector<Unit>& units, const Plan& plan, const PlannedNetwork& network) {
  const ObservationCut piece = observation_cut(plan, network);
  const ObservationCost cost = observation_cost(plan, network);
  for (std::size_t s = 0; s < plan.samples.size(); ++s) {
    if (!observes(plan, network, static_cast<Index>(s))) continue;
    Unit unit{.stage = Stage::observe, .samples = static_cast<Index>(s)};
    const Index total = plan.samples[s].count, configurations = std::ssize(plan.configurations);
    for (unit.first_sample = 0; unit.first_sample < total; unit.first_sample += piece.samples) {
      unit.sample_count = std::min(piece.samples, total - unit.first_sample);
      const Index by_layer = std::clamp<Index>(plan.study.layer_samples - unit.first_sample, 0, unit.sample_count);
      for (unit.first = 0; unit.first < configurations; unit.first += piece.configurations) {
        unit.count = std::min(piece.configurations, configurations - unit.first);
        const auto count = static_cast<double>(unit.count), samples = static_cast<double>(unit.sample_count);
        unit.cost = cost.per_unit + count * cost.per_configuration + (count + 1.0) * samples * cost.per_sample +
                    count * static_cast<double>(by_layer) * cost.per_layer_sample;
        units.push_back(unit);
      }
    }
  }
}

/// What a unit of observation keeps: the block of samples, and what observe() takes.
double observation_bytes(const Plan& plan, const PlannedNetwork& network, int threads) {
  const ObservationCut piece = observation_cut(plan, network);
  double largest = 0.0;
  for (std::size_t s = 0; s < plan.samples.size(); ++s) {
    if (!observes(plan, network, static_cast<Index>(s))) continue;
    const Index samples = std::min(piece.samples, plan.samples[s].count);
    const observe::ObserveOptions options{.precision = plan.study.precision,
                                          .layer_samples = std::min(plan.study.layer_samples, samples)};
    const auto taken = observe::observe_memory(network.graph, piece.configurations, samples, options);
    const Index block = static_cast<Index>(sizeof(double)) * samples * elements(network.graph.input_shape());
    largest = std::max(largest, static_cast<double>(block + taken.shared + threads * taken.per_thread));
  }
  return largest;
}

/// What a reconstruction keeps: the samples, values of both networks, and both networks' weights.
double reconstruction_bytes(const Plan& plan, const PlannedNetwork& network) {
  const Index samples = network.calibration->count();
  const Index inputs = samples * elements(network.graph.input_shape()) * Index{sizeof(float)};
  Index values = 0;
  for (const auto& quantizer : plan.study.quantizers) {
    if (!quantizer.method) continue;
    const auto options = options_of(quantizer, plan.study.reconstruct, plan.study.seed);
    values = std::max(values, reconstruct::reconstruct_memory(network.graph, samples, *quantizer.method, options));
  }
  return static_cast<double>(inputs + values) + 2.0 * sizeof(double) * static_cast<double>(network.parameters);
}

/// Reconstructed weights that are at hand while other stages work on the network: a byte each, and f's own after an
/// equalization.
double kept_bytes(const Plan& plan, const PlannedNetwork& network) {
  const auto weights = static_cast<double>(network.parameters);
  double bytes = reconstructs(plan.study) ? sizeof(double) * weights : 0.0;
  for (Index c = 0; c < std::ssize(plan.configurations); ++c) {
    if (quantizer_of(plan.study, c).method) bytes += weights;
  }
  return bytes;
}

std::vector<Unit> cut(const Plan& plan, const PlannedNetwork& network) {
  const auto configurations = static_cast<double>(plan.configurations.size());
  const auto macs = static_cast<double>(network.multiply_adds), weights = static_cast<double>(network.parameters);
  std::vector<Unit> units = cut_norms(network, configurations);
  const auto passes = weight_theory_passes(plan.study);
  if (passes > 0.0) {
    const double each = passes * macs * seconds::pass_per_multiply_add + weights * seconds::quantize_per_weight;
    const Index piece = std::max<Index>(1, static_cast<Index>(seconds::per_task / std::max(each, 1e-9)));
    for (Index first = 0; first < std::ssize(plan.configurations); first += piece) {
      const Index count = std::min(piece, std::ssize(plan.configurations) - first);
      const double cost = static_cast<double>(count) * each;
      units.push_back({.stage = Stage::weight_bounds, .first = first, .count = count, .cost = cost});
    }
  }
  cut_regions(units, plan, network);
  cut_observation(units, plan, network);
  return units;
}

/// Of every configuration that a method makes, or that is measured beside those. Each is a task by itself.
void add_reconstructions(Plan& plan, Index network, double load_cost) {
  const auto& planned = plan.networks[static_cast<std::size_t>(network)];
  if (!reconstructs(plan.study)) return;
  for (Index c = 0; c < std::ssize(plan.configurations); ++c) {
    const auto method = module_method(quantizer_of(plan.study, c));
    if (!method) continue;
    const double cost = load_cost + detail::reconstruct_seconds(*method, planned.graph, planned.calibration->count(),
                                                                plan.study.reconstruct);
    const Unit unit{.stage = Stage::reconstruct, .first = c, .count = 1, .cost = cost};
    plan.tasks.push_back({.network = network, .units = {unit}, .cost = cost});
  }
}

/// Packs consecutive units into tasks of about one second.
void add_tasks(Plan& plan, Index network) {
  const auto& planned = plan.networks[static_cast<std::size_t>(network)];
  const bool synthetic = std::holds_alternative<network::FamilyPoint>(planned.study.origin);
  const double load_cost = static_cast<double>(planned.parameters) * (synthetic ? seconds::generate_per_weight : 2e-9);
  add_reconstructions(plan, network, load_cost);
  Task task{.network = network};
  for (const auto& unit : cut(plan, planned)) {
    if (!task.units.empty() && task.cost + unit.cost > seconds::per_task) {
      plan.tasks.push_back(std::move(task));
      task = {.network = network};
    }
    if (task.units.empty()) task.cost = load_cost;
    task.units.push_back(unit);
    task.cost += unit.cost;
  }
  plan.tasks.push_back(std::move(task));
}

std::string study_hash(const Plan& plan) {
  std::string identity =
      plan.study.toml + '\n' + std::string(schema_version) + '\n' + std::string(core::version().version);
  for (const auto& network : plan.networks) identity += '\n' + network.study.label + ' ' + network.sha256;
  std::map<std::string, std::string> hashes;  // sets often share a file
  const auto content = [&](const std::string& location) -> const std::string& {
    const auto [at, added] = hashes.try_emplace(observe::split_location(location).file);
    if (added) at->second = file_hash(at->first);
    return at->second;
  };
  for (const auto& spec : plan.study.samples) {
    identity += '\n' + content(spec.images);
    if (spec.labels) identity += ' ' + content(*spec.labels);
  }
  for (const auto& network : plan.study.networks) {
    if (const auto* vnnlib = std::get_if<VnnlibDomain>(&network.domain)) {
      identity += '\n' + file_hash(vnnlib->path);
    }
  }
  return core::hash128_hex(identity);
}

/// The `samples` axis: uniform points first, then the sets in the order of the study.
std::vector<SampleAxisEntry> sample_axis(const Study& study) {
  std::vector<SampleAxisEntry> axis;
  if (study.uniform_points > 0) axis.push_back({.name = "uniform", .set = std::nullopt, .count = study.uniform_points});
  for (const auto& spec : study.samples) {
    observe::SampleSet set(spec);
    const Index count = set.count();
    axis.push_back({.name = spec.name, .set = std::move(set), .count = count});
  }
  return axis;
}

/// Sample sets that only served as centres of balls are no position on the axis.
void drop_unobserved(Plan& plan) {
  std::erase_if(plan.samples, [&](const SampleAxisEntry& entry) {
    return entry.set && std::ranges::none_of(plan.networks, [&](const PlannedNetwork& network) {
             return std::ranges::find(network.study.samples, entry.name) != network.study.samples.end();
           });
  });
}

}  // namespace

std::string_view to_string(Stage stage) {
  switch (stage) {
    case Stage::reconstruct:
      return "reconstruct";
    case Stage::norms:
      return "norms";
    case Stage::weight_bounds:
      return "weight_bounds";
    case Stage::certify:
      return "certify";
    case Stage::attack:
      return "attack";
    case Stage::observe:
      return "observe";
  }
  return "?";
}

double memory(const Plan& plan, const PlannedNetwork& network, int threads) {
  const auto weights = static_cast<double>(sizeof(double)) * static_cast<double>(network.parameters);
  const auto size = detail::measure(network.graph);
  double largest = 0.0;                           // beyond the weights of f
  for (const auto method : plan.study.methods) {  // a pair has W' and dW
    largest = std::max(largest, 2.0 * weights + detail::certify_bytes(method, size, plan.study.certify));
  }
  if (weight_theory_passes(plan.study) > 0.0 || plan.study.attack) largest = std::max(largest, weights);
  largest = std::max(largest, observation_bytes(plan, network, threads)) + kept_bytes(plan, network);
  if (reconstructs(plan.study)) largest = std::max(largest, reconstruction_bytes(plan, network));
  return process_bytes + weights + largest;
}

bool reconstructs(const Task& task) { return task.units.front().stage == Stage::reconstruct; }

bool observes(const Plan& plan, const PlannedNetwork& network, Index samples) {
  const auto& entry = plan.samples[static_cast<std::size_t>(samples)];
  return !entry.set || std::ranges::find(network.study.samples, entry.name) != network.study.samples.end();
}

Plan make_plan(Study study) {
  Plan plan{.study = std::move(study)};
  plan.configurations = configurations(plan.study);
  plan.samples = sample_axis(plan.study);
  for (const auto& network : plan.study.networks) {
    plan.networks.push_back(plan_network(network, plan.samples));
    plan_reconstruction(plan.networks.back(), plan.study, plan.samples);
  }
  drop_unobserved(plan);
  for (const auto& network : plan.networks) {
    for (const auto& entry : plan.samples) {
      if (entry.set && std::ranges::find(network.study.samples, entry.name) != network.study.samples.end()) {
        entry.set->require_fits(network.graph.input_shape(), network.study.label);
        entry.set->require_labels_fit(network.outputs(), network.study.label);
      }
    }
  }
  for (std::size_t n = 0; n < plan.networks.size(); ++n) add_tasks(plan, static_cast<Index>(n));
  plan.hash = study_hash(plan);
  return plan;
}

network::Network load(const PlannedNetwork& network) {
  if (const auto* point = std::get_if<network::FamilyPoint>(&network.study.origin))
    return network::make_network(*point);
  return network::read_network(std::get<std::filesystem::path>(network.study.origin),
                               {.input_shape = network.study.input_shape});
}

}  // namespace quantbound::sweep
