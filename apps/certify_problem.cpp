#include "certify_problem.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <unistd.h>

#include "quantbound/core/bytes.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/hash.hpp"
#include "quantbound/network/readers.hpp"

#include "network_options.hpp"

namespace quantbound::apps {

namespace {

namespace fs = std::filesystem;
using certify::Method;
using core::InputError;
constexpr const char* here = "command line";

bool given(const options::variables_map& values, const char* option) { return values.count(option) != 0; }

/// Inputs up to which splitting them is worth trying without being asked.
constexpr network::Index few_inputs = 16;
constexpr double default_seconds = 60.0;

std::string known_methods() {
  std::vector<std::string_view> names;
  for (const auto& info : certify::methods()) names.push_back(info.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

/// "a, b or c", as choices are written in --help.
std::string method_choices() {
  std::string words = known_methods();
  return words.replace(words.rfind(", "), 2, " or ");
}

/// --method a,b --method c: in the order of the table, each once.
std::vector<Method> read_methods(const options::variables_map& values) {
  if (!given(values, "method")) return {};
  std::vector<Method> asked;
  for (const std::string& word : values["method"].as<std::vector<std::string>>()) {
    for (std::size_t start = 0; start <= word.size();) {
      const std::size_t end = std::min(word.find(',', start), word.size());
      const std::string name = word.substr(start, end - start);
      const auto method = certify::parse_method(name);
      if (!method)
        throw InputError(fmt::format("--method '{}' is not known; choose from: {}", name, known_methods()), here);
      if (std::ranges::count(asked, *method) != 0)
        throw InputError(fmt::format("--method names '{}' twice", name), here);
      asked.push_back(*method);
      start = end + 1;
    }
  }
  std::ranges::sort(asked);
  return asked;
}

/// "STARTS/STEPS", or 0.
observe::AttackOptions read_attack(const options::variables_map& values, std::uint64_t seed) {
  observe::AttackOptions attack{.seed = seed};
  const auto text = values["attack"].as<std::string>();
  if (text == "0") return {.starts = 0, .steps = 0, .seed = seed};
  const auto slash = text.find('/');
  const auto whole = [&](const std::string& digits) {
    if (digits.empty() || digits.size() > 9 ||
        !std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; }))
      throw InputError(fmt::format("--attack '{}': give STARTS/STEPS, e.g. 16/100, or 0 for none", text), here);
    return static_cast<network::Index>(std::stol(digits));
  };
  attack.starts = whole(text.substr(0, slash));
  attack.steps = whole(slash == std::string::npos ? "" : text.substr(slash + 1));
  if (attack.starts == 0) throw InputError("--attack: at least one start, or 0 for no attack", here);
  return attack;
}

double positive(const options::variables_map& values, const char* option) {
  const double value = values[option].as<double>();
  if (!(value > 0.0) || std::isinf(value))
    throw InputError(fmt::format("--{} must be positive and finite", option), here);
  return value;
}

certify::Split read_split(const options::variables_map& values) {
  const auto word = values["split"].as<std::string>();
  if (word == "automatic") return certify::Split::automatic;
  if (word == "input") return certify::Split::input;
  if (word == "activation") return certify::Split::activation;
  throw InputError(fmt::format("--split '{}' is not known; choose from: automatic, input, activation", word), here);
}

certify::MethodOptions read_limits(const options::variables_map& values) {
  certify::MethodOptions limits;
  limits.tolerance = values["tolerance"].as<double>();
  if (!(limits.tolerance >= 0.0) || std::isinf(limits.tolerance))
    throw InputError("--tolerance must be finite and not negative", here);
  if (given(values, "threshold")) {
    limits.threshold = values["threshold"].as<double>();
    if (!(*limits.threshold >= 0.0) || std::isinf(*limits.threshold))
      throw InputError("--threshold must be finite and not negative", here);
    if (!values["tolerance"].defaulted())
      throw InputError("--threshold and --tolerance exclude each other: a search for one ends at that one", here);
  }
  limits.max_seconds = given(values, "max-seconds") ? positive(values, "max-seconds") : default_seconds;
  if (given(values, "max-boxes")) {
    limits.max_boxes = values["max-boxes"].as<std::int64_t>();
    if (limits.max_boxes < 1) throw InputError("--max-boxes must be at least 1", here);
  }
  limits.max_bytes = static_cast<std::size_t>(std::min(positive(values, "max-memory") * 0x1p30, 0x1p62));
  return limits;
}

/// Options that only mean something to branch and bound.
void require_search(const options::variables_map& values, const CertifySettings& settings) {
  if (settings.methods.empty() || settings.searches()) return;
  for (const char* option : {"max-boxes", "trace", "checkpoint"}) {
    if (given(values, option))
      throw InputError(fmt::format("--{} belongs to branch_and_bound; add --method branch_and_bound", option), here);
  }
  for (const char* option : {"split", "tolerance"}) {
    if (!values[option].defaulted())
      throw InputError(fmt::format("--{} belongs to branch_and_bound; add --method branch_and_bound", option), here);
  }
}

std::optional<fs::path> read_path(const options::variables_map& values, const char* option) {
  return given(values, option) ? std::optional<fs::path>(values[option].as<std::string>()) : std::nullopt;
}

/// The quantization options and --against say both what f_q is.
void require_one_pair(const options::variables_map& values) {
  if (!given(values, "against")) return;
  for (const char* option : {"bits", "edge-bits", "quantizer", "granularity", "step", "grid"}) {
    if (given(values, option) && !values[option].defaulted())
      throw InputError(fmt::format("--against and --{} exclude each other: the other file says what f_q is", option),
                       here);
  }
}

void check_place(const fs::path& path, const char* option) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (!fs::is_directory(folder))
    throw InputError(fmt::format("the folder of --{} does not exist; create it", option), folder.string());
  if (fs::is_directory(path)) throw InputError(fmt::format("--{} names a folder; name a file", option), path.string());
  if (access(folder.c_str(), W_OK | X_OK) != 0 || (fs::exists(path) && access(path.c_str(), W_OK) != 0))
    throw InputError(fmt::format("--{} cannot be written; choose another place", option), path.string());
}

/// Seconds that a method takes, roughly; what takes longer is not run unasked.
double guessed_seconds(Method method, const certify::Pair& pair, const certify::MethodOptions& limits) {
  double once = 0.0, back = 0.0, values = static_cast<double>(tensor::elements(pair.graph.input_shape()));
  for (const network::NodeId id : pair.graph.weight_layers()) {
    const auto& node = pair.graph.nodes[static_cast<std::size_t>(id)];
    const double size = static_cast<double>(tensor::elements(node.shape));
    const auto* convolution = std::get_if<network::Convolution>(&node.op);
    once += convolution != nullptr ? static_cast<double>(convolution->geometry.multiply_adds())
                                   : size * static_cast<double>(std::get<network::Dense>(node.op).inputs);
    back += size * once;  // every value goes back to the input
    values += size;
  }
  constexpr double per_step = 2e-10;
  const double crown = 4.0 * back * per_step;
  if (method == Method::difference_zonotope)
    return 30.0 * std::min(static_cast<double>(limits.generators), values) * once * per_step;
  if (method == Method::difference_crown || method == Method::merged_crown) return crown;
  if (method == Method::alpha_crown) return crown * 3.0 * static_cast<double>(limits.alpha_steps);
  return 10.0 * once * per_step;
}

network::Box cube(std::size_t outputs, double half) {
  return {std::vector<double>(outputs, -half), std::vector<double>(outputs, half)};
}

}  // namespace

