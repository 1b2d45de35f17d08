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

// ---------------------------------------------------------------------------- what declarations are written with

Limits from_to(double lowest, double highest) { return {.lowest = lowest, .highest = highest}; }
Limits from(double lowest) { return from_to(lowest, largest_integer); }
Limits not_negative() { return {.lowest = 0.0}; }
Limits positive(std::string reason = {}) {
  return {.lowest = 0.0, .without_lowest = true, .reason = std::move(reason)};
}

/// A key in the making: integer("seed", from(0), "...").list().otherwise("the seed of the study").
class Key {
 public:
  Key(KeyType type, std::string name, std::string meaning)
      : key_{.name = std::move(name), .type = type, .meaning = std::move(meaning)} {}

  Key required() { return with(&StudyKey::required, true); }
  Key list() { return with(&StudyKey::count, Count::list); }
  Key sequence() { return with(&StudyKey::count, Count::sequence); }
  Key limits(Limits limits) { return with(&StudyKey::limits, std::move(limits)); }
  Key unit(std::string unit) { return with(&StudyKey::unit, std::move(unit)); }
  Key words(std::vector<std::string> words) { return with(&StudyKey::words, std::move(words)); }
  /// Another form of value.
  Key also(std::string form) { return with(&StudyKey::also, std::move(form)); }
  /// What stands for a key that is left out: a value, or words where no value can say it.
  Key fallback(Default value) { return with(&StudyKey::fallback, std::move(value)); }
  Key otherwise(std::string what) { return with(&StudyKey::when_absent, std::move(what)); }

  operator StudyKey() const { return key_; }  // NOLINT(google-explicit-constructor): a list of keys is a list of these

 private:
  template <class Member, class Value>
  Key with(Member member, Value value) {
    key_.*member = std::move(value);
    return std::move(*this);
  }
  StudyKey key_;
};

Key text(std::string name, std::string meaning) { return {KeyType::text, std::move(name), std::move(meaning)}; }
Key flag(std::string name, std::string meaning) { return {KeyType::flag, std::move(name), std::move(meaning)}; }
Key table(std::string name, std::string meaning) { return {KeyType::table, std::move(name), std::move(meaning)}; }
Key tables(std::string name, std::string meaning) { return {KeyType::tables, std::move(name), std::move(meaning)}; }
Key integer(std::string name, Limits limits, std::string meaning) {
  return Key(KeyType::integer, std::move(name), std::move(meaning)).limits(std::move(limits));
}
Key number(std::string name, Limits limits, std::string meaning) {
  return Key(KeyType::number, std::move(name), std::move(meaning)).limits(std::move(limits));
}
Key word(std::string name, std::vector<std::string> words, std::string meaning) {
  return Key(KeyType::word, std::move(name), std::move(meaning)).words(std::move(words));
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
  return {
      .title = "The file",
      .name = "the study",
      .about = "The tables that a study consists of.",
      .keys = {
          table("study", "Name and seed.").required(),
          tables("network", "What is quantized: files, or synthetic families. At least one.").required(),
          tables("samples", "Inputs to measure on, and to fit methods to.").otherwise("no sets"),
          table("quantization", "The configurations: how every network is quantized.").required(),
          table("bounds", "Which closed-form bounds.").otherwise("all bounds"),
          table("certify", "Which certificates, and what each may cost.").otherwise("no certificates"),
          table("observe", "What is measured, on which samples.").otherwise("nothing is measured"),
          table("reconstruct",
                "How methods are fitted to calibration samples. Only in a study with a method on the quantizer axis.")
              .otherwise("the defaults of its keys")}};
}

StudySection study() {
  return {.title = "[study]",
          .name = "[study]",
          .about = "",
          .keys = {text("name", "Also the default name of the result: NAME.h5. Without '/'.").required(),
                   integer("seed", from(0), "Of everything random in the study.").fallback(std::int64_t{1})}};
}

