#include "network_options.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/readers.hpp"
#include "quantbound/observe/samples.hpp"

namespace quantbound::apps {

namespace {

using core::InputError;
using network::Box;
using network::Index;
constexpr const char* here = "command line";

template <class Parse>
auto choice(const options::variables_map& values, const char* option, const Parse& parse, std::string_view known) {
  const auto word = values[option].as<std::string>();
  if (const auto value = parse(word)) return *value;
  throw InputError(fmt::format("--{} '{}' is not known; choose from: {}", option, word, known), here);
}

double number(const std::string& text, const char* option) {
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw InputError(fmt::format("--{}: '{}' is not a number", option, text), here);
  }
  return value;
}

/// The two numbers of --box or --clip.
std::pair<double, double> limits(const options::variables_map& values, const char* option) {
  const auto given = values[option].as<std::vector<double>>();
  if (given.size() != 2) throw InputError(fmt::format("--{} needs LOW HIGH", option), here);
  if (!std::isfinite(given[0]) || !std::isfinite(given[1]))
    throw InputError(fmt::format("--{} needs finite numbers", option), here);
  if (given[0] > given[1]) throw InputError(fmt::format("--{} needs LOW HIGH, with LOW <= HIGH", option), here);
  return {given[0], given[1]};
}

/// "FILE.npy:ROW"
Box ball(const options::variables_map& values, const network::Network& network) {
  const auto text = values["around"].as<std::string>();
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) throw InputError("--around needs FILE.npy:ROW", here);
  if (values.count("radius") == 0) throw InputError("--around needs --radius", here);
  const double position = number(text.substr(colon + 1), "around");
  if (position != std::floor(position)) throw InputError("--around: the row is a whole number, from 0", here);
  const auto row = static_cast<Index>(position);
  const double radius = values["radius"].as<double>();
  if (!(radius >= 0.0) || std::isinf(radius)) throw InputError("--radius must be finite and not negative", here);
  const double scale = values["scale"].as<double>();
  if (!(scale > 0.0) || std::isinf(scale)) throw InputError("--scale must be positive and finite", here);
  const observe::SampleSet set({.name = "around", .images = text.substr(0, colon), .scale = scale});
  if (row < 0 || row >= set.count()) throw InputError(fmt::format("row {} of {} rows", row, set.count()), text);
  set.require_fits(network.graph.input_shape(), network.name);
  Box box;
  for (const double x : set.block(network.graph.input_shape(), row, 1)) {
    box.low.push_back(x - radius);
    box.high.push_back(x + radius);
  }
  if (values.count("clip") != 0) {
    const auto [low, high] = limits(values, "clip");
    for (double& x : box.low) x = std::clamp(x, low, high);
    for (double& x : box.high) x = std::clamp(x, low, high);
  }
  return box;
}

Box scalar_box(const options::variables_map& values, std::size_t inputs) {
  const auto [low, high] = limits(values, "box");
  return {.low = std::vector<double>(inputs, low), .high = std::vector<double>(inputs, high)};
}

}  // namespace

void add_input_options(options::options_description& all) {
  all.add_options()("input-shape", options::value<std::vector<network::Index>>()->multitoken()->value_name("N..."),
                    "input shape of one sample, for files that leave it open, e.g. 3 48 192");
}

void add_configuration_options(options::options_description& all, const char* quantizers) {
  auto add = all.add_options();
  add("bits", options::value<int>()->default_value(8)->value_name("B"), "bits of a weight, 2 to 16");
  add("edge-bits", options::value<int>()->value_name("B"), "of the first and the last layer (default: as --bits)");
  add("quantizer", options::value<std::string>()->default_value("round")->value_name("Q"), quantizers);
  add("granularity", options::value<std::string>()->default_value("tensor")->value_name("G"), "tensor or channel");
  add("step", options::value<std::string>()->default_value("max")->value_name("S"),
      "max or mse; or a number: the step");
  add("grid", options::value<std::string>()->default_value("symmetric")->value_name("K"), "symmetric or affine");
  add("seed", options::value<std::uint64_t>()->default_value(1)->value_name("N"), "seed of everything random");
}

