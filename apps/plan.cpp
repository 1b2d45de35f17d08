// quantbound plan: what a study would compute, how long and how much memory it would take. Computes nothing.
#include "quantbound/sweep/plan.hpp"

#include <algorithm>
#include <map>
#include <string>

#include <fmt/format.h>
#include <omp.h>

#include "quantbound/observe/confidence.hpp"

#include "json.hpp"
#include "network_options.hpp"
#include "text_table.hpp"
#include "verb.hpp"

namespace quantbound::apps {
namespace {

using network::Index;

options::options_description plan_options() {
  options::options_description all("\nOptions", help_width);
  auto add = all.add_options();
  add("set", options::value<std::vector<std::string>>()->composing()->value_name("KEY=VALUE"),
      "change one key of the study, e.g. --set quantization.bits=[4,8]");
  add("threads", options::value<int>()->value_name("N"),
      "OpenMP threads of a rank, for the memory it needs (default: OMP_NUM_THREADS, else the processors)");
  add("json", options::bool_switch(), "one JSON object on stdout");
  add("help,h", "this text");
  return all;
}

/// Bytes of a rank while it works on its largest network.
double rank_bytes(const sweep::Plan& plan, int threads) {
  double largest = 0.0;
  for (const auto& network : plan.networks) largest = std::max(largest, memory(plan, network, threads));
  return largest;
}

struct Totals {
  std::map<std::pair<sweep::Stage, Index>, double> seconds;  ///< by stage, of certify by method
  double all = 0.0, longest_task = 0.0;
};

Totals totals(const sweep::Plan& plan) {
  Totals sum;
  for (const auto& task : plan.tasks) {
    sum.all += task.cost;
    sum.longest_task = std::max(sum.longest_task, task.cost);
    for (const auto& unit : task.units) sum.seconds[{unit.stage, unit.method}] += unit.cost;
  }
  return sum;
}

std::string part_name(const sweep::Plan& plan, const std::pair<sweep::Stage, Index>& part) {
  const auto [stage, method] = part;
  if (stage != sweep::Stage::certify) return std::string(to_string(stage));
  return fmt::format("certify {}", to_string(plan.study.methods[static_cast<std::size_t>(method)]));
}

void print_json(const sweep::Plan& plan, const Totals& sum, int threads) {
  JsonObject json;
  json.text("study", plan.study.name).text("hash", plan.hash);
  json.integer("networks", static_cast<long long>(plan.networks.size()));
  json.integer("configurations", static_cast<long long>(plan.configurations.size()));
  json.integer("tasks", static_cast<long long>(plan.tasks.size()));
  json.number("core_seconds", sum.all).number("longest_task_seconds", sum.longest_task);
  json.number("rank_megabytes", rank_bytes(plan, threads) / 1e6).integer("threads", threads);
  fmt::print("{}\n", json.str());
}

/// How many samples there are, and for which quantiles they are too few to bound them with the study's confidence.
void print_samples(const sweep::Plan& plan, const sweep::SampleAxisEntry& entry) {
  fmt::print("samples {}: {}", entry.name, entry.count);
  std::vector<std::string> too_few;
  for (const double q : plan.study.quantiles) {
    if (q >= 1.0 || observe::quantile_upper_rank(entry.count, q, plan.study.confidence)) continue;
    too_few.push_back(fmt::format("{} (needs {})", q, observe::samples_needed(q, plan.study.confidence)));
  }
  if (!too_few.empty()) {
    fmt::print("; too few to bound at confidence {} the quantiles {}", plan.study.confidence, fmt::join(too_few, ", "));
  }
  fmt::print("\n");
}

/// What methods are fitted to, each set once.
void print_calibration(const sweep::Plan& plan) {
  std::map<std::string, Index> sets;
  for (const auto& network : plan.networks) {
    if (network.calibration) sets[network.calibration->name()] = network.calibration->count();
  }
  for (const auto& [name, count] : sets) fmt::print("calibration {}: {}\n", name, count);
}

void print_text(const sweep::Plan& plan, const Totals& sum, int threads) {
  TextTable table({"network", "layers", "parameters", "multiply-adds", "input", "regions"});
  constexpr std::size_t shown = 40;
  for (std::size_t n = 0; n < std::min(plan.networks.size(), shown); ++n) {
    const auto& network = plan.networks[n];
    table.add({network.study.label, std::to_string(network.layers.size()), std::to_string(network.parameters),
               short_number(static_cast<double>(network.multiply_adds)), tensor::to_string(network.graph.input_shape()),
               std::to_string(network.regions.size())});
  }
  fmt::print("study {} ({})\n\n{}", plan.study.name, plan.hash, table.str());
  if (plan.networks.size() > shown) fmt::print("... and {} more\n", plan.networks.size() - shown);
  fmt::print("\n{} x {} = {}, in {}\n", counted(plan.networks.size(), "network"),
             counted(plan.configurations.size(), "configuration"),
             counted(plan.networks.size() * plan.configurations.size(), "pair"), counted(plan.tasks.size(), "task"));
  for (const auto& entry : plan.samples) print_samples(plan, entry);
  print_calibration(plan);
  for (const auto& [part, seconds] : sum.seconds)
    fmt::print("{:<27} {:>9.1f} core seconds, estimated\n", part_name(plan, part), seconds);
  fmt::print("{:<27} {:>9.1f} core seconds, estimated; the longest task takes {:.1f}\n", "in all", sum.all,
             sum.longest_task);
  fmt::print("memory per rank about {:.0f} MB with {}\n", rank_bytes(plan, threads) / 1e6,
             counted(static_cast<std::size_t>(threads), "thread"));
}

int run_plan(const Call& call) {
  std::vector<sweep::Override> overrides;
  if (call.values.count("set") != 0) {
    for (const auto& text : call.values["set"].as<std::vector<std::string>>())
      overrides.push_back(sweep::parse_override(text));
  }
  const sweep::Plan plan = sweep::make_plan(sweep::read_study(call.values["input"].as<std::string>(), overrides));
  const Totals sum = totals(plan);
  const int threads = read_threads(call.values).value_or(omp_get_max_threads());
  if (call.values["json"].as<bool>()) {
    print_json(plan, sum, threads);
  } else {
    print_text(plan, sum, threads);
  }
  return done;
}

}  // namespace

const Verb plan_verb{
    .name = "plan",
    .arguments = "STUDY",
    .summary = "what a study would compute and cost; computes nothing",
    .options = plan_options,
    .run = run_plan,
    .description = R"(Reads the study and the networks as sweep does, so that mistakes come out before a job is queued.
)",
    .files = R"(  STUDY  what to compute, TOML; names of files in it are relative to its folder
)",
    .examples = R"(  quantbound plan configs/quickstart.toml
      networks, configurations, tasks, estimated core seconds, memory of a rank
)"};

}  // namespace quantbound::apps
