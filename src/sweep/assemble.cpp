#include "quantbound/sweep/assemble.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include <fmt/format.h>

#include "quantbound/bounds/bound_table.hpp"
#include "quantbound/core/assert.hpp"
#include "quantbound/observe/confidence.hpp"
#include "quantbound/reconstruct/capacity.hpp"
#include "quantbound/reconstruct/oscillation.hpp"
#include "quantbound/sweep/dataset_schema.hpp"

#include "axes.hpp"
#include "observations.hpp"

namespace quantbound::sweep {

namespace {

using detail::collect;
using detail::counting;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// CF flags of `status`.
enum Status : std::int8_t { pending = 0, finished = 1, failed = 2, timed_out = 3 };

double fraction(Index part, Index whole) { return static_cast<double>(part) / static_cast<double>(whole); }

std::string step_text(const Study& study) {
  return study.step_rule == quantize::StepRule::fixed ? fmt::format("fixed {}", study.fixed_step)
                                                      : std::string(to_string(study.step_rule));
}

}  // namespace

/// One network while its records come in.
struct Assembler::NetworkState {
  Index network = 0;
  bool failed = false;  ///< a unit that every configuration needs failed
  std::vector<bool> configuration_failed, configuration_timed_out;
  std::vector<bool> reconstruction_failed;  ///< of these nothing is known: f stood in for f_q
  std::vector<bounds::LayerReport> layers;
  std::map<std::pair<Index, Index>, bounds::LayerNorms> equalized;  ///< by configuration and layer: of f
  std::vector<std::vector<NamedBound>> weight_bounds;  ///< configuration: the theories that read the weights
  std::vector<detail::Observations> samples;

