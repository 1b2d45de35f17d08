// quantbound bound: every closed-form bound of one network in one configuration, as a table, beside what was measured.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <omp.h>

#include "quantbound/bounds/bound_table.hpp"
#include "quantbound/bounds/theory.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/observe/deviation.hpp"
#include "quantbound/observe/samples.hpp"

#include "json.hpp"
#include "network_options.hpp"
#include "text_table.hpp"

namespace quantbound::apps {
namespace {

options::options_description bound_options() {
  options::options_description all("\nOptions", help_width);
  add_configuration_options(all);
  add_domain_options(all);
  add_input_options(all);
  auto add = all.add_options();
  add("samples", options::value<std::string>()->value_name("FILE.npy"),
      "measure the deviation on those of these inputs that lie in the domain, too");
  add("uniform", options::value<network::Index>()->default_value(1024)->value_name("N"),
      "uniform points of the domain to measure on");
  add("precision", options::value<std::string>()->default_value("auto")->value_name("P"),
      "auto, float or double: the arithmetic of the measurement");
  add("threads", options::value<int>()->value_name("N"), "OpenMP threads");
  add("json", options::bool_switch(), "one JSON object on stdout");
  add("help,h", "this text");
  return all;
}

/// Everything `bound` prints.
struct Answer {
  network::Network network;
  bounds::PaperNorms norms;
  std::vector<bounds::TheoryResult> results;  ///< in the order of bounds::theories()
  double observed_max = std::numeric_limits<double>::quiet_NaN();
  double observed_error = 0.0;  ///< of the measured deviations, an estimate
  network::Index uniform_points = 0;
  network::Index samples = 0, samples_inside = 0;  ///< of the file, and those of them in the domain
};

observe::Precision read_precision(const std::string& word) {
  using observe::Precision;
  for (const auto precision : {Precision::automatic, Precision::float32, Precision::float64}) {
    if (word == to_string(precision)) return precision;
  }
  throw core::InputError("--precision is auto, float or double", "command line");
}

/// Those of the points (one after the other) that lie in the box.
std::vector<double> points_inside(const network::Box& box, const std::vector<double>& points) {
  const std::size_t size = box.low.size();
  std::vector<double> inside;
  for (auto point = points.begin(); point != points.end(); point += static_cast<std::ptrdiff_t>(size)) {
    bool is_inside = true;
    for (std::size_t i = 0; i < size; ++i) {
      const double x = point[static_cast<std::ptrdiff_t>(i)];
      is_inside = is_inside && x >= box.low[i] && x <= box.high[i];
    }
    if (is_inside) inside.insert(inside.end(), point, point + static_cast<std::ptrdiff_t>(size));
  }
  return inside;
}

/// Largest deviation over uniform points of the domain and over the given samples that lie in it.
void measure(Answer& answer, const Call& call, const network::Box& domain,
             const quantize::Configuration& configuration) {
  const auto precision = read_precision(call.values["precision"].as<std::string>());
  const network::Graph& graph = answer.network.graph;
  const auto add = [&](const std::vector<double>& inputs) {
    const auto block =
        observe::observe(graph, answer.network.layers, std::span(&configuration, 1), inputs, {}, {precision});
    for (const double deviation : block.deviation) answer.observed_max = std::fmax(answer.observed_max, deviation);
    answer.observed_error = std::max(answer.observed_error, block.error.front());
  };
  const auto points = call.values["uniform"].as<network::Index>();
  if (points < 0) throw core::InputError("--uniform must not be negative", "command line");
  answer.uniform_points = points;
  const auto piece = 8 * observe::micro_batch(graph);
  for (network::Index first = 0; first < points; first += piece) {
    add(observe::uniform_points(domain, configuration.seed, 0, first, std::min(piece, points - first)));
  }
  if (call.values.count("samples") == 0) return;
  const observe::SampleSet set({.name = "samples", .images = call.values["samples"].as<std::string>()});
  set.require_fits(graph.input_shape(), answer.network.name);
  answer.samples = set.count();
  for (network::Index first = 0; first < set.count(); first += piece) {
    const auto inside =
        points_inside(domain, set.block(graph.input_shape(), first, std::min(piece, set.count() - first)));
    answer.samples_inside += static_cast<network::Index>(inside.size() / domain.low.size());
    if (!inside.empty()) add(inside);
  }
}

Answer answer(const Call& call) {
  Answer result{.network = read_network_argument(call.values)};
  const auto configuration = read_configuration(call.values);
  const network::Box domain = read_domain(call.values, result.network);
  auto table = bounds::evaluate_theories(result.network, domain, configuration);
  result.norms = std::move(table.norms);
  result.results = std::move(table.results);
  measure(result, call, domain, configuration);
  return result;
}

void print_json(const Answer& a) {
  JsonObject logs;
  for (std::size_t t = 0; t < a.results.size(); ++t) {
    const auto& bound = a.results[t].bound;
    logs.number(bounds::theories()[t].name, bound ? bound->log10() : std::numeric_limits<double>::quiet_NaN());
  }
  JsonObject json;
  json.integer("depth", static_cast<long long>(a.network.layers.size()));
  json.number("r_max", a.norms.r_max).number("r_mean", a.norms.r_mean).number("r_conv", a.norms.r_conv);
  json.raw("log10_bound", logs.str()).number("observed_max", a.observed_max);
  fmt::print("{}\n", json.str());
}

void print_text(const Answer& a, const quantize::Configuration& configuration) {
  fmt::print("{}: {} weight layers, {} parameters, {}\n", a.network.name, a.network.layers.size(),
             parameter_count(a.network), label(configuration));
  for (const auto& note : a.network.notes) fmt::print("note: {}\n", note);
  fmt::print("r_max {}  r_mean {}  r_conv {}\n\n", short_number(a.norms.r_max), short_number(a.norms.r_mean),
             short_number(a.norms.r_conv));
  TextTable table({"theory", "bound", "published formula", "equation"});
  for (std::size_t t = 0; t < a.results.size(); ++t) {
    const auto& result = a.results[t];
    const auto& theory = bounds::theories()[t];
    table.add({std::string(theory.name), result.bound ? power_of_ten(result.bound->log10()) : "-",
               result.formula ? power_of_ten(result.formula->log10) : "-",
               result.bound ? std::string(theory.equation) : "not applicable: " + result.reason});
  }
  fmt::print("{}", table.str());
  fmt::print("\nlargest deviation measured: {} (arithmetic: +-{}), on {} uniform points of the domain",
             short_number(a.observed_max), short_number(a.observed_error), a.uniform_points);
  if (a.samples > 0) fmt::print(" and {} of {} samples, those inside it", a.samples_inside, a.samples);
  fmt::print("\n");
}

int run_bound(const Call& call) {
  if (const auto threads = read_threads(call.values)) omp_set_num_threads(*threads);
  const Answer a = answer(call);
  if (call.values["json"].as<bool>()) {
    print_json(a);
  } else {
    print_text(a, read_configuration(call.values));
  }
  return done;
}

}  // namespace

const Verb bound_verb{
    .name = "bound",
    .arguments = "NETWORK",
    .summary = "all closed-form bounds of one network in one configuration",
    .options = bound_options,
    .run = run_bound,
    .description =
        R"(Each bound holds for every input of the domain, rounding errors included. One whose assumptions
fail is reported as not applicable. The largest deviation measured on points of the domain stands
beside them.
)",
    .files = R"(  NETWORK  .onnx (opset 7 to 21), or .nnet, which brings its own domain
)",
    .examples = R"(  quantbound bound configs/models/digits_cnn.onnx --box 0 1 --bits 4 --granularity channel
      weights of 4 bits with one step per channel, for inputs in [0, 1]
  quantbound bound configs/models/digits_mlp_5.onnx --radius 0.1 \
      --around configs/models/digits_test_x.npy:3 --scale 16
      near one image
)"};

}  // namespace quantbound::apps
