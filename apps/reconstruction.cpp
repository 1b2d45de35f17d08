#include "reconstruction.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <initializer_list>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "quantbound/core/bytes.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/hash.hpp"
#include "quantbound/observe/samples.hpp"
#include "quantbound/parallel/stop_token.hpp"
#include "quantbound/store/whole_file.hpp"
#include "quantbound/sweep/study.hpp"
#include "quantbound/sweep/study_quantizer.hpp"

#include "network_options.hpp"
#include "text_table.hpp"

namespace quantbound::apps {

namespace {

using core::InputError;
using network::Index;
using reconstruct::Method;
constexpr const char* here = "command line";

bool is_given(const options::variables_map& values, const char* option) {
  return values.count(option) != 0 && !values[option].defaulted();
}

/// One of the words that `known` lists; their values are in the same order.
template <class Value, std::size_t n>
Value one_of(const options::variables_map& values, const char* option, const std::array<std::string_view, n>& known,
             const std::array<Value, n>& meaning) {
  const auto word = values[option].as<std::string>();
  const auto found = std::ranges::find(known, word);
  if (found != known.end()) return meaning[static_cast<std::size_t>(found - known.begin())];
  throw InputError(fmt::format("--{} '{}' is not known; choose from: {}", option, word, fmt::join(known, ", ")), here);
}

/// Options that only methods fitted to samples read, and of these the ones that some of them read.
constexpr std::array of_methods{"samples",         "layout",  "scale",      "mean",   "std", "rows",
                                "bias-correction", "threads", "checkpoint", "resume", "set"};
/// Which methods read a key of [reconstruct]. What is no key at all is found when it is parsed.
bool reads(Method method, std::string_view key) {
  const auto is_one_of = [&](std::initializer_list<std::string_view> keys) {
    return std::ranges::count(keys, key) != 0;
  };
  const bool trained = method != Method::round && method != Method::gptq;
  const bool by_blocks = trained && method != Method::adaround;
  const bool joint = method == Method::mrecg || method == Method::mrecg_loss;
  if (is_one_of({"damping", "order"})) return method == Method::gptq;
  if (is_one_of({"iterations", "batch", "learning_rate", "regularization", "regularization_unit", "warm_up", "beta"}))
    return trained;
  if (key == "quadratic") return trained && method != Method::qdrop;
  if (is_one_of({"modules", "weighting"})) return by_blocks;
  if (key == "drop") return joint || method == Method::qdrop;
  if (key == "runs") return by_blocks && method != Method::mrecg_loss;
  if (key == "longest_run") return by_blocks;
  if (is_one_of({"joint", "joins", "join_penalty"})) return joint;
  if (is_one_of({"stride_factor", "homogeneity"})) return method == Method::mrecg;
  return true;
}

/// Keys that are options of their own here.
constexpr std::array<std::pair<std::string_view, std::string_view>, 7> own_options{
    {{"iterations", "iterations"},
     {"batch", "batch"},
     {"drop", "drop"},
     {"weighting", "weighting"},
     {"equalize", "equalization"},
     {"bias_correction", "bias-correction"},
     {"samples", "samples"}}};

/// What --set says, for this method.
reconstruct::Options read_settings(const options::variables_map& values, Method method) {
  if (values.count("set") == 0) return {};
  const auto name = values["quantizer"].as<std::string>();
  std::vector<sweep::Override> settings;
  for (const auto& text : values["set"].as<std::vector<std::string>>()) {
    const auto& setting = settings.emplace_back(sweep::parse_override(text));
    const auto own = std::ranges::find(own_options, setting.key, &decltype(own_options)::value_type::first);
    if (own != own_options.end())
      throw InputError(fmt::format("--set {} has an option of its own: --{}", setting.key, own->second), here);
    if (!reads(method, setting.key))
      throw InputError(fmt::format("--quantizer {} does not read --set {}; leave it out", name, setting.key), here);
  }
  return sweep::read_reconstruct_options(settings);
}

void refuse_unread(const options::variables_map& values, const std::string& name, std::optional<Method> method) {
  const auto refuse = [&](const char* option) {
    if (is_given(values, option))
      throw InputError(fmt::format("--quantizer {} does not read --{}; leave it out", name, option), here);
  };
  if (!method) std::ranges::for_each(of_methods, refuse);
  for (const char* option : {"iterations", "batch", "modules", "weighting", "drop"}) {
    if (!method || !reads(*method, option)) refuse(option);
  }
}

observe::SampleSet read_samples(const options::variables_map& values) {
  if (values.count("samples") == 0) {
    throw InputError(
        fmt::format("--quantizer {} is fitted to samples; give --samples FILE", values["quantizer"].as<std::string>()),
        here);
  }
  observe::SampleSpec spec{.name = "samples", .images = values["samples"].as<std::string>()};
  const auto layout = values["layout"].as<std::string>();
  const auto parsed = observe::parse_layout(layout);
  if (!parsed) throw InputError(fmt::format("--layout '{}' is not known; choose from: flat, NHWC, NCHW", layout), here);
  spec.layout = *parsed;
  spec.scale = values["scale"].as<double>();
  if (values.count("mean") != 0) spec.mean = values["mean"].as<std::vector<double>>();
  if (values.count("std") != 0) spec.std = values["std"].as<std::vector<double>>();
  spec.role = observe::Role::calibration;
  if (values.count("rows") != 0) {
    const auto rows = values["rows"].as<std::vector<Index>>();
    if (rows.size() != 2 || rows[0] < 0 || rows[1] < 1) throw InputError("--rows needs FIRST COUNT", here);
    spec.first_row = rows[0];
    spec.rows = rows[1];
  }
  return observe::SampleSet(spec);
}

std::vector<float> read_inputs(const observe::SampleSet& set, const network::Network& network) {
  constexpr Index piece = 64;
  const network::Shape& shape = network.graph.input_shape();
  set.require_fits(shape, network.name);
  std::vector<float> inputs;
  inputs.reserve(static_cast<std::size_t>(set.count() * tensor::elements(shape)));
  for (Index first = 0; first < set.count(); first += piece) {
    for (const double x : set.block(shape, first, std::min(piece, set.count() - first)))
      inputs.push_back(static_cast<float>(x));
  }
  return inputs;
}

/// A line over itself on a terminal, now and then in a log.
class Log {
 public:
  Log() : terminal_(isatty(STDERR_FILENO) == 1) {}
  ~Log() {
    if (terminal_ && printed_) fmt::print(stderr, "\n");
  }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void update(const reconstruct::Progress& progress) {
    const auto now = Clock::now();
    if (std::chrono::duration<double>(now - last_).count() < (terminal_ ? 0.2 : 10.0)) return;
    const std::string line =
        fmt::format("module {} of {} ({}), iteration {} of {}, loss {}", progress.module + 1, progress.modules,
                    progress.name, progress.iteration, progress.iterations, short_number(progress.loss));
    fmt::print(stderr, "{}{}{}", terminal_ ? "\r\033[K" : "quantbound: ", line, terminal_ ? "" : "\n");
    std::fflush(stderr);
    last_ = now;
    printed_ = true;
  }

