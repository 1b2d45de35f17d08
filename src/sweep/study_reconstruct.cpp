#include "study_reconstruct.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"

namespace quantbound::sweep::detail {

using core::InputError;

namespace {

std::string axis_names(const Study& study) {
  std::vector<std::string> names;
  for (const auto& quantizer : study.quantizers) {
    if (quantizer.method) names.push_back(quantizer.name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

void refuse_reconstruction(const Study& study, Table& root) {
  if (root.has("reconstruct")) {
    root.fail("reconstruct",
              "[reconstruct] is read only where `quantizer` names a reconstruction method, such as cle_round or brecq; "
              "name one, or remove it");
  }
  for (const auto& network : study.networks) {
    if (network.calibration.empty()) continue;
    throw InputError(
        "`calibration` is read only where `quantizer` names a reconstruction method; name one, or remove it",
        network.where);
  }
}

/// A method may be fitted to calibration sets only: nothing is measured on those.
void require_calibration_set(const Study& study, const std::string& name, const std::string& where) {
  if (find_samples(study, name, where).role == observe::Role::calibration) return;
  throw InputError(
      fmt::format("samples '{}' have role = \"evaluation\": no method is fitted to what it is measured on; name a set "
                  "of role = \"calibration\"",
                  name),
      where);
}

/// A number within [lowest, highest].
double within(Table& table, std::string_view key, double otherwise, double lowest, double highest) {
  const double value = table.number(key).value_or(otherwise);
  if (value < lowest || value > highest) {
    table.fail(key, fmt::format("`{}` = {} is outside {} to {}", key, value, lowest, highest));
  }
  return value;
}

/// One of a few words, each with what it means.
template <class Value>
Value one_of(Table& table, std::string_view key, Value otherwise,
             const std::vector<std::pair<std::string, Value>>& meanings) {
  const auto word = table.text(key);
  if (!word) return otherwise;
  std::vector<std::string> known;
  for (const auto& [name, value] : meanings) known.push_back(name);
  return choice(table, key, *word, known, [&](const std::string& w) {
    const auto found = std::ranges::find(known, w);
    return found == known.end() ? std::nullopt
                                : std::optional(meanings[static_cast<std::size_t>(found - known.begin())].second);
  });
}

/// modules = "block", or [["first", "last"], ...]: the names of the first and the last layer of each.
void parse_modules(Table& table, reconstruct::Options& options) {
  const auto* node = table.find("modules");
  if (node == nullptr) return;
  if (!node->is_array()) {
    options.modules =
        choice(table, "modules", *table.text("modules"), {"layer", "block", "stage"}, reconstruct::parse_module_kind);
    return;
  }
  for (const auto& element : *node->as_array()) {
    const auto* pair = element.as_array();
    const auto* first = pair != nullptr && pair->size() == 2 ? pair->get(0)->as_string() : nullptr;
    const auto* last = first != nullptr ? pair->get(1)->as_string() : nullptr;
    if (last == nullptr) {
      throw InputError(
          "`modules` is a kind of module, or a list of [\"first\", \"last\"]: the names of the first and the "
          "last weight layer of each",
          place(element.source()));
    }
    options.named.push_back({.first = first->get(), .last = last->get()});
  }
  if (options.named.empty()) table.fail("modules", "`modules` is an empty list; give at least one value");
}

void parse_training(Table& table, reconstruct::Options& options) {
  using reconstruct::QuadraticLoss;
  using reconstruct::RegularizationUnit;
  using reconstruct::Weighting;
  constexpr double most = 1e6;
  options.iterations = table.integer("iterations", 1, 1 << 30).value_or(options.iterations);
  options.batch = table.integer("batch", 1, 1 << 20).value_or(options.batch);
  options.learning_rate = within(table, "learning_rate", options.learning_rate, 1e-12, most);
  options.regularization = within(table, "regularization", options.regularization, 0.0, most);
  options.regularization_unit =
      one_of<RegularizationUnit>(table, "regularization_unit", options.regularization_unit,
                                 {{"loss", RegularizationUnit::loss}, {"absolute", RegularizationUnit::absolute}});
  options.warm_up = within(table, "warm_up", options.warm_up, 0.0, 1.0);
  options.drop = within(table, "drop", options.drop, 0.0, 1.0);
  options.damping = within(table, "damping", options.damping, 0.0, most);
  options.order = one_of<reconstruct::ColumnOrder>(
      table, "order", options.order,
      {{"natural", reconstruct::ColumnOrder::natural}, {"activations", reconstruct::ColumnOrder::descending_diagonal}});
  if (const auto beta = table.numbers("beta"); !beta.empty()) {
    if (beta.size() != 2 || beta[0] < beta[1] || beta[1] < 1.0 || beta[0] > 1000.0) {
      table.fail("beta", "`beta` is [first, last], the exponent of the regularizer: falling, within 1 to 1000");
    }
    options.beta_first = beta[0];
    options.beta_last = beta[1];
  }
  options.weighting = one_of<Weighting>(table, "weighting", options.weighting,
                                        {{"none", Weighting::none}, {"fisher", Weighting::fisher}});
  options.quadratic = one_of<QuadraticLoss>(table, "quadratic", options.quadratic,
                                            {{"moments", QuadraticLoss::moments}, {"batches", QuadraticLoss::batches}});
}

/// runs = [1, 2, 1], or "random".
void parse_runs(Table& table, reconstruct::Options& options) {
  const auto* node = table.find("runs");
  if (node == nullptr || !node->is_string()) {
    for (const auto run : table.integers("runs", 1, 1 << 20)) options.runs.push_back(run);
    return;
  }
  options.joining =
      one_of<reconstruct::Joining>(table, "runs", options.joining, {{"random", reconstruct::Joining::random}});
}

/// Which modules mrecg and mrecg_loss join, and what they fit then.
void parse_joining(Table& table, reconstruct::Options& options) {
  using reconstruct::Method;
  options.joint = one_of<Method>(table, "joint", options.joint, {{"brecq", Method::brecq}, {"qdrop", Method::qdrop}});
  options.capacity.stride_factor = within(table, "stride_factor", options.capacity.stride_factor, 1e-6, 1e6);
  options.homogeneity =
      choice(table, "homogeneity", table.text("homogeneity").value_or(std::string(to_string(options.homogeneity))),
             {"strict", "definition", "converted"}, reconstruct::parse_homogeneity);
  options.joins = table.integer("joins", 1, 1 << 20).value_or(options.joins);
  options.join_penalty = within(table, "join_penalty", options.join_penalty, 0.0, 1e6);
  options.longest_run = table.integer("longest_run", 1, 1 << 20).value_or(options.longest_run);
  parse_runs(table, options);
}

}  // namespace

const observe::SampleSpec& find_samples(const Study& study, const std::string& name, const std::string& where) {
  const auto found = std::ranges::find(study.samples, name, &observe::SampleSpec::name);
  if (found != study.samples.end()) return *found;
  std::vector<std::string> names;
  for (const auto& spec : study.samples) names.push_back(spec.name);
  throw InputError(names.empty()
                       ? fmt::format("samples '{}' are not defined; add a [[samples]] table with this name", name)
                       : fmt::format("samples '{}' are not defined; defined are: {}", name, fmt::join(names, ", ")),
                   where);
}

reconstruct::Options parse_options(Table& table) {
  using reconstruct::BiasCorrection;
  using reconstruct::Equalization;
  using reconstruct::Method;
  reconstruct::Options options;
  parse_training(table, options);
  options.equalization =
      one_of<Equalization>(table, "equalize", options.equalization,
                           {{"none", Equalization::none}, {"cross_layer", Equalization::cross_layer}});
  if (table.has("bias_absorption")) options.bias_absorption = within(table, "bias_absorption", 3.0, 0.0, 100.0);
  options.bias_correction =
      one_of<BiasCorrection>(table, "bias_correction", options.bias_correction,
                             {{"none", BiasCorrection::none}, {"empirical", BiasCorrection::empirical}});
  parse_modules(table, options);
  parse_joining(table, options);
  return options;
}

void parse_reconstruct(Study& study, Table& root) {
  if (!reconstructs(study)) return refuse_reconstruction(study, root);
  auto table = root.table("reconstruct");
  std::string samples;
  if (table) {
    if (const auto named = table->text("samples")) {
      samples = *named;
      require_calibration_set(study, samples, place(table->require("samples").source()));
    }
    study.reconstruct = parse_options(*table);
    table->finish();
  }
  for (auto& network : study.networks) {
    if (network.calibration.empty()) network.calibration = samples;
    if (network.calibration.empty()) {
      throw InputError(
          fmt::format(
              "{} needs calibration samples: name a set of role = \"calibration\" as `samples` of [reconstruct]",
              axis_names(study)),
          table ? table->where() : network.where);
    }
    require_calibration_set(study, network.calibration, network.where);
  }
}

}  // namespace quantbound::sweep::detail
