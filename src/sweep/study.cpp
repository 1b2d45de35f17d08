#include "quantbound/sweep/study.hpp"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "quantbound/bounds/theory.hpp"
#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

#include "study_reconstruct.hpp"
#include "study_table.hpp"

namespace quantbound::sweep {

namespace {

using core::InputError;
using detail::place;
using detail::require_distinct;
using detail::Table;
namespace fs = std::filesystem;

/// Everything the sections need to resolve what they name.
struct Context {
  fs::path folder;  ///< of the study file
  Study study;
};

/// A path of the study, relative to the study file, or to the working directory when it came from --set.
fs::path resolve(const Context& context, const std::string& path, const toml::node& node) {
  const auto& source = node.source().path;
  if (fs::path(path).is_absolute() || (source && source->starts_with("--set"))) return path;
  return context.folder / path;
}

/// Resolves the file part of "file" or "file.h5:/dataset" and requires that it exists.
std::string existing(const Context& context, const std::string& location, const toml::node& node) {
  const auto [file_part, dataset] = observe::split_location(location);
  const fs::path file = resolve(context, file_part, node);
  if (!fs::is_regular_file(file)) {
    throw InputError(
        fmt::format(
            "no such file: '{}'; paths are relative to the study file (or, with --set, to the working directory)",
            file.string()),
        place(node.source()));
  }
  return dataset.empty() ? file.string() : file.string() + ':' + dataset;
}

template <class Enum>
std::optional<Enum> by_name(std::string_view word, std::initializer_list<Enum> values) {
  for (const Enum value : values) {
    if (to_string(value) == word) return value;
  }
  return std::nullopt;
}

// ---------------------------------------------------------------------------------------------------- networks

BoxDomain parse_box(Table table) {
  const BoxDomain box{.low = table.numbers("low"), .high = table.numbers("high")};
  if (box.low.size() != box.high.size()) table.fail("low", "`low` and `high` must have as many numbers as each other");
  for (std::size_t i = 0; i < box.low.size(); ++i) {
    if (box.low[i] > box.high[i])
      table.fail("low", fmt::format("the domain is empty: low {} > high {}", box.low[i], box.high[i]));
  }
  table.finish();
  return box;
}

VnnlibDomain parse_property(const Context& context, Table table) {
  VnnlibDomain property{existing(context, *table.text("vnnlib"), *table.find("vnnlib"))};
  table.finish();
  return property;
}

BallDomain parse_balls(Table table) {
  BallDomain ball{.samples = *table.text("around"),
                  .radius = *table.number("radius"),
                  .count = *table.integer("count"),
                  .clip = std::nullopt};
  if (const auto clip = table.numbers("clip"); !clip.empty()) {
    if (clip.size() != 2 || clip[0] > clip[1]) table.fail("clip", "`clip` is the valid range [low, high]");
    ball.clip = {clip[0], clip[1]};
  }
  table.finish();
  return ball;
}

Domain parse_domain(const Context& context, Table& network) {
  const toml::table* table = network.raw_table("domain");
  if (table == nullptr) return FileDomain{};
  const bool is_box = table->contains("low") || table->contains("high");
  const bool is_vnnlib = table->contains("vnnlib"), is_ball = table->contains("around");
  if (static_cast<int>(is_box) + static_cast<int>(is_vnnlib) + static_cast<int>(is_ball) != 1) {
    throw InputError("a domain is one of { low, high }, { vnnlib } or { around, radius, count }",
                     network.where("domain"));
  }
  if (is_box) return parse_box(Table(*table, study_section("domain = { low, high }")));
  if (is_vnnlib) return parse_property(context, Table(*table, study_section("domain = { vnnlib }")));
  return parse_balls(Table(*table, study_section("domain = { around, radius }")));
}

/// What the networks of one [[network]] table share.
StudyNetwork common_part(const Context& context, Table& table) {
  StudyNetwork network;
  network.domain = parse_domain(context, table);
  network.samples = table.texts("samples");
  network.calibration = table.text("calibration").value_or("");
  network.where = table.where();
  return network;
}

std::string file_label(const fs::path& path, const std::string& suffix, const std::set<std::string>& taken) {
  std::string label = path.stem().string() + suffix;
  if (taken.contains(label)) label = path.filename().string() + suffix;
  const std::string base = label;
  for (int i = 2; taken.contains(label); ++i) label = fmt::format("{}#{}", base, i);
  return label;
}

void add_files(Context& context, Table table, std::set<std::string>& labels) {
  StudyNetwork common = common_part(context, table);
  for (const auto extent : table.integers("input_shape")) {
    if (!common.input_shape) common.input_shape = Shape{};
    common.input_shape->push_back(extent);
  }
  const std::string suffix = table.text("suffix").value_or("");
  for (const auto& file : table.texts("file")) {
    StudyNetwork network = common;
    const fs::path path = existing(context, file, *table.find("file"));
    network.label = file_label(path, suffix, labels);
    labels.insert(network.label);
    network.source = file;
    network.origin = path;
    context.study.networks.push_back(std::move(network));
  }
  table.finish();
}

/// What the points of a family share, and the point that its lists vary.
network::FamilyPoint parse_point(Table& table, std::uint64_t seed) {
  network::FamilyPoint point;
  point.family = table.choice("family", network::parse_family);
  const bool is_mlp = point.family == network::Family::mlp;
  if (is_mlp && table.find("resolution") != nullptr)
    table.fail("resolution", "an mlp has no `resolution`; give `inputs`");
  if (!is_mlp && table.find("inputs") != nullptr)
    table.fail("inputs", "image families have no `inputs`; give `resolution`");
  point.inputs = *table.integer("inputs");
  point.outputs = *table.integer("outputs");
  point.resolution = *table.integer("resolution");
  point.seed = seed;
  return point;
}

void add_family(Context& context, Table table, std::set<std::string>& labels) {
  const StudyNetwork common = common_part(context, table);
  network::FamilyPoint point = parse_point(table, context.study.seed);
  const auto depths = table.integers("depth"), widths = table.integers("width");
  const auto laws = table.choices("weights", network::parse_weight_law);
  const auto draws = *table.integer("draws");
  table.finish();
  for (const auto depth : depths) {
    for (const auto width : widths) {
      for (const auto law : laws) {
        for (Index draw = 0; draw < draws; ++draw) {
          point.depth = depth, point.width = width, point.law = law, point.draw = draw;
          StudyNetwork network = common;
          network.label = network::name(point);
          if (!labels.insert(network.label).second) {
            throw InputError(fmt::format("the study names network '{}' twice", network.label), table.where());
          }
          network.source = std::string(to_string(point.family));
          network.origin = point;
          context.study.networks.push_back(std::move(network));
        }
      }
    }
  }
}

void parse_networks(Context& context, Table& root) {
  std::set<std::string> labels;
  for (const auto* table : root.raw_tables("network")) {
    const std::string where = place(table->source());
    if (table->contains("file") == table->contains("family")) {
      throw InputError("[[network]] needs one of the keys `file` and `family`", where);
    }
    if (table->contains("file")) {
      add_files(context, Table(*table, study_section("[[network]] with file")), labels);
    } else if (table->contains("input_shape")) {
      throw InputError("`input_shape` is for files; a family takes `inputs` or `resolution`", where);
    } else {
      add_family(context, Table(*table, study_section("[[network]] with family")), labels);
    }
  }
  if (context.study.networks.empty()) throw InputError("the study has no [[network]]", root.where());
}

// ------------------------------------------------------------------------------------- samples, quantization, stages

/// `rows`: which part of the file a set takes.
void parse_rows(Table& table, observe::SampleSpec& spec) {
  const auto rows = table.integers("rows");
  if (rows.empty()) return;
  if (rows.size() != 2 || rows[1] == 0) {
    table.fail("rows", "`rows` is [first, count]: the first row, from 0, and how many");
  }
  spec.first_row = rows[0];
  spec.rows = rows[1];
}

/// No method may be measured on what it was fitted to.
void require_kept_apart(const std::vector<observe::SampleSpec>& others, const observe::SampleSpec& spec,
                        const Table& table) {
  for (const auto& other : others) {
    if (other.role == spec.role) continue;
    if (const auto rows = observe::shared_rows(other, spec)) {
      table.fail(
          spec.rows ? "rows" : "images",
          fmt::format("samples '{}' ({}) and '{}' ({}) share {} of '{}': nothing is measured on what a method was "
                      "fitted to; give them `rows` that do not overlap",
                      other.name, to_string(other.role), spec.name, to_string(spec.role), to_string(*rows),
                      spec.images));
    }
  }
}

observe::SampleSpec parse_set(const Context& context, Table& table) {
  observe::SampleSpec spec;
  spec.name = *table.text("name");
  spec.images = existing(context, *table.text("images"), *table.find("images"));
  if (const auto labels = table.text("labels")) spec.labels = existing(context, *labels, *table.find("labels"));
  spec.layout = table.choice("layout", observe::parse_layout);
  spec.scale = *table.number("scale");
  spec.mean = table.numbers("mean");
  spec.std = table.numbers("std");
  spec.label_offset = static_cast<int>(*table.integer("label_offset"));
  spec.role = table.choice("role", observe::parse_role);
  parse_rows(table, spec);
  return spec;
}

void parse_samples(Context& context, Table& root) {
  std::set<std::string> names;
  for (const auto* node : root.raw_tables("samples")) {
    Table table(*node, study_section("[[samples]]"));
    observe::SampleSpec spec = parse_set(context, table);
    if (spec.name == "uniform") table.fail("name", "the name 'uniform' belongs to the uniform points of [observe]");
    if (!names.insert(spec.name).second) table.fail("name", fmt::format("two sample sets are called '{}'", spec.name));
    table.finish();
    require_kept_apart(context.study.samples, spec, table);
    context.study.samples.push_back(std::move(spec));
  }
}

void parse_step(Study& study, Table& table) {
  const auto* node = table.find("step");
  if (node == nullptr || !node->is_table()) {
    study.step_rule = table.choice("step", [](const std::string& w) {
      return by_name(w, {quantize::StepRule::max, quantize::StepRule::mse});
    });
    return;
  }
  Table fixed = *table.table("step", study_section("step = { fixed }"));
  study.step_rule = quantize::StepRule::fixed;
  study.fixed_step = *fixed.number("fixed");
  fixed.finish();
}

void parse_quantization(Context& context, Table& root) {
  Study& study = context.study;
  Table table = *root.table("quantization");
  study.quantizers = table.choices("quantizer", parse_study_quantizer);
  study.granularities = table.choices("granularity", quantize::parse_granularity);
  for (const auto b : table.integers("bits")) study.bits.push_back(static_cast<int>(b));
  for (const auto s : table.integers("seed")) study.seeds.push_back(static_cast<std::uint64_t>(s));
  if (study.seeds.empty()) study.seeds.push_back(study.seed);
  parse_step(study, table);
  study.grid = table.choice("grid", quantize::parse_grid);
  const bool biases = table.flag("biases");
  study.edge_bits = static_cast<int>(table.integer("edge_bits").value_or(0));
  const auto bias_bits = table.integer("bias_bits");
  if (bias_bits && !biases) table.fail("bias_bits", "`bias_bits` needs `biases = true`");
  study.bias_bits = biases ? static_cast<int>(bias_bits.value_or(16)) : 0;
  require_distinct(table, "quantizer", table.texts("quantizer"));
  require_distinct(table, "granularity", study.granularities);
  require_distinct(table, "bits", study.bits);
  require_distinct(table, "seed", study.seeds);
  table.finish();
}

/// Whether a list of names is the word "all".
bool is_all(const std::vector<std::string>& names) { return names == std::vector<std::string>{"all"}; }

void parse_bounds(Context& context, Table& root) {
  std::vector<std::string> named{"all"};
  if (auto table = root.table("bounds")) {
    named = table->texts("theory");
    const auto known = [](const std::string& w) {
      return bounds::find_theory(w) == nullptr ? std::nullopt : std::optional(w);
    };
    if (!is_all(named)) table->choices("theory", known);
    require_distinct(*table, "theory", named);
    table->finish();
  }
  for (const auto& theory : bounds::theories()) {
    const std::string name(theory.name);
    if (is_all(named) || std::ranges::find(named, name) != named.end()) context.study.theories.push_back(name);
  }
}

certify::MethodOptions parse_method_options(Table& table) {
  certify::MethodOptions options;
  options.tolerance = *table.number("tolerance");
  options.max_seconds = table.number("max_seconds").value_or(options.max_seconds);
  options.max_boxes = table.integer("max_boxes").value_or(options.max_boxes);
  options.generators = *table.integer("generators");
  options.alpha_steps = *table.integer("alpha_steps");
  options.max_bytes = static_cast<std::size_t>(*table.number("max_memory") * 0x1p30);
  return options;
}

void parse_certify(Context& context, Table& root) {
  auto table = root.table("certify");
  if (!table) return;
  const auto* node = table->find("method");
  const bool off = node->is_array() && node->as_array()->empty();
  const auto named = off ? std::vector<std::string>() : table->texts("method");
  require_distinct(*table, "method", named);
  std::vector<certify::Method> wanted;
  if (!off && !is_all(named)) wanted = table->choices("method", certify::parse_method);
  for (const auto& info : certify::methods()) {
    if (is_all(named) || std::ranges::find(wanted, info.method) != wanted.end())
      context.study.methods.push_back(info.method);
  }
  context.study.certify = parse_method_options(*table);
  table->finish();
}

observe::AttackOptions parse_attack(Table table) {
  observe::AttackOptions options;
  options.starts = *table.integer("starts");
  options.steps = *table.integer("steps");
  table.finish();
  return options;
}

/// Only evaluation sets are measured on.
void require_evaluation_set(const Study& study, const std::string& name, const std::string& where) {
  if (detail::find_samples(study, name, where).role == observe::Role::evaluation) return;
  throw InputError(
      fmt::format("samples '{}' have role = \"calibration\": nothing is measured on what a method was fitted "
                  "to; name a set of role = \"evaluation\"",
                  name),
      where);
}

/// What stands in [observe] but for the sets, which are returned.
std::vector<std::string> parse_measurements(Study& study, Table& table) {
  study.uniform_points = *table.integer("uniform");
  study.quantiles = table.numbers("quantiles");
  if (!std::ranges::is_sorted(study.quantiles, std::less_equal())) {
    table.fail("quantiles", "`quantiles` must increase within (0, 1]");
  }
  if (auto attack = table.table("attack", study_section("attack = { starts, steps }"))) {
    study.attack = parse_attack(*attack);
  }
  study.precision = table.choice("precision", [](const std::string& w) {
    return by_name(w, {observe::Precision::automatic, observe::Precision::float32, observe::Precision::float64});
  });
  study.confidence = *table.number("confidence");
  study.layer_samples = *table.integer("layer_samples");
  study.per_sample = table.flag("per_sample");
  const auto samples = table.texts("samples");
  table.finish();
  return samples;
}

void parse_observe(Context& context, Table& root) {
  Study& study = context.study;
  const toml::table nothing;
  auto table = root.table("observe");
  Table defaults(nothing, study_section("[observe]"));
  const auto samples = parse_measurements(study, table ? *table : defaults);
  const std::string where = table ? table->where() : root.where();
  for (const auto& name : samples) require_evaluation_set(study, name, where);
  for (auto& network : study.networks) {
    if (network.samples.empty()) network.samples = samples;
    for (const auto& name : network.samples) require_evaluation_set(study, name, network.where);
    if (const auto* ball = std::get_if<BallDomain>(&network.domain))
      detail::find_samples(study, ball->samples, network.where);
  }
}

// ------------------------------------------------------------------------------------------------------ overrides

std::vector<std::string> split(const std::string& key) {
  std::vector<std::string> parts;
  std::stringstream stream(key);
  for (std::string part; std::getline(stream, part, '.');) parts.push_back(part);
  return parts;
}

bool is_number(const std::string& part) {
  return !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos;
}

/// A TOML value, or a bare string where it is none; its source is the override.
toml::table override_value(const Override& change, const std::string& where) {
  try {
    return toml::parse(std::string_view("value = " + change.value), std::string_view(where));
  } catch (const toml::parse_error&) {
    toml::table value = toml::parse(std::string_view("value = \"\""), std::string_view(where));
    value.get("value")->as_string()->get() = change.value;
    return value;
  }
}

/// Which table of an array of tables a part of a key means: "network.1.file"; the number may be left out where there is
/// one.
std::size_t chosen_table(const toml::array& array, const std::string& part, const std::string& where) {
  if (!is_number(part)) {
    if (array.size() == 1) return 0;
    throw InputError(
        fmt::format("there are {} such tables; write the number of one, from 0, before `{}`", array.size(), part),
        where);
  }
  const std::size_t chosen = std::stoul(part);
  if (chosen < array.size()) return chosen;
  throw InputError(fmt::format("there is no number {}: the study has {} of them, counted from 0", part, array.size()),
                   where);
}

void apply_override(toml::table& root, const Override& change) {
  const std::string where = "--set " + change.key;
  toml::table value = override_value(change, where);
  const std::vector<std::string> parts = split(change.key);
  toml::node* at = &root;
  for (std::size_t i = 0; i < parts.size();) {
    if (auto* array = at->as_array()) {
      at = array->get(chosen_table(*array, parts[i], where));
      if (is_number(parts[i])) ++i;
      continue;
    }
    auto* table = at->as_table();
    if (table == nullptr) throw InputError(fmt::format("`{}` is not in a table", parts[i]), where);
    if (i + 1 == parts.size()) {
      table->insert_or_assign(parts[i], std::move(*value.get("value")));  // a copy would forget its source
      return;
    }
    if (!table->contains(parts[i])) table->insert(parts[i], toml::table{});
    at = table->get(parts[i]);
    ++i;
  }
  throw InputError("the key names a table, not a value", where);
}

toml::table parse_file(const fs::path& path) {
  if (!fs::is_regular_file(path)) throw InputError("no such study file", path.string());
  try {
    return toml::parse_file(path.string());
  } catch (const toml::parse_error& error) {
    throw InputError(fmt::format("this is no study in TOML: {}", error.description()), place(error.source()));
  }
}

}  // namespace

Override parse_override(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw InputError(fmt::format("--set needs key=value, not '{}'", text), "command line");
  }
  return {.key = text.substr(0, equals), .value = text.substr(equals + 1)};
}