/// Keys of both forms of [[network]].
void add_common_network_keys(std::vector<StudyKey>& keys) {
  keys.push_back(text("samples", "Names of the sample sets that this network is measured on.")
                     .list()
                     .otherwise("those of [observe]"));
  keys.push_back(text("calibration", "Name of the calibration set that methods are fitted to for this network.")
                     .otherwise("that of [reconstruct]"));
}

StudySection network_files() {
  StudySection section{
      .title = "[[network]] with file",
      .name = "[[network]]",
      .about = "Networks that are read from files.",
      .keys = {text("file", "ONNX or .nnet files, each one network.").list().required(),
               table("domain", "The set of inputs, in one of the three forms below.")
                   .otherwise("the box that an .nnet file brings; ONNX files need one"),
               text("suffix", "Appended to the labels, so that a file may come again with another domain.")
                   .otherwise("nothing"),
               integer("input_shape", from(1), "Of one sample, for files that leave it open.")
                   .sequence()
                   .otherwise("that of the file")}};
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
          word("family", words_of({Family::mlp, Family::cnn, Family::resnet, Family::mobilenet_v2}),
               "The kind of network.")
              .required(),
          table("domain", "The set of inputs, in one of the three forms below.").required(),
          integer("depth", from_to(1, 100000),
                  "Weight layers: of an mlp any number, of a cnn 2 or more, of a resnet 6n+2, of mobilenet_v2 3n+2.")
              .list()
              .required(),
          integer("width", from_to(1, 1 << 20),
                  "Of the hidden layers of an mlp; channels of the first stage of the others.")
              .list()
              .required(),
          word("weights",
               words_of({WeightLaw::he_normal, WeightLaw::he_uniform, WeightLaw::xavier_normal, WeightLaw::orthogonal}),
               "The distribution of the weights.")
              .list()
              .fallback(std::vector{std::string(to_string(defaults.law))}),
          integer("draws", from_to(1, 1 << 20), "Independent networks per point.").fallback(std::int64_t{1}),
          integer("inputs", from_to(1, 1 << 24), "Inputs of an mlp.").fallback(defaults.inputs),
          integer("outputs", from_to(1, 1 << 20), "Outputs.").fallback(defaults.outputs),
          integer("resolution", from_to(1, 1 << 12), "Height and width of the input of image families.")
              .fallback(defaults.resolution)}};
  add_common_network_keys(section.keys);
  return section;
}

StudySection box_domain() {
  const std::string which = ": one number for all inputs, or one per input.";
  return {.title = "domain = { low, high }",
          .name = "[domain]",
          .about = "A box.",
          .keys = {number("low", {}, "Lower end" + which).list().required(),
                   number("high", {}, "Upper end" + which).list().required()}};
}

StudySection property_domain() {
  return {.title = "domain = { vnnlib }",
          .name = "[domain]",
          .about = "The input box of a property.",
          .keys = {text("vnnlib", "A VNN-LIB file.").required()}};
}

StudySection ball_domain() {
  const BallDomain defaults;
  return {.title = "domain = { around, radius }",
          .name = "[domain]",
          .about = "Balls of the inf-norm around samples: each is a region of its own.",
          .keys = {text("around", "Name of the sample set of the centres.").required(),
                   number("radius", not_negative(), "Of every ball, in units of the network's input.").required(),
                   integer("count", from(1), "So many first samples of the set.").fallback(defaults.count),
                   number("clip", {}, "The valid range [low, high] that balls are clipped to.")
                       .sequence()
                       .otherwise("balls are not clipped")}};
}