  /// Norms of f's layer as the configuration is compared with it.
  const bounds::LayerNorms& norms(std::size_t configuration, std::size_t layer) const {
    const auto own = equalized.find({static_cast<Index>(configuration), static_cast<Index>(layer)});
    return own == equalized.end() ? layers[layer].norms : own->second;
  }
};

Assembler::~Assembler() = default;

Assembler::Assembler(const Plan& plan) : plan_(&plan) {
  const auto axes = detail::ragged_axes(plan);
  first_layer_ = axes.first_layer;
  first_region_ = axes.first_region;
  first_output_ = axes.first_output;
  first_module_ = axes.first_module;
  first_sample_ = axes.first_sample;
  samples_ = axes.samples;
  const std::map<std::string_view, std::size_t> extent{{"network", plan.networks.size()},
                                                       {"layer", axes.layers},
                                                       {"region", axes.regions},
                                                       {"region_output", axes.region_outputs},
                                                       {"C", configuration_count()},
                                                       {"theory", plan.study.theories.size()},
                                                       {"method", plan.study.methods.size()},
                                                       {"samples", plan.samples.size()},
                                                       {"quantile", plan.study.quantiles.size()},
                                                       {"norm", detail::norm_labels.size()},
                                                       {"module", axes.modules},
                                                       {"sample", axes.samples}};
  for (const auto& spec : variable_specs()) {
    std::size_t size = 1;
    std::string dimensions(spec.dimensions);
    for (std::size_t at = 0; at < dimensions.size();) {
      const auto blank = std::min(dimensions.find(' ', at), dimensions.size());
      size *= extent.at(std::string_view(dimensions).substr(at, blank - at));
      at = blank + 1;
    }
    values_[std::string(spec.name)].assign(size, nan);
  }
  for (const auto& spec : variable_specs()) {
    if (spec.kind != Kind::real) std::ranges::fill(values(std::string(spec.name)), 0.0);  // of `status`: pending
  }
  method_notes_.resize(plan.networks.size() * plan.study.methods.size());
  task_seconds_.assign(plan.tasks.size(), nan);
  certify_seconds_.assign(values("certified").size(), nan);
}

void Assembler::add(std::size_t index, Record record) {
  QUANTBOUND_ASSERT(index == tasks_seen_ && index < plan_->tasks.size(), index, tasks_seen_);
  const Task& task = plan_->tasks[index];
  QUANTBOUND_ASSERT(record.units.size() == task.units.size(), record.units.size(), task.units.size());
  ++tasks_seen_;
  if (current_ && current_->network != task.network) close_network();
  if (!current_) {
    current_ = std::make_unique<NetworkState>();
    current_->network = task.network;
    current_->configuration_failed.assign(configuration_count(), false);
    current_->configuration_timed_out.assign(configuration_count(), false);
    current_->reconstruction_failed.assign(configuration_count(), false);
    current_->weight_bounds.resize(configuration_count());
    constexpr Index memory_bytes = Index{1} << 29;  // for all deviations of the network
    const Index sets = std::ssize(plan_->samples);
    for (Index s = 0; s < sets; ++s) current_->samples.emplace_back(*plan_, task.network, s, memory_bytes / sets);
  }
  double seconds = 0.0;
  for (std::size_t u = 0; u < task.units.size(); ++u) {
    seconds += record.units[u].seconds;
    stage_seconds_[task.units[u].stage] += record.units[u].seconds;
    add_unit(index, task.units[u], std::move(record.units[u]));
  }
  task_seconds_[index] = seconds;
}

void Assembler::add_unit(std::size_t task, const Unit& unit, UnitResult result) {
  NetworkState& state = *current_;
  if (const auto* failure = std::get_if<Failure>(&result.result)) {
    failures_.push_back({.task = task, .network = state.network, .stage = unit.stage, .message = failure->message});
    if (unit.stage == Stage::reconstruct) state.reconstruction_failed[static_cast<std::size_t>(unit.first)] = true;
    if (unit.stage == Stage::norms) {
      state.failed = true;
    } else {
      for (Index c = unit.first; c < unit.first + unit.count; ++c)
        state.configuration_failed[static_cast<std::size_t>(c)] = true;
    }
  } else if (auto* norms = std::get_if<NormsResult>(&result.result)) {
    std::ranges::move(norms->layers, std::back_inserter(state.layers));
    for (const auto& [configuration, layer, own] : norms->equalized) state.equalized[{configuration, layer}] = own;
  } else if (auto* bounds = std::get_if<WeightBoundsResult>(&result.result)) {
    std::ranges::move(bounds->configurations, state.weight_bounds.begin() + unit.first);
  } else if (const auto* certified = std::get_if<CertifyResult>(&result.result)) {
    write_certificates(unit, *certified);
  } else if (const auto* reconstructed = std::get_if<ReconstructResult>(&result.result)) {
    write_modules(unit, *reconstructed);
  } else if (const auto* attacked = std::get_if<AttackResult>(&result.result)) {
    const auto first = pair_of_region(unit);
    for (std::size_t i = 0; i < attacked->deviation.size(); ++i) {
      if (state.reconstruction_failed[static_cast<std::size_t>(unit.first) + i]) continue;
      double& largest = values("attacked")[first + i];
      largest = std::fmax(largest, attacked->deviation[i]);  // over the groups of starts; NaN: the first of them
    }
  } else {
    state.samples[static_cast<std::size_t>(unit.samples)].add(unit, std::get<ObserveResult>(std::move(result.result)));
  }
}

void Assembler::close_network() {
  NetworkState& state = *current_;
  const auto first = static_cast<std::size_t>(state.network) * configuration_count();
  for (std::size_t c = 0; c < configuration_count(); ++c) {
    values("status")[first + c] = state.failed || state.configuration_failed[c] ? Status::failed
                                  : state.configuration_timed_out[c]            ? Status::timed_out
                                                                                : Status::finished;
  }
  const auto& planned = plan_->networks[static_cast<std::size_t>(state.network)];
  if (state.layers.size() == planned.layers.size()) {
    write_norms(state);
    write_bounds(state);
  }
  write_observations(state);
  current_.reset();
}

void Assembler::write_norms(const NetworkState& state) {
  const std::size_t configurations = configuration_count();
  for (std::size_t l = 0; l < state.layers.size(); ++l) {
    const std::size_t layer = first_layer_[static_cast<std::size_t>(state.network)] + l;
    const auto& report = state.layers[l];
    values("weight_norm")[layer] = report.norms.weight_norm;
    values("bias_norm")[layer] = report.norms.bias_norm;
    for (std::size_t c = 0; c < configurations; ++c) {
      if (state.reconstruction_failed[c]) continue;
      const auto& quantized = report.quantized[c];
      values("step_max")[layer * configurations + c] = quantized.step_max;
      values("delta_max")[layer * configurations + c] = quantized.delta_max;
      values("delta_norm")[layer * configurations + c] = quantized.delta_norm;
      values("r")[layer * configurations + c] = std::max(state.norms(c, l).augmented, quantized.augmented);
    }
  }
}

void Assembler::write_bounds(const NetworkState& state) {
  const auto& planned = plan_->networks[static_cast<std::size_t>(state.network)];
  const auto domain = bounds::make_domain(planned.graph, planned.domain);
  for (std::size_t c = 0; c < configuration_count(); ++c) {
    if (state.reconstruction_failed[c]) continue;
    std::vector<bounds::LayerNorms> original;
    for (std::size_t l = 0; l < state.layers.size(); ++l) original.push_back(state.norms(c, l));
    const auto quantized = collect(state.layers, [&](const auto& report) { return report.quantized[c]; });
    auto table = bounds::evaluate_norm_theories({planned.graph, domain, original, quantized});
    const std::size_t pair = static_cast<std::size_t>(state.network) * configuration_count() + c;
    values("r_max")[pair] = table.norms.r_max;
    values("r_mean")[pair] = table.norms.r_mean;
    values("r_conv")[pair] = table.norms.r_conv;
    std::map<std::string, bounds::TheoryResult> results;
    for (std::size_t t = 0; t < table.results.size(); ++t) {
      results[std::string(bounds::theories()[t].name)] = std::move(table.results[t]);
    }
    for (const auto& [theory, result] : state.weight_bounds[c]) results[theory] = result;
    write_theories(pair, results);
  }
}

void Assembler::write_theories(std::size_t pair, const std::map<std::string, bounds::TheoryResult>& results) {
  const auto& theories = plan_->study.theories;
  const auto log10_of = [](const bounds::TheoryResult& result) { return result.bound ? result.bound->log10() : nan; };
  const auto formula_of = [](const bounds::TheoryResult& result) {
    return result.formula ? result.formula->log10 : nan;
  };
  const auto& gonon = results.at("gonon");
  for (std::size_t t = 0; t < theories.size(); ++t) {
    const auto& result = results.at(theories[t]);
    const std::size_t at = pair * theories.size() + t;
    values("bound_applicable")[at] = result.applicable() ? 1.0 : 0.0;
    values("log10_bound")[at] = log10_of(result);
    values("log10_formula")[at] = formula_of(result);
    values("gain")[at] = log10_of(gonon) - log10_of(result);
    values("gain_formula")[at] = formula_of(gonon) - formula_of(result);
  }
}

std::size_t Assembler::pair_of_region(const Unit& unit) const {
  const auto region =
      first_region_[static_cast<std::size_t>(current_->network)] + static_cast<std::size_t>(unit.region);
  return region * configuration_count() + static_cast<std::size_t>(unit.first);
}

namespace {

/// The modules of a kind that were reconstructed together as `result`; none where they are not its parts.
std::vector<std::size_t> parts_of(const ModuleResult& result, const std::vector<PlannedModule>& modules,
                                  const std::string& kind) {
  std::vector<std::size_t> places;
  std::size_t layers = 0;
  for (std::size_t m = 0; m < modules.size(); ++m) {
    if (modules[m].kind != kind || !std::ranges::includes(result.layers, modules[m].module.layers)) continue;
    places.push_back(m);
    layers += modules[m].module.layers.size();
  }
  const bool whole = layers == result.layers.size() && modules[places.back()].module.output == result.output;
  return whole ? places : std::vector<std::size_t>();
}

/// The kind of modules that a configuration was reconstructed by: the larger ones where it was by these (whose parts
/// are layers, too), else layers.
const std::string& kind_of(const ReconstructResult& reconstructed, const std::vector<PlannedModule>& modules) {
  const std::string& larger = modules.back().kind;
  const bool by_larger = std::ranges::all_of(
      reconstructed.modules, [&](const ModuleResult& result) { return !parts_of(result, modules, larger).empty(); });
  return by_larger ? larger : modules.front().kind;
}

/// Of every weight layer in this configuration.
std::vector<int> bits_of_layers(const quantize::Configuration& configuration, Index layers) {
  std::vector<int> bits;
  for (Index l = 0; l < layers; ++l) bits.push_back(quantize::at_layer(configuration, l, layers).bits);
  return bits;
}

}  // namespace

void Assembler::write_modules(const Unit& unit, const ReconstructResult& reconstructed) {
  const auto network = static_cast<std::size_t>(current_->network), c = static_cast<std::size_t>(unit.first);
  const auto& planned = plan_->networks[network];
  const auto& kind = kind_of(reconstructed, planned.modules);
  const auto bits = bits_of_layers(plan_->configurations[c], std::ssize(planned.layers));
  for (const auto& result : reconstructed.modules) {
    const auto places = parts_of(result, planned.modules, kind);
    QUANTBOUND_ASSERT(!places.empty(), kind, result.layers.front());
    for (const std::size_t m : places) {
      const std::size_t at = (first_module_[network] + m) * configuration_count() + c;
      values("module_loss")[at] = result.loss;
      values("module_loss_round")[at] = result.loss_round;
      values("module_capacity")[at] = reconstruct::module_capacity(planned.graph, planned.modules[m].module, bits,
                                                                   plan_->study.reconstruct.capacity);
      values("module_settled")[at] = result.settled;
      values("module_kept_rounding")[at] = result.kept_rounding != 0 ? 1.0 : 0.0;
      values("module_joined")[at] = static_cast<double>(places.size());
    }
  }
  const auto oscillation = reconstruct::oscillation(collect(reconstructed.modules, &ModuleResult::loss));
  values("oscillation_max")[network * configuration_count() + c] = oscillation.largest;
  values("oscillation_total")[network * configuration_count() + c] = oscillation.total;
}

void Assembler::write_certificates(const Unit& unit, const CertifyResult& certified) {
  const std::size_t methods = plan_->study.methods.size(), m = static_cast<std::size_t>(unit.method);
  const auto network = static_cast<std::size_t>(current_->network);
  const auto outputs = static_cast<std::size_t>(plan_->networks[network].outputs());
  const std::size_t first_output = first_output_[network] + static_cast<std::size_t>(unit.region) * outputs;
  for (std::size_t i = 0; i < certified.configurations.size(); ++i) {
    const auto& [not_applicable, certificate] = certified.configurations[i];
    if (current_->reconstruction_failed[static_cast<std::size_t>(unit.first) + i]) continue;
    if (!not_applicable.empty()) {
      auto& note = method_notes_[network * methods + m];
      if (note.empty()) note = not_applicable;
      continue;
    }
    const std::size_t c = static_cast<std::size_t>(unit.first) + i, pair = pair_of_region(unit) + i;
    values("certified")[pair * methods + m] = certify::largest_magnitude(certificate.difference);
    certify_seconds_[pair * methods + m] = certificate.seconds;
    values("certify_boxes")[pair * methods + m] = static_cast<double>(certificate.boxes);
    const auto magnitudes = certify::magnitudes(certificate.difference);
    QUANTBOUND_ASSERT(magnitudes.size() == outputs, magnitudes.size(), outputs);
    for (std::size_t o = 0; o < outputs; ++o) {
      values("certified_output")[((first_output + o) * configuration_count() + c) * methods + m] = magnitudes[o];
    }
    if (plan_->study.methods[m] == certify::Method::branch_and_bound)
      values("certified_lower")[pair] = certificate.lower;
    if (certificate.timed_out) current_->configuration_timed_out[c] = true;
  }
}

void Assembler::write_observations(const NetworkState& state) {
  const std::size_t sets = plan_->samples.size();
  const auto network = static_cast<std::size_t>(state.network);
  for (std::size_t s = 0; s < sets; ++s) {
    const auto& observations = state.samples[s];
    const auto set = observations.set();
    if (!set) continue;
    const auto& entry = plan_->samples[s];
    const std::size_t at = network * sets + s;
    values("samples_in_domain")[at] = static_cast<double>(set->inside);
    values("layer_samples")[at] = static_cast<double>(set->layer_samples);
    if (set->inside > 0) {
      values("observed_max_exceedance")[at] = observe::exceedance_upper(set->inside, plan_->study.confidence);
    }
    if (entry.has_labels()) {
      values("accuracy_reference")[at] = fraction(set->correct, entry.count);
      values("accuracy_top5_reference")[at] = fraction(set->correct_top5, entry.count);
    }
    for (std::size_t c = 0; c < configuration_count(); ++c) {
      if (!observations.complete(static_cast<Index>(c)) || state.reconstruction_failed[c]) continue;
      const auto summary = observations.summarize(static_cast<Index>(c));
      const std::size_t measured = (network * configuration_count() + c) * sets + s;
      write_rankings(summary.counts, entry, measured);
      if (set->inside > 0) write_deviations(summary, measured);
      write_layers(summary, network, c, s);
      write_per_sample(summary, network, c, s);
    }
  }
}

void Assembler::write_rankings(const observe::RankingCounts& counts, const SampleAxisEntry& entry, std::size_t at) {
  values("agreement")[at] = fraction(counts.agree, entry.count);
  values("disagreement_upper")[at] =
      observe::fraction_upper(entry.count - counts.agree, entry.count, plan_->study.confidence);
  values("margin_exceeded")[at] = fraction(counts.margin_exceeded, entry.count);
  if (!entry.has_labels()) return;
  values("accuracy")[at] = fraction(counts.correct, entry.count);
  values("accuracy_top5")[at] = fraction(counts.correct_top5, entry.count);
  values("flips_lost")[at] = fraction(counts.lost, entry.count);
  values("flips_won")[at] = fraction(counts.won, entry.count);
}

void Assembler::write_deviations(const detail::ObservationSummary& summary, std::size_t at) {
  values("observed_max")[at] = summary.deviation.max;
  values("observed_mean")[at] = summary.deviation.mean;
  values("observed_error")[at] = summary.error;
  values("observed_in_double")[at] = static_cast<double>(summary.in_double);
  values("cantelli_global")[at] = summary.cantelli_global;
  values("cantelli_layerwise")[at] = summary.cantelli_layerwise;
  const auto copy = [&](const std::vector<double>& from, const char* variable, std::size_t row) {
    std::ranges::copy(from, values(variable).begin() + static_cast<Index>(row * from.size()));
  };
  copy(summary.deviation.quantiles, "observed_quantile", at);
  copy(summary.quantiles_upper, "observed_quantile_upper", at);
  const std::array norms{&summary.deviation_2, &summary.relative};
  static_assert(std::tuple_size_v<decltype(norms)> == detail::norm_labels.size());
  for (std::size_t n = 0; n < norms.size(); ++n) {
    const std::size_t row = at * norms.size() + n;
    values("observed_norm_max")[row] = norms[n]->max;
    values("observed_norm_mean")[row] = norms[n]->mean;
    copy(norms[n]->quantiles, "observed_norm_quantile", row);
  }
}

void Assembler::write_layers(const detail::ObservationSummary& summary, std::size_t network, std::size_t configuration,
                             std::size_t samples) {
  const std::size_t sets = plan_->samples.size();
  for (std::size_t l = 0; l < summary.layers.size(); ++l) {
    const detail::LayerSummary& layer = summary.layers[l];
    const std::size_t at = ((first_layer_[network] + l) * configuration_count() + configuration) * sets + samples;
    values("observed_layer_max")[at] = layer.max;
    values("observed_layer_mean")[at] = layer.mean;
    values("error_amplification")[at] = layer.amplification;
    values("error_ratio")[at] = layer.ratio;
    values("error_local")[at] = layer.local;
    values("error_share")[at] = layer.share;
  }
}

void Assembler::write_per_sample(const detail::ObservationSummary& summary, std::size_t network,
                                 std::size_t configuration, std::size_t samples) {
  if (summary.per_sample.empty()) return;
  const std::size_t pair = network * configuration_count() + configuration;
  const auto first = static_cast<Index>(pair * samples_ + first_sample_[samples]);
  std::ranges::copy(summary.per_sample, values("observed_sample").begin() + first);
}

// ------------------------------------------------------------------------------------------------------ the dataset

namespace {

/// The values in the type of the file: flags and counts as whole numbers, which xarray would turn into floats if they
/// had a fill value; everything else as doubles with NaN for "not computed".
void set_data(Variable& variable, Kind kind, std::vector<double> values) {
  switch (kind) {
    case Kind::flag:
      variable.data = collect(values, [](double v) { return static_cast<std::int8_t>(v); });
      break;
    case Kind::count:
      variable.data = collect(values, [](double v) { return static_cast<std::int64_t>(v); });
      break;
    case Kind::real:
      variable.data = std::move(values);
      variable.fill = nan;
  }
}

void set_flags(Attributes& attributes, std::vector<std::int8_t> values, std::string meanings) {
  set_attribute(attributes, "flag_values", std::move(values));
  set_attribute(attributes, "flag_meanings", std::move(meanings));
}

Variable to_variable(const VariableSpec& spec, std::vector<double> values) {
  Variable variable{.name = std::string(spec.name), .dimensions = dimensions_of(spec.dimensions)};
  auto& attributes = variable.attributes;
  set_attribute(attributes, "long_name", std::string(spec.long_name));
  set_attribute(attributes, "units", std::string(spec.units));
  if (!spec.soundness.empty()) set_attribute(attributes, "soundness", std::string(spec.soundness));
  if (!spec.equation.empty()) set_attribute(attributes, "equation", std::string(spec.equation));
  if (spec.name == "status") set_flags(attributes, {0, 1, 2, 3, 4}, "pending done failed timed_out skipped");
  if (spec.name == "bound_applicable" || spec.name == "module_kept_rounding") set_flags(attributes, {0, 1}, "no yes");
  set_data(variable, spec.kind, std::move(values));
  return variable;
}

void add_failures(Dataset& dataset, const Plan& plan, const std::vector<FailedUnit>& failures) {
  auto& group = dataset.group("failures");
  group.add_axis(make_axis(Place::failures, "failure", counting(failures.size())));
  const auto add = [&](std::string_view name, Data data) {
    group.add_variable(make_variable(Place::failures, name, std::move(data)));
  };
  add("failure_task", collect(failures, [](const auto& f) { return static_cast<std::int64_t>(f.task); }));
  add("failure_network",
      collect(failures, [&](const auto& f) { return plan.networks[static_cast<std::size_t>(f.network)].study.label; }));
  add("failure_stage", collect(failures, [](const auto& f) { return std::string(to_string(f.stage)); }));
  add("failure_message", collect(failures, [](const auto& f) { return f.message; }));
}

bool is_present(Presence presence, const Study& study) {
  return presence == Presence::always || (presence == Presence::per_sample ? study.per_sample : reconstructs(study));
}

}  // namespace

Dataset Assembler::finish() {
  QUANTBOUND_ASSERT(tasks_seen_ == plan_->tasks.size(), tasks_seen_, plan_->tasks.size());
  if (current_) close_network();
  Dataset dataset;
  Group& root = dataset.root;
  const Study& study = plan_->study;
  root.attributes = {{"Conventions", std::string("CF-1.10")},
                     {"schema", std::string("quantbound-results")},
                     {"schema_version", std::string(schema_version)},
                     {"title", fmt::format("quantbound study {}: {}", study.name,
                                           detail::size_in_words(plan_->networks.size(), configuration_count()))},
                     {"source", std::string("quantbound")},
                     {"study_toml", study.toml},
                     {"study_hash", plan_->hash},
                     {"step", step_text(study)},
                     {"grid", std::string(to_string(study.grid))},
                     {"bias_bits", std::int64_t{study.bias_bits}},
                     {"edge_bits", std::int64_t{study.edge_bits}},
                     {"precision", std::string(to_string(study.precision))},
                     {"confidence", study.confidence},
                     {"complete", std::int64_t{1}}};
  for (const auto& attribute : root.attributes) field_spec(Place::attribute, attribute.name);  // no other is written
  detail::add_axes(root, *plan_);
  detail::add_coordinates(root, *plan_);
  for (const auto& spec : variable_specs()) {
    if (!is_present(spec.presence, study)) continue;
    root.add_variable(to_variable(spec, std::move(values(std::string(spec.name)))));
  }
  root.add_variable(make_variable(Place::note, "method_note", method_notes_));
  add_failures(dataset, *plan_, failures_);
  add_times(dataset);
  return dataset;
}

std::vector<MethodNote> Assembler::notes() const {
  const auto& methods = plan_->study.methods;
  std::vector<MethodNote> notes;
  for (std::size_t n = 0; n < plan_->networks.size(); ++n) {
    for (std::size_t m = 0; m < methods.size(); ++m) {
      const auto& text = method_notes_[n * methods.size() + m];
      if (!text.empty()) notes.push_back({.network = static_cast<Index>(n), .method = methods[m], .text = text});
    }
  }
  return notes;
}

void Assembler::add_times(Dataset& dataset) const {
  auto& group = dataset.group("provenance");
  const auto add = [&](std::string_view name, const std::vector<double>& seconds) {
    group.add_variable(make_variable(Place::provenance, name, seconds));
  };
  group.add_axis(make_axis(Place::provenance, "task", counting(task_seconds_.size())));
  add("wall_time", task_seconds_);
  // Axes of its own: no object outside /provenance refers to one inside, and the group can be opened alone.
  for (const auto& name : dimensions_of(field_spec(Place::provenance, "certify_time").dimensions)) {
    group.add_axis(*dataset.root.find_axis(name));
  }
  add("certify_time", certify_seconds_);
  std::vector<std::string> stages;
  std::vector<double> seconds;
  for (const auto& [stage, sum] : stage_seconds_) {
    stages.emplace_back(to_string(stage));
    seconds.push_back(sum);
  }
  group.add_axis(make_axis(Place::provenance, "stage", stages));
  add("stage_time", seconds);
}

}  // namespace quantbound::sweep