bool CertifySettings::searches() const { return std::ranges::count(methods, Method::branch_and_bound) != 0; }

options::options_description certify_options() {
  const std::string method_help =
      method_choices() +
      ": what to run (default: from cheap to dear what fits, branch_and_bound last where inputs are few)";
  options::options_description all("\nOptions", help_width);
  add_configuration_options(all);
  auto add = all.add_options();
  add("against", options::value<std::string>()->value_name("NETWORK"),
      "f_q is this network, instead of a quantization of NETWORK");
  add_domain_options(all);
  add_input_options(all);
  add("method", options::value<std::vector<std::string>>()->composing()->value_name("M[,M...]"), method_help.c_str());
  add("tolerance", options::value<double>()->default_value(0.05, "0.05")->value_name("T"),
      "branch_and_bound: done when upper <= (1 + T) lower");
  add("threshold", options::value<double>()->value_name("EPS"),
      "prove or refute |f_q - f| <= EPS instead: done when either is");
  add("max-seconds", options::value<double>()->value_name("S"),
      "branch_and_bound and star end after that with what is proved by then (default: 60)");
  add("max-boxes", options::value<std::int64_t>()->value_name("N"), "branch_and_bound: the same after N boxes");
  add("max-memory", options::value<double>()->default_value(4.0, "4")->value_name("GIB"),
      "methods that need more are not applied; branch_and_bound goes depth first then");
  add("split", options::value<std::string>()->default_value("automatic")->value_name("S"),
      "automatic, input or activation: what branch_and_bound splits");
  add("attack", options::value<std::string>()->default_value("16/100")->value_name("STARTS/STEPS"),
      "search for a large deviation first; 0: no");
  add("write-merged", options::value<std::string>()->value_name("FILE.onnx"),
      "write the merged network f_q - f, for any verifier");
  add("trace", options::value<std::string>()->value_name("FILE.csv"),
      "branch_and_bound: seconds, boxes, upper, lower and open pieces as they come");
  add("checkpoint", options::value<std::string>()->value_name("FILE"),
      "branch_and_bound: save its state there now and then and when it is stopped (exit code 75)");
  add("resume", options::bool_switch(), "continue from --checkpoint");
  add("threads", options::value<int>()->value_name("N"), "OpenMP threads of each rank");
  add("json", options::bool_switch(), "one JSON object on stdout");
  add("help,h", "this text");
  return all;
}