StudySection samples() {
  using observe::Layout;
  using observe::Role;
  const observe::SampleSpec defaults;
  const auto per_channel = [](std::string name, Limits limits, const char* what, const char* otherwise) {
    return number(std::move(name), std::move(limits), fmt::format("{}: one number, or one per channel.", what))
        .list()
        .otherwise(otherwise);
  };
  return {
      .title = "[[samples]]",
      .name = "[[samples]]",
      .about = "A set of inputs. An input of the network is (value / scale - mean) / std.",
      .keys = {
          text("name", "By which other keys name the set; not \"uniform\".").required(),
          text("images", "A .npy or idx file, or an HDF5 dataset \"file.h5:/path\"; the first axis counts samples.")
              .required(),
          text("labels", "Integers, in a file of the same kinds.").otherwise("no accuracies"),
          word("layout", words_of({Layout::nhwc, Layout::nchw, Layout::flat}), "Order of the axes behind the first.")
              .fallback(word_of(defaults.layout)),
          number("scale", positive("values are divided by it"), "Divides the values.").fallback(defaults.scale),
          per_channel("mean", {}, "Subtracted after that", "0"),
          per_channel("std", positive("values are divided by it"), "Divides the rest", "1"),
          integer("label_offset", from_to(-1000000, 1000000), "Added to every label.")
              .fallback(std::int64_t{defaults.label_offset}),
          word("role", words_of({Role::evaluation, Role::calibration}),
               "To measure on, or to fit methods to. Sets of different roles may not share rows of a file.")
              .fallback(word_of(defaults.role)),
          integer("rows", from(0), "[first, count], the first from 0.").sequence().otherwise("the whole file")}};
}

StudySection quantization() {
  using quantize::Granularity;
  using quantize::Grid;
  using quantize::StepRule;
  const quantize::Configuration defaults;
  const auto bits = from_to(2, 16);
  return {.title = "[quantization]",
          .name = "[quantization]",
          .about = "The configurations: quantizer x granularity x bits x seed.",
          .keys = {
              word("quantizer", quantizer_names(), "A rounding rule, or a method that is fitted to samples.")
                  .list()
                  .fallback(std::vector<std::string>{"round"}),
              word("granularity", words_of({Granularity::tensor, Granularity::channel}),
                   "One step per weight tensor, or per output channel.")
                  .list()
                  .fallback(std::vector<std::string>{"tensor"}),
              integer("bits", bits, "Of a weight.").list().required(),
              integer("seed", from(0), "Of stochastic rounding and of reconstruction.")
                  .list()
                  .otherwise("the seed of the study"),
              word("step", words_of({StepRule::max, StepRule::mse}),
                   "The distance of two grid points: set by the largest weight, by a search for the least error "
                   "(docs/theory.md 7.1), or given.")
                  .fallback(word_of(defaults.step_rule))
                  .also("{ fixed = 0.01 }"),
              word("grid", words_of({Grid::symmetric, Grid::affine}),
                   "Whether the grid is symmetric around 0 or spans the range of the weights.")
                  .fallback(word_of(defaults.grid)),
              flag("biases", "Whether biases are quantized, too.").fallback(false),
              integer("bias_bits", bits, "Of a bias. Only with `biases = true`.").otherwise("16 with `biases = true`"),
              integer("edge_bits", bits, "Of the weights of the first and the last weight layer, whatever `bits` says.")
                  .otherwise("as all other layers")}};
}

StudySection fixed_step() {
  return {.title = "step = { fixed }",
          .name = "[step]",
          .about = "",
          .keys = {number("fixed", positive(), "The step of all layers.").required()}};
}

StudySection bounds() {
  return {.title = "[bounds]",
          .name = "[bounds]",
          .about = "",
          .keys = {word("theory", names_of(bounds::theories()), "Which theories, see docs/bounds.md.")
                       .list()
                       .fallback(std::vector<std::string>{"all"})
                       .also("\"all\"")}};
}