void add_domain_options(options::options_description& all) {
  auto add = all.add_options();
  add("box", options::value<std::vector<double>>()->multitoken()->value_name("LOW HIGH"),
      "every input lies between them");
  add("vnnlib", options::value<std::string>()->value_name("FILE.vnnlib"), "the input box of a vnnlib property");
  add("around", options::value<std::string>()->value_name("FILE.npy:ROW"), "a ball around this sample");
  add("scale", options::value<double>()->default_value(1.0, "1")->value_name("S"), "the samples are divided by this");
  add("radius", options::value<double>()->value_name("R"), "radius of the ball, inf-norm");
  add("clip", options::value<std::vector<double>>()->multitoken()->value_name("LOW HIGH"),
      "valid range the ball is cut to");
}

std::optional<int> read_threads(const options::variables_map& values) {
  if (values.count("threads") == 0) return std::nullopt;
  const int threads = values["threads"].as<int>();
  if (threads < 1 || threads > 4096) throw InputError("--threads must be from 1 to 4096", here);
  return threads;
}

network::Network read_network_argument(const options::variables_map& values, const char* option) {
  network::ReadOptions read;
  if (values.count("input-shape") != 0) read.input_shape = values["input-shape"].as<std::vector<network::Index>>();
  return network::read_network(values[option].as<std::string>(), read);
}

quantize::Configuration read_configuration(const options::variables_map& values) {
  quantize::Configuration configuration = read_grids(values);
  configuration.quantizer = choice(
      values, "quantizer", quantize::parse_quantizer,
      "floor, round, truncate, stochastic (methods that are fitted to samples: quantbound quantize, or a study)");
  return configuration;
}

quantize::Configuration read_grids(const options::variables_map& values) {
  quantize::Configuration configuration;
  configuration.bits = values["bits"].as<int>();
  if (configuration.bits < 2 || configuration.bits > 16) throw InputError("--bits must be from 2 to 16", here);
  if (values.count("edge-bits") != 0) {
    configuration.edge_bits = values["edge-bits"].as<int>();
    if (configuration.edge_bits < 2 || configuration.edge_bits > 16)
      throw InputError("--edge-bits must be from 2 to 16", here);
  }
  configuration.granularity = choice(values, "granularity", quantize::parse_granularity, "tensor, channel");
  configuration.grid = choice(values, "grid", quantize::parse_grid, "symmetric, affine");
  configuration.seed = values["seed"].as<std::uint64_t>();
  const auto step = values["step"].as<std::string>();
  if (step == "mse") {
    configuration.step_rule = quantize::StepRule::mse;
  } else if (step != "max") {
    configuration.step_rule = quantize::StepRule::fixed;
    configuration.fixed_step = number(step, "step");
    if (!(configuration.fixed_step > 0.0)) throw InputError("--step must be positive, max, or mse", here);
  }
  return configuration;
}

void require_one_domain(const options::variables_map& values) {
  const auto asked = values.count("box") + values.count("vnnlib") + values.count("around");
  if (asked > 1) throw InputError("--box, --vnnlib and --around exclude each other", here);
  for (const char* option : {"radius", "clip"}) {
    if (values.count(option) != 0 && values.count("around") == 0)
      throw InputError(fmt::format("--{} belongs to --around", option), here);
  }
  if (!values["scale"].defaulted() && values.count("around") == 0)
    throw InputError("--scale belongs to --around", here);
}

network::Box read_domain(const options::variables_map& values, const network::Network& network) {
  require_one_domain(values);
  const auto inputs = tensor::elements(network.graph.input_shape());
  if (values.count("box") != 0) return scalar_box(values, static_cast<std::size_t>(inputs));
  if (values.count("vnnlib") != 0) return network::read_vnnlib_box(values["vnnlib"].as<std::string>(), inputs);
  if (values.count("around") != 0) return ball(values, network);
  if (network.domain) return *network.domain;
  throw InputError("a domain is needed: give --box LOW HIGH, --vnnlib FILE, or --around FILE.npy:ROW --radius R", here);
}

}  // namespace quantbound::apps