 private:
  using Clock = std::chrono::steady_clock;
  bool terminal_, printed_ = false;
  Clock::time_point last_ = Clock::now();
};

const std::string magic = "quantbound reconstruction checkpoint 1\n";

void write_state(const std::filesystem::path& path, std::span<const std::byte> state) {
  const core::Bytes bytes(state.begin(), state.end());
  core::ByteWriter file;
  file.text(magic).value(core::hash64(bytes)).values(bytes);
  store::write_whole_file(path, file.take());
}

core::Bytes read_state(const std::filesystem::path& path) {
  const core::Bytes bytes = store::read_whole_file(path);
  try {
    core::ByteReader file(bytes);
    if (file.text() == magic) {
      const auto checksum = file.value<std::uint64_t>();
      core::Bytes state = file.values<std::byte>();
      if (checksum == core::hash64(state) && file.at_end()) return state;
    }
  } catch (const core::Error&) {  // shorter than it says
  }
  throw InputError("this is no checkpoint of a reconstruction, or it is damaged; remove it", path.string());
}

/// The state to go on from; none where there is no file yet.
core::Bytes saved_state(const ReconstructionSettings& settings) {
  if (!settings.checkpoint || !std::filesystem::exists(*settings.checkpoint)) return {};
  if (settings.resume) return read_state(*settings.checkpoint);
  throw InputError("an earlier run left this checkpoint; go on with --resume, or remove it",
                   settings.checkpoint->string());
}

}  // namespace

void add_reconstruction_options(options::options_description& all) {
  const auto word = [](const char* otherwise, const char* name) {
    return options::value<std::string>()->default_value(otherwise)->value_name(name);
  };
  const auto numbers = [] { return options::value<std::vector<double>>()->multitoken()->value_name("X..."); };
  auto add = all.add_options();
  add("equalization", word("none", "E"), "none or cross_layer, before anything else");
  add("samples", options::value<std::string>()->value_name("FILE"),
      "calibration samples: .npy, idx, or FILE.h5:/DATASET; an input is (value / scale - mean) / std");
  add("rows", options::value<std::vector<Index>>()->multitoken()->value_name("FIRST COUNT"), "those of the file");
  add("layout", word("flat", "L"), "flat, NHWC or NCHW: the order of the file");
  add("scale", options::value<double>()->default_value(1.0, "1")->value_name("S"), "see --samples");
  add("mean", numbers(), "one for all, or one per channel");
  add("std", numbers(), "one for all, or one per channel");
  add("iterations", options::value<Index>()->default_value(20000)->value_name("N"), "per module");
  add("batch", options::value<Index>()->default_value(32)->value_name("N"), "samples of one iteration");
  add("modules", word("block", "M"), "layer, block or stage: what brecq, qdrop and mrecg reconstruct together");
  add("weighting", word("none", "W"), "none, or fisher: outputs of a block count as the loss of labels says");
  add("drop", options::value<double>()->default_value(0.5, "0.5")->value_name("P"),
      "qdrop: probability of the quantized prefix's value");
  add("bias-correction", word("none", "C"), "none or empirical: of round (to nearest) and all methods");
  add("set", options::value<std::vector<std::string>>()->composing()->value_name("KEY=VALUE"),
      "any other key of [reconstruct] of a study, e.g. --set learning_rate=0.06");
  add("threads", options::value<int>()->value_name("N"), "OpenMP threads");
  add("checkpoint", options::value<std::string>()->value_name("FILE"), "keep the state here, to go on with --resume");
  add("resume", options::bool_switch(), "go on from the checkpoint");
}

WeightChoice read_weight_choice(const options::variables_map& values) {
  WeightChoice choice;
  choice.configuration = read_grids(values);
  choice.equalization = one_of(values, "equalization", std::array<std::string_view, 2>{"none", "cross_layer"},
                               std::array{reconstruct::Equalization::none, reconstruct::Equalization::cross_layer});
  const auto name = values["quantizer"].as<std::string>();
  const auto quantizer = sweep::parse_study_quantizer(name);
  if (!quantizer)
    throw InputError(fmt::format("--quantizer '{}' is not known; choose from: {}", name, quantizer_words), here);
  choice.configuration.quantizer = quantizer->rounding;
  const bool equalized = quantizer->method == Method::round;  // cle_round
  if (equalized) choice.equalization = reconstruct::Equalization::cross_layer;
  // To nearest, samples are needed for the biases alone.
  const bool corrected = values["bias-correction"].as<std::string>() != "none" || is_given(values, "set");
  choice.method = equalized && !corrected ? std::nullopt : quantizer->method;
  if (name == "round" && corrected) choice.method = Method::round;
  refuse_unread(values, name, choice.method);
  const std::string label = quantize::label(choice.configuration);
  choice.label = name + label.substr(label.find('/'));
  return choice;
}

ReconstructionSettings read_reconstruction(const options::variables_map& values, const WeightChoice& choice) {
  using namespace reconstruct;
  ReconstructionSettings settings;
  Options& options = settings.options;
  options = read_settings(values, *choice.method);
  options.iterations = values["iterations"].as<Index>();
  options.batch = values["batch"].as<Index>();
  options.drop = values["drop"].as<double>();
  if (is_given(values, "drop") && *choice.method != Method::qdrop && options.joint != Method::qdrop)
    throw InputError("--drop is for qdrop; with mrecg, add --set joint=qdrop, or leave it out", here);
  options.equalization = choice.equalization;
  options.seed = choice.configuration.seed;
  const ModuleKind modules = one_of(values, "modules", std::array<std::string_view, 3>{"layer", "block", "stage"},
                                    std::array{ModuleKind::layer, ModuleKind::block, ModuleKind::stage});
  if (!options.named.empty() && is_given(values, "modules"))
    throw InputError("--modules and --set modules=[...] contradict each other; give one", here);
  if (is_given(values, "modules") || values.count("set") == 0) options.modules = modules;
  options.weighting = one_of(values, "weighting", std::array<std::string_view, 2>{"none", "fisher"},
                             std::array{Weighting::none, Weighting::fisher});
  options.bias_correction = one_of(values, "bias-correction", std::array<std::string_view, 2>{"none", "empirical"},
                                   std::array{BiasCorrection::none, BiasCorrection::empirical});
  if (values.count("checkpoint") != 0) settings.checkpoint = values["checkpoint"].as<std::string>();
  settings.resume = values["resume"].as<bool>();
  if (settings.resume && !settings.checkpoint) throw InputError("--resume needs --checkpoint FILE", here);
  return settings;
}

reconstruct::Reconstruction run_reconstruction(const network::Network& network, const WeightChoice& choice,
                                               const options::variables_map& values,
                                               const ReconstructionSettings& settings) {
  const observe::SampleSet samples = read_samples(values);
  const std::vector<float> inputs = read_inputs(samples, network);
  reconstruct::Watch watch;
  watch.saved = saved_state(settings);
  const parallel::StopToken stop;
  Log log;
  watch.progress = [&](const reconstruct::Progress& progress) { log.update(progress); };
  watch.stop = [&] { return stop.stop_requested(); };
  if (settings.checkpoint)
    watch.save = [&](std::span<const std::byte> state) { write_state(*settings.checkpoint, state); };
  auto result = reconstruct::reconstruct(network, choice.configuration, *choice.method,
                                         {.inputs = inputs, .count = samples.count()}, settings.options, watch);
  std::error_code ignored;  // a checkpoint that stays is refused next time, with its name
  if (settings.checkpoint && !result.stopped) std::filesystem::remove(*settings.checkpoint, ignored);
  return result;
}

}  // namespace quantbound::apps
