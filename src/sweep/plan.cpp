#include "quantbound/sweep/plan.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>
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

namespace quantbound::sweep {

namespace {

using core::InputError;
using tensor::elements;

/// Seconds of one core per elementary step: measured once, used for balance and ETA only.
namespace seconds {
constexpr double norm_per_weight = 1.5e-9;         ///< one configuration, one weight
constexpr double pass_per_multiply_add = 0.25e-9;  ///< one pass with absolute weights in double
constexpr double float_per_multiply_add = 0.03e-9;
constexpr double double_per_multiply_add = 0.2e-9;
constexpr double quantize_per_weight = 6e-9;
constexpr double per_layer_value = 1.5e-9;     ///< comparing stored layer outputs
constexpr double generate_per_weight = 30e-9;  ///< synthetic weights
/// Tasks are cut near this size: small enough to balance, large enough that reading the network does not count.
constexpr double per_task = 1.0;
}  // namespace seconds

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

// ------------------------------------------------------------------------------------------------------------ work

/// Cuts [0, total) into pieces of `piece` and adds a unit for each.
template <class Cost>
void add_units(std::vector<Unit>& units, Stage stage, Index total, Index piece, Index samples, const Cost& cost) {
  for (Index first = 0; first < total; first += piece) {
    const Index count = std::min(piece, total - first);
    units.push_back({.stage = stage, .first = first, .count = count, .samples = samples, .cost = cost(first, count)});
  }
}

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
    if (plan.study.attack) {
      add({.stage = Stage::attack, .region = region}, quantize + detail::attack_seconds(size, *plan.study.attack));
    }
  }
}

std::vector<Unit> cut(const Plan& plan, const PlannedNetwork& network) {
  const auto configurations = static_cast<double>(plan.configurations.size());
  const auto macs = static_cast<double>(network.multiply_adds), weights = static_cast<double>(network.parameters);
  std::vector<Unit> units = cut_norms(network, configurations);
  const auto passes = weight_theory_passes(plan.study);
  if (passes > 0.0) {
    const double each = passes * macs * seconds::pass_per_multiply_add + weights * seconds::quantize_per_weight;
    const Index piece = std::max<Index>(1, static_cast<Index>(seconds::per_task / std::max(each, 1e-9)));
    add_units(units, Stage::weight_bounds, static_cast<Index>(plan.configurations.size()), piece, 0,
              [&](Index, Index count) { return static_cast<double>(count) * each; });
  }
  cut_regions(units, plan, network);
  const double per_mac = plan.study.precision == observe::Precision::float32 ? seconds::float_per_multiply_add
                                                                             : seconds::double_per_multiply_add;
  const double per_sample =
      (configurations + 1.0) *
      (macs * per_mac + static_cast<double>(observe::captured_elements(network.graph)) * seconds::per_layer_value);
  const double fixed = configurations * weights * seconds::quantize_per_weight;
  for (std::size_t s = 0; s < plan.samples.size(); ++s) {
    if (!observes(plan, network, static_cast<Index>(s))) continue;
    add_units(units, Stage::observe, plan.samples[s].count, observe::block_size(network.graph), static_cast<Index>(s),
              [&](Index, Index count) { return fixed + static_cast<double>(count) * per_sample; });
  }
  return units;
}

/// Packs consecutive units into tasks of about one second.
void add_tasks(Plan& plan, Index network) {
  const auto& planned = plan.networks[static_cast<std::size_t>(network)];
  const bool synthetic = std::holds_alternative<network::FamilyPoint>(planned.study.origin);
  const double load_cost = static_cast<double>(planned.parameters) * (synthetic ? seconds::generate_per_weight : 2e-9);
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

double memory(const Plan& plan, const PlannedNetwork& network) {
  const bool pairs = !plan.study.methods.empty();  // a pair keeps the change of the weights too
  const double weights = (pairs ? 3.0 : 2.0) * sizeof(double) * static_cast<double>(network.parameters);
  double outputs = 0.0;
  for (const auto id : network.graph.weight_layers()) {
    const auto& node = network.graph.nodes[static_cast<std::size_t>(id)];
    outputs += sizeof(float) * static_cast<double>(elements(node.shape));
  }
  double kept = outputs * static_cast<double>(observe::block_size(network.graph));
  const auto size = detail::measure(network.graph);
  for (const auto method : plan.study.methods) {
    kept = std::max(kept, detail::certify_bytes(method, size, plan.study.certify));
  }
  return weights + kept;
}

bool observes(const Plan& plan, const PlannedNetwork& network, Index samples) {
  const auto& entry = plan.samples[static_cast<std::size_t>(samples)];
  return !entry.set || std::ranges::find(network.study.samples, entry.name) != network.study.samples.end();
}

Plan make_plan(Study study) {
  Plan plan{.study = std::move(study)};
  plan.configurations = configurations(plan.study);
  plan.samples = sample_axis(plan.study);
  for (const auto& network : plan.study.networks) plan.networks.push_back(plan_network(network, plan.samples));
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