CertifySettings read_certify_settings(const options::variables_map& values) {
  CertifySettings settings{.methods = read_methods(values), .limits = read_limits(values)};
  settings.split = read_split(values);
  settings.seed = values["seed"].as<std::uint64_t>();
  settings.attack = read_attack(values, settings.seed);
  settings.merged = read_path(values, "write-merged");
  settings.trace = read_path(values, "trace");
  settings.checkpoint = read_path(values, "checkpoint");
  settings.resume = values["resume"].as<bool>();
  settings.json = values["json"].as<bool>();
  settings.threads = read_threads(values);
  if (settings.resume && !settings.checkpoint) throw InputError("--resume needs --checkpoint FILE", here);
  require_one_pair(values);
  require_search(values, settings);
  return settings;
}

Problem read_problem(const options::variables_map& values, const CertifySettings& settings) {
  const network::Network f = read_network_argument(values);
  const bool two = given(values, "against");
  Problem problem;
  if (two) {
    const network::Network fq = read_network_argument(values, "against");
    problem = {.pair = certify::make_pair(f, fq), .description = "against " + fq.name, .notes = f.notes};
    problem.notes.insert(problem.notes.end(), fq.notes.begin(), fq.notes.end());
  } else {
    const auto configuration = read_configuration(values);
    problem = {.pair = certify::make_pair(f, configuration), .description = label(configuration), .notes = f.notes};
  }
  const auto inputs = tensor::elements(problem.pair.graph.input_shape());
  const auto outputs = tensor::elements(problem.pair.graph.output_shape());
  if (settings.limits.threshold) problem.target = cube(static_cast<std::size_t>(outputs), *settings.limits.threshold);
  const std::string property = given(values, "vnnlib") ? values["vnnlib"].as<std::string>() : "";
  if (property.empty() || !network::is_vnnlib_pair(property)) {
    problem.region = read_domain(values, f);
    return problem;
  }
  if (!two) throw InputError("this property is of two networks; give the second with --against FILE", property);
  if (problem.target)
    throw InputError("--threshold, but the property says itself what is to be proved; leave it out", property);
  require_one_domain(values);
  auto parsed = network::read_vnnlib_pair(property, inputs, outputs);
  problem.region = std::move(parsed.input);
  problem.target = std::move(parsed.difference);
  return problem;
}

void settle_methods(CertifySettings& settings, const Problem& problem) {
  const auto refusal = [&](Method method) { return not_applicable(method, problem.pair, settings.limits); };
  if (!settings.methods.empty()) {
    for (const Method method : settings.methods) {
      const std::string reason = refusal(method);
      if (!reason.empty())
        throw InputError(fmt::format("{} cannot be applied: {}", to_string(method), reason), problem.pair.name);
    }
    return;
  }
  const bool few = tensor::elements(problem.pair.graph.input_shape()) <= few_inputs;
  const bool wanted =
      settings.trace || settings.checkpoint || settings.limits.max_boxes != certify::MethodOptions().max_boxes;
  for (const auto& info : certify::methods()) {
    if (info.method == Method::merged_interval || info.method == Method::merged_crown || info.method == Method::star)
      continue;
    if (info.method == Method::branch_and_bound && !few && !wanted) continue;
    if (guessed_seconds(info.method, problem.pair, settings.limits) > default_seconds) continue;
    if (refusal(info.method).empty()) settings.methods.push_back(info.method);
  }
  if (wanted && !settings.searches())
    throw InputError("branch_and_bound cannot be applied: " + refusal(Method::branch_and_bound), problem.pair.name);
}

void check_outputs(const CertifySettings& settings) {
  if (settings.merged) check_place(*settings.merged, "write-merged");
  if (settings.merged && settings.merged->extension() != ".onnx")
    throw InputError("--write-merged writes ONNX; name a file that ends in .onnx", settings.merged->string());
  if (settings.trace) check_place(*settings.trace, "trace");
  if (!settings.checkpoint) return;
  check_place(*settings.checkpoint, "checkpoint");
  if (!settings.resume && fs::exists(*settings.checkpoint))
    throw InputError("an interrupted search left its checkpoint here; continue it with --resume, or remove the file",
                     settings.checkpoint->string());
}

std::string problem_hash(const Problem& problem, const CertifySettings& settings) {
  core::ByteWriter bytes;
  for (const auto& node : problem.pair.graph.nodes) {
    bytes.text(node.name).text(std::string(network::operator_name(node.op))).values(node.inputs).values(node.shape);
    if (const auto* activation = std::get_if<network::Activation>(&node.op))
      bytes.value(activation->alpha).value(activation->beta);
  }
  for (const auto* layers : {&problem.pair.f, &problem.pair.fq}) {
    for (const auto& layer : *layers) bytes.values(layer.weights).values(layer.bias);
  }
  bytes.values(problem.region.low).values(problem.region.high);
  const network::Box target = problem.target.value_or(network::Box());
  bytes.values(target.low).values(target.high);
  bytes.value(settings.limits.tolerance).value(settings.split).value(settings.seed);
  const core::Bytes all = bytes.take();
  return core::hash128_hex({reinterpret_cast<const char*>(all.data()), all.size()});
}

}  // namespace quantbound::apps