StudySection certify() {
  const certify::MethodOptions defaults;
  return {.title = "[certify]",
          .name = "[certify]",
          .about = "Certificates of every pair and region; see docs/certify.md.",
          .keys = {word("method", names_of(certify::methods()), "Which methods; [] switches the stage off.")
                       .list()
                       .required()
                       .also("\"all\""),
                   number("tolerance", not_negative(), "branch_and_bound: stops where upper <= (1 + tolerance) lower.")
                       .fallback(defaults.tolerance),
                   number("max_seconds", positive(),
                          "star, branch_and_bound: per pair and region. What had been proved by then counts (status "
                          "timed_out) and may differ from run to run.")
                       .unit("s")
                       .otherwise("no limit"),
                   integer("max_boxes", from(1), "branch_and_bound: stops after so many pieces.").otherwise("no limit"),
                   integer("generators", from_to(1, 1 << 24), "difference_zonotope: most generators kept.")
                       .fallback(defaults.generators),
                   integer("alpha_steps", from_to(0, 1 << 20), "alpha_crown: steps of the optimiser.")
                       .fallback(defaults.alpha_steps),
                   number("max_memory", {.lowest = 0.0, .highest = 1 << 20, .without_lowest = true},
                          "For one pair; a method that needs more is not applied.")
                       .unit("GiB")
                       .fallback(static_cast<double>(defaults.max_bytes) / 0x1p30)}};
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
          text("samples", "Names of the evaluation sets for networks that do not name their own.")
              .list()
              .otherwise("none"),
          integer("uniform", from_to(0, 1 << 30), "Points drawn uniformly from the domain.").fallback(std::int64_t{0}),
          number("quantiles", {.lowest = 0.0, .highest = 1.0, .without_lowest = true},
                 "Of the measured deviations, increasing.")
              .list()
              .fallback(std::vector{0.5, 0.9, 0.99, 0.999}),
          table("attack", "Searches every region for inputs that deviate much.").otherwise("no search"),
          word("precision", words_of({Precision::automatic, Precision::float32, Precision::float64}),
               "Of the measurement; auto takes float, and double where a deviation is near its resolution.")
              .fallback(word_of(defaults.precision)),
          number("confidence", probability, "Of what samples prove about the distribution they come from.")
              .fallback(defaults.confidence),
          integer("layer_samples", from_to(0, 1 << 24),
                  "So many first samples of every set are measured layer by layer.")
              .fallback(defaults.layer_samples),
          flag("per_sample", "Whether the result lists the deviation of every sample.").fallback(defaults.per_sample)}};
}

StudySection attack() {
  const observe::AttackOptions defaults;
  return {.title = "attack = { starts, steps }",
          .name = "[attack]",
          .about = "",
          .keys = {integer("starts", from_to(1, 1 << 24), "Starting points of each output and sign that is climbed.")
                       .fallback(defaults.starts),
                   integer("steps", from_to(0, 1 << 24), "Steps of one climb.").fallback(defaults.steps)}};
}

