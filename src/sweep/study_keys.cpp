#include "quantbound/sweep/study_keys.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "quantbound/bounds/theory.hpp"
#include "quantbound/certify/method.hpp"
#include "quantbound/core/assert.hpp"
#include "quantbound/network/families.hpp"
#include "quantbound/observe/attack.hpp"
#include "quantbound/observe/samples.hpp"
#include "quantbound/reconstruct/reconstruct.hpp"
#include "quantbound/sweep/study.hpp"
#include "quantbound/sweep/study_quantizer.hpp"

namespace quantbound::sweep {

namespace {

constexpr double largest_integer = 0x1p53;  ///< any: more than anything that is counted

// ------------------------------------------------------------------------------------ what a declaration is written
// with

Limits from_to(double lowest, double highest) { return {.lowest = lowest, .highest = highest}; }
Limits from(double lowest) { return from_to(lowest, largest_integer); }
Limits not_negative() { return {.lowest = 0.0}; }
Limits positive(std::string reason = {}) {
  return {.lowest = 0.0, .without_lowest = true, .reason = std::move(reason)};
}

StudyKey text(std::string name, std::string meaning) {
  return {.name = std::move(name), .type = KeyType::text, .meaning = std::move(meaning)};
}
StudyKey flag(std::string name, bool fallback, std::string meaning) {
  return {.name = std::move(name), .type = KeyType::flag, .meaning = std::move(meaning), .fallback = fallback};
}
StudyKey integer(std::string name, Limits limits, std::string meaning) {
  return {
      .name = std::move(name), .type = KeyType::integer, .meaning = std::move(meaning), .limits = std::move(limits)};
}
StudyKey number(std::string name, Limits limits, std::string meaning) {
  return {.name = std::move(name), .type = KeyType::number, .meaning = std::move(meaning), .limits = std::move(limits)};
}
StudyKey word(std::string name, std::vector<std::string> words, std::string meaning) {
  return {.name = std::move(name), .type = KeyType::word, .meaning = std::move(meaning), .words = std::move(words)};
}
StudyKey table(std::string name, std::string meaning) {
  return {.name = std::move(name), .type = KeyType::table, .meaning = std::move(meaning)};
}
StudyKey tables(std::string name, std::string meaning) {
  return {.name = std::move(name), .type = KeyType::tables, .meaning = std::move(meaning)};
}

StudyKey required(StudyKey key) {
  key.required = true;
  return key;
}
StudyKey list(StudyKey key) {
  key.count = Count::list;
  return key;
}
StudyKey sequence(StudyKey key) {
  key.count = Count::sequence;
  return key;
}
StudyKey in(std::string unit, StudyKey key) {
  key.unit = std::move(unit);
  return key;
}
StudyKey or_else(Default fallback, StudyKey key) {
  key.fallback = std::move(fallback);
  return key;
}
StudyKey absent(std::string what, StudyKey key) {
  key.when_absent = std::move(what);
  return key;
}
StudyKey also(std::string form, StudyKey key) {
  key.also = std::move(form);
  return key;
}

template <class Enum>
std::vector<std::string> words_of(std::initializer_list<Enum> values) {
  std::vector<std::string> words;
  for (const Enum value : values) words.emplace_back(to_string(value));
  return words;
}

template <class Range>
std::vector<std::string> names_of(const Range& table) {
  std::vector<std::string> names;
  for (const auto& row : table) names.emplace_back(row.name);
  return names;
}

template <class Enum>
Default word_of(Enum value) {
  return std::string(to_string(value));
}

// ------------------------------------------------------------------------------------------------- the declarations

StudySection whole_file() {
  return {.title = "The file",
          .name = "the study",
          .about = "The tables that a study consists of.",
          .keys = {required(table("study", "Name and seed.")),
                   required(tables("network", "What is quantized: files, or synthetic families. At least one.")),
                   absent("no sets", tables("samples", "Inputs to measure on, and to fit methods to.")),
                   required(table("quantization", "The configurations: how every network is quantized.")),
                   absent("all bounds", table("bounds", "Which closed-form bounds.")),
                   absent("no certificates", table("certify", "Which certificates, and what each may cost.")),
                   absent("nothing is measured", table("observe", "What is measured, on which samples.")),
                   absent("the defaults of its keys",
                          table("reconstruct",
                                "How methods are fitted to calibration samples. Only in a study with a "
                                "method on the quantizer axis."))}};
}

StudySection study() {
  return {.title = "[study]",
          .name = "[study]",
          .about = "",
          .keys = {required(text("name", "Also the default name of the result: NAME.h5. Without '/'.")),
                   or_else(std::int64_t{1}, integer("seed", from(0), "Of everything random in the study."))}};
}

/// Keys of both forms of [[network]].
void add_common_network_keys(std::vector<StudyKey>& keys) {
  keys.push_back(absent("those of [observe]",
                        list(text("samples", "Names of the sample sets that this network is measured on."))));
  keys.push_back(
      absent("that of [reconstruct]",
             text("calibration", "Name of the calibration set that methods are fitted to for this network.")));
}

StudySection network_files() {
  StudySection section{
      .title = "[[network]] with file",
      .name = "[[network]]",
      .about = "Networks that are read from files.",
      .keys = {required(list(text("file", "ONNX or .nnet files, each one network."))),
               absent("the box that an .nnet file brings; ONNX files need one",
                      table("domain", "The set of inputs, in one of the three forms below.")),
               absent("nothing", text("suffix",
                                      "Appended to the labels, so that a file may come again with another "
                                      "domain.")),
               absent("that of the file",
                      sequence(integer("input_shape", from(1), "Of one sample, for files that leave it open.")))}};
  add_common_network_keys(section.keys);
  return section;
}

StudySection network_family() {
  using network::Family;
  using network::WeightLaw;
  const network::FamilyPoint defaults;
  StudySection section{
      .title = "[[network]] with family",
      .name = "[[network]]",
      .about = "Synthetic networks: the cartesian product of the lists, each point `draws` times.",
      .keys = {
          required(word("family", words_of({Family::mlp, Family::cnn, Family::resnet, Family::mobilenet_v2}),
                        "The kind of network.")),
          required(table("domain", "The set of inputs, in one of the three forms below.")),
          required(list(integer(
              "depth", from_to(1, 100000),
              "Weight layers: of an mlp any number, of a cnn 2 or more, of a resnet 6n+2, of mobilenet_v2 3n+2."))),
          required(list(integer("width", from_to(1, 1 << 20),
                                "Of the hidden layers of an mlp; channels of the first stage of "
                                "the others."))),
          or_else(std::vector{std::string(to_string(defaults.law))},
                  list(word("weights",
                            words_of({WeightLaw::he_normal, WeightLaw::he_uniform, WeightLaw::xavier_normal,
                                      WeightLaw::orthogonal}),
                            "The distribution of the weights."))),
          or_else(std::int64_t{1}, integer("draws", from_to(1, 1 << 20), "Independent networks per point.")),
          or_else(defaults.inputs, integer("inputs", from_to(1, 1 << 24), "Inputs of an mlp.")),
          or_else(defaults.outputs, integer("outputs", from_to(1, 1 << 20), "Outputs.")),
          or_else(defaults.resolution,
                  integer("resolution", from_to(1, 1 << 12), "Height and width of the input of image families."))}};
  add_common_network_keys(section.keys);
  return section;
}

StudySection box_domain() {
  const std::string which = ": one number for all inputs, or one per input.";
  return {.title = "domain = { low, high }",
          .name = "[domain]",
          .about = "A box.",
          .keys = {required(list(number("low", {}, "Lower end" + which))),
                   required(list(number("high", {}, "Upper end" + which)))}};
}

StudySection property_domain() {
  return {.title = "domain = { vnnlib }",
          .name = "[domain]",
          .about = "The input box of a property.",
          .keys = {required(text("vnnlib", "A VNN-LIB file."))}};
}

StudySection ball_domain() {
  const BallDomain defaults;
  return {.title = "domain = { around, radius }",
          .name = "[domain]",
          .about = "Balls of the inf-norm around samples: each is a region of its own.",
          .keys = {required(text("around", "Name of the sample set of the centres.")),
                   required(number("radius", not_negative(), "Of every ball, in units of the network's input.")),
                   or_else(defaults.count, integer("count", from(1), "So many first samples of the set.")),
                   absent("balls are not clipped",
                          sequence(number("clip", {}, "The valid range [low, high] that balls are clipped to.")))}};
}

StudySection samples() {
  using observe::Layout;
  using observe::Role;
  const observe::SampleSpec defaults;
  const auto per_channel = [](std::string name, Limits limits, const char* what, const char* otherwise) {
    return absent(otherwise, list(number(std::move(name), std::move(limits),
                                         fmt::format("{}: one number, or one per channel.", what))));
  };
  return {
      .title = "[[samples]]",
      .name = "[[samples]]",
      .about = "A set of inputs. An input of the network is (value / scale - mean) / std.",
      .keys = {required(text("name", "By which other keys name the set; not \"uniform\".")),
               required(text("images",
                             "A .npy or idx file, or an HDF5 dataset \"file.h5:/path\"; the first axis "
                             "counts samples.")),
               absent("no accuracies", text("labels", "Integers, in a file of the same kinds.")),
               or_else(word_of(defaults.layout), word("layout", words_of({Layout::nhwc, Layout::nchw, Layout::flat}),
                                                      "Order of the axes behind the first.")),
               or_else(defaults.scale, number("scale", positive("values are divided by it"), "Divides the values.")),
               per_channel("mean", {}, "Subtracted after that", "0"),
               per_channel("std", positive("values are divided by it"), "Divides the rest", "1"),
               or_else(std::int64_t{defaults.label_offset},
                       integer("label_offset", from_to(-1000000, 1000000), "Added to every label.")),
               or_else(word_of(defaults.role), word("role", words_of({Role::evaluation, Role::calibration}),
                                                    "To measure on, or to fit methods to. Sets of different roles "
                                                    "may not share rows of a file.")),
               absent("the whole file", sequence(integer("rows", from(0), "[first, count], the first from 0.")))}};
}

StudySection quantization() {
  using quantize::Granularity;
  using quantize::Grid;
  using quantize::StepRule;
  const quantize::Configuration defaults;
  const auto bits = from_to(2, 16);
  return {
      .title = "[quantization]",
      .name = "[quantization]",
      .about = "The configurations: quantizer x granularity x bits x seed.",
      .keys = {or_else(std::vector<std::string>{"round"},
                       list(word("quantizer", quantizer_names(),
                                 "A rounding rule, or a method that is fitted to samples."))),
               or_else(std::vector<std::string>{"tensor"},
                       list(word("granularity", words_of({Granularity::tensor, Granularity::channel}),
                                 "One step per weight tensor, or per output channel."))),
               required(list(integer("bits", bits, "Of a weight."))),
               absent("the seed of the study",
                      list(integer("seed", from(0), "Of stochastic rounding and of reconstruction."))),
               also("{ fixed = 0.01 }",
                    or_else(word_of(defaults.step_rule),
                            word("step", words_of({StepRule::max, StepRule::mse}),
                                 "The distance of two grid points: set by the largest "
                                 "weight, by a search for the least error (docs/theory.md 7.1), or given."))),
               or_else(word_of(defaults.grid), word("grid", words_of({Grid::symmetric, Grid::affine}),
                                                    "Whether the grid is symmetric around 0 or spans the range of the "
                                                    "weights.")),
               flag("biases", false, "Whether biases are quantized, too."),
               absent("16 with `biases = true`", integer("bias_bits", bits, "Of a bias. Only with `biases = true`.")),
               absent("as all other layers", integer("edge_bits", bits,
                                                     "Of the weights of the first and the last weight "
                                                     "layer, whatever `bits` says."))}};
}

StudySection fixed_step() {
  return {.title = "step = { fixed }",
          .name = "[step]",
          .about = "",
          .keys = {required(number("fixed", positive(), "The step of all layers."))}};
}

StudySection bounds() {
  return {.title = "[bounds]",
          .name = "[bounds]",
          .about = "",
          .keys = {also("\"all\"",
                        or_else(std::vector<std::string>{"all"}, list(word("theory", names_of(bounds::theories()),
                                                                           "Which theories, see docs/bounds.md."))))}};
}

StudySection certify() {
  const certify::MethodOptions defaults;
  return {.title = "[certify]",
          .name = "[certify]",
          .about = "Certificates of every pair and region; see docs/certify.md.",
          .keys = {also("\"all\"", required(list(word("method", names_of(certify::methods()),
                                                      "Which methods; [] switches the stage off.")))),
                   or_else(defaults.tolerance, number("tolerance", not_negative(),
                                                      "branch_and_bound: stops where upper <= (1 + tolerance) lower.")),
                   absent("no limit",
                          in("s", number("max_seconds", positive(),
                                         "star, branch_and_bound: per pair and region. What had been proved by then "
                                         "counts (status timed_out) and may differ from run to run."))),
                   absent("no limit", integer("max_boxes", from(1), "branch_and_bound: stops after so many pieces.")),
                   or_else(defaults.generators,
                           integer("generators", from_to(1, 1 << 24), "difference_zonotope: most generators kept.")),
                   or_else(defaults.alpha_steps,
                           integer("alpha_steps", from_to(0, 1 << 20), "alpha_crown: steps of the optimiser.")),
                   or_else(static_cast<double>(defaults.max_bytes) / 0x1p30,
                           in("GiB", number("max_memory", {.lowest = 0.0, .highest = 1 << 20, .without_lowest = true},
                                            "For one pair; a method that needs more is not applied.")))}};
}

StudySection observation() {
  using observe::Precision;
  const Study defaults;
  const Limits probability{.lowest = 0.0, .highest = 1.0, .without_lowest = true, .without_highest = true};
  return {
      .title = "[observe]",
      .name = "[observe]",
      .about = "Measurements; see docs/observe.md and docs/statistics.md.",
      .keys = {
          absent("none",
                 list(text("samples", "Names of the evaluation sets for networks that do not name their own."))),
          or_else(std::int64_t{0}, integer("uniform", from_to(0, 1 << 30), "Points drawn uniformly from the domain.")),
          or_else(std::vector{0.5, 0.9, 0.99, 0.999},
                  list(number("quantiles", {.lowest = 0.0, .highest = 1.0, .without_lowest = true},
                              "Of the measured deviations, increasing."))),
          absent("no search", table("attack", "Searches every region for inputs that deviate much.")),
          or_else(word_of(defaults.precision),
                  word("precision", words_of({Precision::automatic, Precision::float32, Precision::float64}),
                       "Of the measurement; auto takes float, and double where a deviation is near its resolution.")),
          or_else(defaults.confidence,
                  number("confidence", probability, "Of what samples prove about the distribution they come from.")),
          or_else(defaults.layer_samples, integer("layer_samples", from_to(0, 1 << 24),
                                                  "So many first samples of every set are measured layer by layer.")),
          flag("per_sample", defaults.per_sample, "Whether the result lists the deviation of every sample.")}};
}

StudySection attack() {
  const observe::AttackOptions defaults;
  return {.title = "attack = { starts, steps }",
          .name = "[attack]",
          .about = "",
          .keys = {or_else(defaults.starts, integer("starts", from_to(1, 1 << 24),
                                                    "Starting points of each output and sign that is climbed.")),
                   or_else(defaults.steps, integer("steps", from_to(0, 1 << 24), "Steps of one climb."))}};
}

void add_training_keys(std::vector<StudyKey>& keys, const reconstruct::Options& defaults) {
  constexpr double most = 1e6;
  keys.push_back(or_else(defaults.iterations, integer("iterations", from_to(1, 1 << 30), "Per module.")));
  keys.push_back(or_else(defaults.batch, integer("batch", from_to(1, 1 << 20), "Samples of an iteration.")));
  keys.push_back(or_else(defaults.learning_rate, number("learning_rate", from_to(1e-12, most), "Of Adam.")));
  keys.push_back(or_else(
      defaults.regularization,
      number("regularization", from_to(0.0, most), "Weight of the regularizer that drives roundings to 0 or 1.")));
  keys.push_back(or_else(std::string("loss"),
                         word("regularization_unit", {"loss", "absolute"},
                              "What that is a multiple of: the module's loss with weights rounded to nearest, or 1 as "
                              "published (with 0.01).")));
  keys.push_back(
      or_else(defaults.warm_up, number("warm_up", from_to(0.0, 1.0), "Part of the iterations without regularizer.")));
  keys.push_back(or_else(
      std::vector{defaults.beta_first, defaults.beta_last},
      sequence(number("beta", from_to(1.0, 1000.0), "The exponent of the regularizer, [first, last], falling."))));
  keys.push_back(or_else(defaults.drop, number("drop", from_to(0.0, 1.0),
                                               "qdrop: probability that an element of the input is the quantized "
                                               "network's.")));
  keys.push_back(or_else(std::string("none"), word("weighting", {"none", "fisher"},
                                                   "brecq, qdrop, mrecg, mrecg_loss: how elements of the loss "
                                                   "count.")));
  keys.push_back(or_else(std::string("moments"),
                         word("quadratic", {"moments", "batches"},
                              "How a layer without activation is trained: on second moments of all samples, or by "
                              "batches as any other.")));
  keys.push_back(or_else(defaults.damping, number("damping", from_to(0.0, most), "gptq: of the Hessian.")));
  keys.push_back(
      or_else(std::string("natural"), word("order", {"natural", "activations"}, "gptq: order of the columns.")));
  keys.push_back(or_else(std::string("none"),
                         word("equalize", {"none", "cross_layer"},
                              "Exact cross-layer equalization before all methods; cle_round always has it.")));
  keys.push_back(
      or_else(std::string("none"), word("bias_correction", {"none", "empirical"},
                                        "empirical: the mean of every channel over the samples becomes that of f.")));
}

void add_module_keys(std::vector<StudyKey>& keys, const reconstruct::Options& defaults) {
  using reconstruct::Homogeneity;
  using reconstruct::Method;
  using reconstruct::ModuleKind;
  keys.push_back(
      also("[[\"first\", \"last\"], ...]",
           or_else(word_of(defaults.modules),
                   word("modules", words_of({ModuleKind::layer, ModuleKind::block, ModuleKind::stage}),
                        "What is reconstructed as one: a kind, or names of the first and last layer of each. "
                        "gptq and adaround go by layers."))));
  keys.push_back(also("\"random\"", absent("none, or as mrecg chooses",
                                           list(integer("runs", from_to(1, 1 << 20),
                                                        "brecq, qdrop, mrecg: so many modules each become one; random: "
                                                        "a scheme drawn from the seed.")))));
  keys.push_back(or_else(word_of(defaults.joint), word("joint", words_of({Method::brecq, Method::qdrop}),
                                                       "mrecg, mrecg_loss: what is fitted.")));
  keys.push_back(or_else(defaults.capacity.stride_factor, number("stride_factor", from_to(1e-6, 1e6),
                                                                 "Of layers with a stride in the capacity of a "
                                                                 "module.")));
  keys.push_back(
      or_else(word_of(defaults.homogeneity),
              word("homogeneity", words_of({Homogeneity::strict, Homogeneity::definition, Homogeneity::converted}),
                   "mrecg: which neighbours may be joined.")));
  keys.push_back(absent("a quarter of the pairs",
                        integer("joins", from_to(1, 1 << 20), "mrecg, mrecg_loss: neighbours that are joined.")));
  keys.push_back(or_else(defaults.join_penalty, number("join_penalty", from_to(0.0, 1e6),
                                                       "Of joins beyond that number, see docs/theory.md 6.")));
  keys.push_back(absent("2 for mrecg, else 3",
                        integer("longest_run", from_to(1, 1 << 20), "Most modules that are joined to one.")));
}

StudySection reconstruction() {
  const reconstruct::Options defaults;
  StudySection section{
      .title = "[reconstruct]",
      .name = "[reconstruct]",
      .about =
          "How methods on the quantizer axis are fitted; see docs/theory.md 6 and 7. A method reads "
          "the keys that are about it.",
      .keys = {absent("every network names its own", text("samples", "Name of a set with role = \"calibration\"."))}};
  add_training_keys(section.keys, defaults);
  add_module_keys(section.keys, defaults);
  return section;
}

// ---------------------------------------------------------------------------------------------------- in words

std::string in_words(double value) {
  int exponent = 0;
  if (value >= 1 << 20 && std::frexp(value, &exponent) == 0.5) return fmt::format("2^{}", exponent - 1);
  return fmt::format("{}", value);
}

std::string in_words(const Limits& limits) {
  const bool no_highest = limits.highest >= largest_integer;
  if (limits.lowest < -largest_integer && no_highest) return "";
  if (no_highest && limits.lowest == 0.0) return limits.without_lowest ? "positive" : "not negative";
  if (no_highest) return "at least " + in_words(limits.lowest);
  if (!limits.without_lowest && !limits.without_highest)
    return fmt::format("{} to {}", in_words(limits.lowest), in_words(limits.highest));
  return fmt::format("within {}{}, {}{}", limits.without_lowest ? '(' : '[', in_words(limits.lowest),
                     in_words(limits.highest), limits.without_highest ? ')' : ']');
}

std::string quoted(const std::string& word) { return '"' + word + '"'; }

std::string type_in_words(const StudyKey& key) {
  switch (key.type) {
    case KeyType::text:
      return "string";
    case KeyType::word: {
      std::vector<std::string> words;
      for (const auto& word : key.words) words.push_back(quoted(word));
      return fmt::format("{}", fmt::join(words, " | "));
    }
    case KeyType::number:
      return "number";
    case KeyType::integer:
      return "integer";
    case KeyType::flag:
      return "true | false";
    case KeyType::table:
      return "table";
    case KeyType::tables:
      return "tables";
  }
  QUANTBOUND_ASSERT(false, key.name);
}

}  // namespace

bool Limits::contain(double value) const {
  const bool above = without_lowest ? value > lowest : value >= lowest;
  return above && (without_highest ? value < highest : value <= highest);
}

const StudyKey* StudySection::find(std::string_view key) const {
  const auto found = std::ranges::find(keys, key, &StudyKey::name);
  return found == keys.end() ? nullptr : &*found;
}

std::span<const StudySection> study_sections() {
  static const std::vector<StudySection> sections{whole_file(),   study(),           network_files(), network_family(),
                                                  box_domain(),   property_domain(), ball_domain(),   samples(),
                                                  quantization(), fixed_step(),      bounds(),        certify(),
                                                  observation(),  attack(),          reconstruction()};
  return sections;
}

const StudySection& study_section(std::string_view title) {
  const auto sections = study_sections();
  const auto found = std::ranges::find(sections, title, &StudySection::title);
  QUANTBOUND_ASSERT(found != sections.end(), title);
  return *found;
}

std::string to_toml(const Default& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<Held, std::monostate>) {
          QUANTBOUND_ASSERT(false, "there is no value");
        } else if constexpr (std::is_same_v<Held, std::string>) {
          return quoted(held);
        } else if constexpr (std::is_same_v<Held, std::vector<std::string>>) {
          return held.size() == 1 ? quoted(held.front()) : fmt::format("[\"{}\"]", fmt::join(held, "\", \""));
        } else if constexpr (std::is_arithmetic_v<Held>) {
          return fmt::format("{}", held);
        } else {
          return fmt::format("[{}]", fmt::join(held, ", "));
        }
      },
      value);
}

std::string describe(const StudyKey& key) {
  std::string text = type_in_words(key);
  if (key.count == Count::list) text += ", or a list";
  if (key.count == Count::sequence) text = "list of " + text + "s";
  if (const std::string limits = in_words(key.limits); !limits.empty()) text += ", " + limits;
  if (!key.unit.empty()) text += ", in " + key.unit;
  if (!key.also.empty()) text += ", or " + key.also;
  if (key.required) return text + "; required";
  if (!std::holds_alternative<std::monostate>(key.fallback)) return text + "; default " + to_toml(key.fallback);
  return key.when_absent.empty() ? text : text + "; left out: " + key.when_absent;
}

}  // namespace quantbound::sweep
