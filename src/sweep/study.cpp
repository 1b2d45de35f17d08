#include "quantbound/sweep/study.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
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
using detail::choice;
using detail::place;
using detail::require_distinct;
using detail::Table;
namespace fs = std::filesystem;

constexpr std::int64_t any_integer = std::int64_t{1} << 53;

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

Domain parse_domain(Context& context, Table table) {
  Domain domain;
  const bool is_box = table.has("low") || table.has("high");
  const bool is_vnnlib = table.has("vnnlib"), is_ball = table.has("around");
  if (static_cast<int>(is_box) + static_cast<int>(is_vnnlib) + static_cast<int>(is_ball) != 1) {
    throw InputError("a domain is one of { low, high }, { vnnlib } or { around, radius, count }", table.where());
  }
  if (is_box) {
    table.require("low");
    table.require("high");
    const BoxDomain box{.low = table.numbers("low"), .high = table.numbers("high")};
    if (box.low.size() != box.high.size())
      table.fail("low", "`low` and `high` must have as many numbers as each other");
    for (std::size_t i = 0; i < box.low.size(); ++i) {
      if (box.low[i] > box.high[i])
        table.fail("low", fmt::format("the domain is empty: low {} > high {}", box.low[i], box.high[i]));
    }
    domain = box;
  } else if (is_vnnlib) {
    domain = VnnlibDomain{existing(context, *table.text("vnnlib"), table.require("vnnlib"))};
  } else {
    BallDomain ball{.samples = *table.text("around"), .radius = 0.0, .count = 1, .clip = std::nullopt};
    table.require("radius");
    ball.radius = *table.number("radius");
    if (ball.radius < 0.0) table.fail("radius", "`radius` must not be negative");
    ball.count = table.integer("count", 1, any_integer).value_or(1);
    const auto clip = table.numbers("clip");
    if (!clip.empty()) {
      if (clip.size() != 2 || clip[0] > clip[1]) table.fail("clip", "`clip` is the valid range [low, high]");
      ball.clip = {clip[0], clip[1]};
    }
    domain = ball;
  }
  table.finish();
  return domain;
}