Study read_study(const fs::path& path, std::span<const Override> overrides) {
  toml::table file = parse_file(path);
  for (const auto& change : overrides) apply_override(file, change);
  Context context{.folder = path.parent_path(), .study = {}};
  Study& study = context.study;
  Table root(file, study_section("The file"));
  auto head = root.table("study");
  study.name = *head->text("name");
  if (study.name.empty() || study.name.find('/') != std::string::npos)
    head->fail("name", "`name` must be a file name without '/'");
  study.seed = static_cast<std::uint64_t>(*head->integer("seed"));
  head->finish();
  parse_networks(context, root);
  parse_samples(context, root);
  parse_quantization(context, root);
  parse_bounds(context, root);
  parse_certify(context, root);
  parse_observe(context, root);
  detail::parse_reconstruct(study, root);
  root.finish();
  std::ostringstream resolved;
  resolved << file << '\n';
  study.toml = resolved.str();
  return study;
}

reconstruct::Options read_reconstruct_options(std::span<const Override> settings) {
  toml::table keys;
  for (const auto& setting : settings) {
    if (keys.contains(setting.key)) throw InputError("this key is set twice", "--set " + setting.key);
    apply_override(keys, setting);
  }
  StudySection section = study_section("[reconstruct]");
  std::erase_if(section.keys, [](const StudyKey& key) { return key.name == "samples"; });
  Table table(keys, section);
  reconstruct::Options options = detail::parse_options(table);
  table.finish();
  return options;
}