void add_training_keys(std::vector<StudyKey>& keys, const reconstruct::Options& defaults) {
  constexpr double most = 1e6;
  keys.push_back(integer("iterations", from_to(1, 1 << 30), "Per module.").fallback(defaults.iterations));
  keys.push_back(integer("batch", from_to(1, 1 << 20), "Samples of an iteration.").fallback(defaults.batch));
  keys.push_back(number("learning_rate", from_to(1e-12, most), "Of Adam.").fallback(defaults.learning_rate));
  keys.push_back(
      number("regularization", from_to(0.0, most), "Weight of the regularizer that drives roundings to 0 or 1.")
          .fallback(defaults.regularization));
  keys.push_back(word("regularization_unit", {"loss", "absolute"},
                      "What that is a multiple of: the module's loss with weights rounded to nearest, or 1 as "
                      "published (with 0.01).")
                     .fallback(std::string("loss")));
  keys.push_back(
      number("warm_up", from_to(0.0, 1.0), "Part of the iterations without regularizer.").fallback(defaults.warm_up));
  keys.push_back(number("beta", from_to(1.0, 1000.0), "The exponent of the regularizer, [first, last], falling.")
                     .sequence()
                     .fallback(std::vector{defaults.beta_first, defaults.beta_last}));
  keys.push_back(
      number("drop", from_to(0.0, 1.0), "qdrop: probability that an element of the input is the quantized network's.")
          .fallback(defaults.drop));
  keys.push_back(
      word("weighting", {"none", "fisher"}, "brecq, qdrop, mrecg, mrecg_loss: how elements of the loss count.")
          .fallback(std::string("none")));
  keys.push_back(
      word("quadratic", {"moments", "batches"},
           "How a layer without activation is trained: on second moments of all samples, or by batches as any other.")
          .fallback(std::string("moments")));
  keys.push_back(number("damping", from_to(0.0, most), "gptq: of the Hessian.").fallback(defaults.damping));
  keys.push_back(
      word("order", {"natural", "activations"}, "gptq: order of the columns.").fallback(std::string("natural")));
  keys.push_back(word("equalize", {"none", "cross_layer"},
                      "Exact cross-layer equalization before all methods; cle_round always has it.")
                     .fallback(std::string("none")));
  keys.push_back(number("bias_absorption", from_to(0.0, 100.0),
                        "Biases that the layer behind takes over after equalization, so many standard deviations left.")
                     .otherwise("no absorption"));
  keys.push_back(word("bias_correction", {"none", "empirical"},
                      "empirical: the mean of every channel over the samples becomes that of f.")
                     .fallback(std::string("none")));
}

void add_module_keys(std::vector<StudyKey>& keys, const reconstruct::Options& defaults) {
  using reconstruct::Homogeneity;
  using reconstruct::Method;
  using reconstruct::ModuleKind;
  keys.push_back(word("modules", words_of({ModuleKind::layer, ModuleKind::block, ModuleKind::stage}),
                      "What is reconstructed as one: a kind, or names of the first and last layer of each. gptq and "
                      "adaround go by layers.")
                     .fallback(word_of(defaults.modules))
                     .also("[[\"first\", \"last\"], ...]"));
  keys.push_back(integer("runs", from_to(1, 1 << 20),
                         "brecq, qdrop, mrecg: so many modules each become one; random: a scheme drawn from the seed.")
                     .list()
                     .otherwise("none, or as mrecg chooses")
                     .also("\"random\""));
  keys.push_back(word("joint", words_of({Method::brecq, Method::qdrop}), "mrecg, mrecg_loss: what is fitted.")
                     .fallback(word_of(defaults.joint)));
  keys.push_back(number("stride_factor", from_to(1e-6, 1e6), "Of layers with a stride in the capacity of a module.")
                     .fallback(defaults.capacity.stride_factor));
  keys.push_back(word("homogeneity", words_of({Homogeneity::strict, Homogeneity::definition, Homogeneity::converted}),
                      "mrecg: which neighbours may be joined.")
                     .fallback(word_of(defaults.homogeneity)));
  keys.push_back(integer("joins", from_to(1, 1 << 20), "mrecg, mrecg_loss: neighbours that are joined.")
                     .otherwise("a quarter of the pairs"));
  keys.push_back(number("join_penalty", from_to(0.0, 1e6), "Of joins beyond that number, see docs/theory.md 6.")
                     .fallback(defaults.join_penalty));
  keys.push_back(integer("longest_run", from_to(1, 1 << 20), "Most modules that are joined to one.")
                     .otherwise("2 for mrecg, else 3"));
}

StudySection reconstruction() {
  const reconstruct::Options defaults;
  StudySection section{
      .title = "[reconstruct]",
      .name = "[reconstruct]",
      .about =
          "How methods on the quantizer axis are fitted; see docs/theory.md 6 and 7. A method reads the keys that are "
          "about it.",
      .keys = {text("samples", "Name of a set with role = \"calibration\".").otherwise("every network names its own")}};
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