/// What the networks of one [[network]] table share.
StudyNetwork common_part(Context& context, Table& table) {
  StudyNetwork network;
  if (auto domain = table.table("domain")) network.domain = parse_domain(context, *domain);
  network.samples = table.texts("samples");
  network.calibration = table.text("calibration").value_or("");
  for (const auto extent : table.integers("input_shape", 1, any_integer)) {
    if (!network.input_shape) network.input_shape = Shape{};
    network.input_shape->push_back(extent);
  }
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

void add_files(Context& context, Table& table, std::set<std::string>& labels) {
  const StudyNetwork common = common_part(context, table);
  const toml::node& node = table.require("file");
  const std::string suffix = table.text("suffix").value_or("");
  for (const auto& file : table.texts("file")) {
    StudyNetwork network = common;
    const fs::path path = existing(context, file, node);
    network.label = file_label(path, suffix, labels);
    labels.insert(network.label);
    network.source = file;
    network.origin = path;
    context.study.networks.push_back(std::move(network));
  }
}

void add_family(Context& context, Table& table, std::set<std::string>& labels) {
  const StudyNetwork common = common_part(context, table);
  if (common.input_shape)
    table.fail("input_shape", "`input_shape` is for files; a family takes `inputs` or `resolution`");
  if (std::holds_alternative<FileDomain>(common.domain)) throw InputError("a family needs a `domain`", table.where());
  network::FamilyPoint point;
  const auto families = {network::Family::mlp, network::Family::cnn, network::Family::resnet,
                         network::Family::mobilenet_v2};
  const auto laws = {network::WeightLaw::he_normal, network::WeightLaw::he_uniform, network::WeightLaw::xavier_normal,
                     network::WeightLaw::orthogonal};
  point.family = choice(table, "family", *table.text("family"), {"mlp", "cnn", "resnet", "mobilenet_v2"},
                        [&](const std::string& w) { return by_name(w, families); });
  table.require("depth");
  table.require("width");
  const auto depths = table.integers("depth", 1, 100000), widths = table.integers("width", 1, 1 << 20);
  std::vector<network::WeightLaw> weight_laws;
  for (const auto& word : table.has("weights") ? table.texts("weights") : std::vector<std::string>{"he_normal"}) {
    weight_laws.push_back(choice(table, "weights", word, {"he_normal", "he_uniform", "xavier_normal", "orthogonal"},
                                 [&](const std::string& w) { return by_name(w, laws); }));
  }
  const auto draws = table.integer("draws", 1, 1 << 20).value_or(1);
  const bool is_mlp = point.family == network::Family::mlp;
  if (is_mlp && table.has("resolution")) table.fail("resolution", "an mlp has no `resolution`; give `inputs`");
  if (!is_mlp && table.has("inputs")) table.fail("inputs", "image families have no `inputs`; give `resolution`");
  point.inputs = table.integer("inputs", 1, 1 << 24).value_or(point.inputs);
  point.outputs = table.integer("outputs", 1, 1 << 20).value_or(point.outputs);
  point.resolution = table.integer("resolution", 1, 1 << 12).value_or(point.resolution);
  point.seed = context.study.seed;
  for (const auto depth : depths) {
    for (const auto width : widths) {
      for (const auto law : weight_laws) {
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

/// The tables of an array of tables ([[network]]), or an error when the key holds something else.
std::vector<Table> array_of_tables(Table& root, std::string_view key) {
  std::vector<Table> tables;
  const auto* node = root.find(key);
  if (node == nullptr) return tables;
  const auto* list = node->as_array();
  if (list == nullptr) root.fail(key, fmt::format("`{0}` must be an array of tables: write [[{0}]]", key));
  for (const auto& element : *list) {
    const auto* table = element.as_table();
    if (table == nullptr) root.fail(key, fmt::format("`{0}` must be an array of tables: write [[{0}]]", key));
    tables.emplace_back(*table, fmt::format("[[{}]]", key));
  }
  return tables;
}

void parse_networks(Context& context, Table& root) {
  std::set<std::string> labels;
  for (auto& table : array_of_tables(root, "network")) {
    if (table.has("file") == table.has("family")) {
      throw InputError("[[network]] needs one of the keys `file` and `family`", table.where());
    }
    if (table.has("file")) {
      add_files(context, table, labels);
    } else {
      add_family(context, table, labels);
    }
    table.finish();
  }
  if (context.study.networks.empty()) throw InputError("the study has no [[network]]", root.where());
}

// ------------------------------------------------------------------------------------- samples, quantization, stages

void parse_normalisation(Table& table, observe::SampleSpec& spec) {
  const std::string layout = table.text("layout").value_or("flat");
  spec.layout = choice(table, "layout", layout, {"NHWC", "NCHW", "flat"}, observe::parse_layout);
  spec.scale = table.number("scale").value_or(1.0);
  if (spec.scale <= 0.0) table.fail("scale", "`scale` must be positive: values are divided by it");
  spec.mean = table.numbers("mean");
  spec.std = table.numbers("std");
  for (const double s : spec.std) {
    if (s <= 0.0) table.fail("std", "`std` must be positive: values are divided by it");
  }
}

/// `role` and `rows`: what a set is for, and which part of the file it takes.
void parse_use(Table& table, observe::SampleSpec& spec) {
  const std::string role = table.text("role").value_or("evaluation");
  spec.role = choice(table, "role", role, {"evaluation", "calibration"}, observe::parse_role);
  const auto rows = table.integers("rows", 0, any_integer);
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

void parse_samples(Context& context, Table& root) {
  std::set<std::string> names;
  for (auto& table : array_of_tables(root, "samples")) {
    observe::SampleSpec spec;
    table.require("name");
    spec.name = *table.text("name");
    if (spec.name == "uniform") table.fail("name", "the name 'uniform' belongs to the uniform points of [observe]");
    if (!names.insert(spec.name).second) table.fail("name", fmt::format("two sample sets are called '{}'", spec.name));
    const toml::node& images = table.require("images");
    spec.images = existing(context, *table.text("images"), images);
    if (const auto labels = table.text("labels")) spec.labels = existing(context, *labels, table.require("labels"));
    parse_normalisation(table, spec);
    spec.label_offset = static_cast<int>(table.integer("label_offset", -1000000, 1000000).value_or(0));
    parse_use(table, spec);
    table.finish();
    require_kept_apart(context.study.samples, spec, table);
    context.study.samples.push_back(std::move(spec));
  }
}

void parse_step(Study& study, Table& table) {
  const auto* node = table.find("step");
  if (node == nullptr) return;
  if (node->is_table()) {
    Table fixed = *table.table("step");
    fixed.require("fixed");
    study.step_rule = quantize::StepRule::fixed;
    study.fixed_step = *fixed.number("fixed");
    if (study.fixed_step <= 0.0) fixed.fail("fixed", "`fixed` must be positive");
    fixed.finish();
    return;
  }
  study.step_rule = choice(table, "step", *table.text("step"), {"max", "mse"}, [](const std::string& w) {
    return by_name(w, {quantize::StepRule::max, quantize::StepRule::mse});
  });
}

void parse_quantization(Context& context, Table& root) {
  Study& study = context.study;
  auto found = root.table("quantization");
  if (!found) throw InputError("the study has no [quantization]", root.where());
  Table& table = *found;
  table.require("bits");
  const auto quantizers = table.has("quantizer") ? table.texts("quantizer") : std::vector<std::string>{"round"};
  for (const auto& word : quantizers) {
    study.quantizers.push_back(choice(table, "quantizer", word, quantizer_names(), parse_study_quantizer));
  }
  const auto granularities = table.has("granularity") ? table.texts("granularity") : std::vector<std::string>{"tensor"};
  for (const auto& word : granularities) {
    study.granularities.push_back(
        choice(table, "granularity", word, {"tensor", "channel"}, quantize::parse_granularity));
  }
  for (const auto b : table.integers("bits", 2, 16)) study.bits.push_back(static_cast<int>(b));
  for (const auto s : table.integers("seed", 0, any_integer)) study.seeds.push_back(static_cast<std::uint64_t>(s));
  if (study.seeds.empty()) study.seeds.push_back(study.seed);
  parse_step(study, table);
  if (const auto grid = table.text("grid")) {
    study.grid = choice(table, "grid", *grid, {"symmetric", "affine"}, quantize::parse_grid);
  }
  const bool biases = table.flag("biases").value_or(false);
  study.edge_bits = static_cast<int>(table.integer("edge_bits", 2, 16).value_or(0));
  const auto bias_bits = table.integer("bias_bits", 2, 16);
  if (bias_bits && !biases) table.fail("bias_bits", "`bias_bits` needs `biases = true`");
  study.bias_bits = biases ? static_cast<int>(bias_bits.value_or(16)) : 0;
  require_distinct(table, "quantizer", quantizers);
  require_distinct(table, "granularity", study.granularities);
  require_distinct(table, "bits", study.bits);
  require_distinct(table, "seed", study.seeds);
  table.finish();
}

void parse_bounds(Context& context, Table& root) {
  std::vector<std::string> known;
  for (const auto& theory : bounds::theories()) known.emplace_back(theory.name);
  std::vector<std::string> wanted = known;
  if (auto table = root.table("bounds")) {
    const auto named = table->texts("theory");
    if (!named.empty() && named != std::vector<std::string>{"all"}) {
      for (const auto& word : named) {
        choice(*table, "theory", word, known, [&](const std::string& w) {
          return std::ranges::find(known, w) == known.end() ? std::nullopt : std::optional(w);
        });
      }
      require_distinct(*table, "theory", named);
      std::erase_if(wanted, [&](const std::string& name) { return std::ranges::find(named, name) == named.end(); });
    }
    table->finish();
  }
  context.study.theories = std::move(wanted);
}

/// A key that limits work: a positive number.
std::optional<double> positive(Table& table, std::string_view key) {
  const auto value = table.number(key);
  if (value && *value <= 0.0) table.fail(key, fmt::format("`{}` must be positive", key));
  return value;
}

certify::MethodOptions parse_method_options(Table& table) {
  certify::MethodOptions options;
  if (const auto tolerance = table.number("tolerance")) {
    if (*tolerance < 0.0) table.fail("tolerance", "`tolerance` must not be negative");
    options.tolerance = *tolerance;
  }
  options.max_seconds = positive(table, "max_seconds").value_or(options.max_seconds);
  options.max_boxes = table.integer("max_boxes", 1, any_integer).value_or(options.max_boxes);
  options.generators = table.integer("generators", 1, 1 << 24).value_or(options.generators);
  options.alpha_steps = table.integer("alpha_steps", 0, 1 << 20).value_or(options.alpha_steps);
  if (const auto gibibytes = positive(table, "max_memory")) {
    constexpr double largest = 1 << 20;  // a pebibyte
    if (*gibibytes > largest) table.fail("max_memory", "`max_memory` is in GiB and at most 1048576");
    options.max_bytes = static_cast<std::size_t>(*gibibytes * 0x1p30);
  }
  return options;
}

void parse_certify(Context& context, Table& root) {
  auto table = root.table("certify");
  if (!table) return;
  std::vector<std::string> known;
  for (const auto& info : certify::methods()) known.emplace_back(info.name);
  const auto& node = table->require("method");
  const bool off = node.is_array() && node.as_array()->empty();
  const auto named = off ? std::vector<std::string>() : table->texts("method");
  require_distinct(*table, "method", named);
  const bool all = named == std::vector<std::string>{"all"};
  std::set<certify::Method> wanted;
  for (const auto& word : all ? known : named) {
    wanted.insert(choice(*table, "method", word, known, certify::parse_method));
  }
  for (const auto& info : certify::methods()) {
    if (wanted.contains(info.method)) context.study.methods.push_back(info.method);
  }
  context.study.certify = parse_method_options(*table);
  table->finish();
}

observe::AttackOptions parse_attack(Table& table) {
  observe::AttackOptions options;
  options.starts = table.integer("starts", 1, 1 << 24).value_or(options.starts);
  options.steps = table.integer("steps", 0, 1 << 24).value_or(options.steps);
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

void parse_observe(Context& context, Table& root) {
  Study& study = context.study;
  std::vector<std::string> samples;
  study.quantiles = {0.5, 0.9, 0.99, 0.999};
  auto table = root.table("observe");
  if (table) {
    samples = table->texts("samples");
    study.uniform_points = table->integer("uniform", 0, 1 << 30).value_or(0);
    if (table->has("quantiles")) study.quantiles = table->numbers("quantiles");
    for (std::size_t i = 0; i < study.quantiles.size(); ++i) {
      const bool increasing = i == 0 || study.quantiles[i] > study.quantiles[i - 1];
      if (study.quantiles[i] <= 0.0 || study.quantiles[i] > 1.0 || !increasing) {
        table->fail("quantiles", "`quantiles` must increase within (0, 1]");
      }
    }
    if (auto attack = table->table("attack")) study.attack = parse_attack(*attack);
    study.precision = choice(
        *table, "precision", table->text("precision").value_or("auto"), {"auto", "float", "double"},
        [](const std::string& w) {
          return by_name(w, {observe::Precision::automatic, observe::Precision::float32, observe::Precision::float64});
        });
    if (const auto confidence = table->number("confidence")) {
      if (*confidence <= 0.0 || *confidence >= 1.0) table->fail("confidence", "`confidence` must be within (0, 1)");
      study.confidence = *confidence;
    }
    study.layer_samples = table->integer("layer_samples", 0, 1 << 24).value_or(study.layer_samples);
    study.per_sample = table->flag("per_sample").value_or(study.per_sample);
    table->finish();
  }
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
    throw InputError(std::string(error.description()), place(error.source()));
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
  Table root(file, "the study");
  auto head = root.table("study");
  if (!head) throw InputError("the study has no [study] table with a name", path.string());
  head->require("name");
  study.name = *head->text("name");
  if (study.name.empty() || study.name.find('/') != std::string::npos)
    head->fail("name", "`name` must be a file name without '/'");
  study.seed = static_cast<std::uint64_t>(head->integer("seed", 0, any_integer).value_or(1));
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
  Table table(keys, "[reconstruct]");
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