std::vector<quantize::Configuration> configurations(const Study& study) {
  std::vector<quantize::Configuration> all;
  for (const auto& quantizer : study.quantizers) {
    for (const auto granularity : study.granularities) {
      for (const int bits : study.bits) {
        for (const auto seed : study.seeds) {
          all.push_back({.quantizer = quantizer.rounding,
                         .granularity = granularity,
                         .bits = bits,
                         .seed = seed,
                         .grid = study.grid,
                         .step_rule = study.step_rule,
                         .fixed_step = study.fixed_step,
                         .bias_bits = study.bias_bits,
                         .edge_bits = study.edge_bits});
        }
      }
    }
  }
  return all;
}

const StudyQuantizer& quantizer_of(const Study& study, Index configuration) {
  const auto each = study.granularities.size() * study.bits.size() * study.seeds.size();
  const auto position = static_cast<std::size_t>(configuration) / each;
  QUANTBOUND_ASSERT(configuration >= 0 && position < study.quantizers.size(), configuration);
  return study.quantizers[position];
}

std::string label(const Study& study, Index configuration) {
  const StudyQuantizer& quantizer = quantizer_of(study, configuration);
  auto place = static_cast<std::size_t>(configuration);
  const std::uint64_t seed = study.seeds[place % study.seeds.size()];
  place /= study.seeds.size();
  const int bits = study.bits[place % study.bits.size()];
  const auto granularity = study.granularities[place / study.bits.size() % study.granularities.size()];
  std::string text = fmt::format("{}/{}/{}", quantizer.name, to_string(granularity), bits);
  if (study.edge_bits != 0) text += fmt::format("/edges {}", study.edge_bits);
  if (quantizer.method || quantizer.rounding == quantize::Quantizer::stochastic) text += fmt::format("/seed {}", seed);
  return text;
}

bool reconstructs(const Study& study) {
  return std::ranges::any_of(study.quantizers, [](const StudyQuantizer& q) { return q.method.has_value(); });
}

}  // namespace quantbound::sweep
