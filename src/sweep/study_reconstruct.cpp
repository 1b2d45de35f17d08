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
  if (root.find("reconstruct") != nullptr) {
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

/// One of a few words, each with what it means.
template <class Value>
Value one_of(Table& table, std::string_view key, const std::vector<std::pair<std::string, Value>>& meanings) {
  return table.choice(key, [&](const std::string& word) {
    const auto found = std::ranges::find(meanings, word, &std::pair<std::string, Value>::first);
    return found == meanings.end() ? std::nullopt : std::optional(found->second);
  });
}

/// modules = "block", or [["first", "last"], ...]: the names of the first and the last layer of each.
void parse_modules(Table& table, reconstruct::Options& options) {
  const auto* node = table.find("modules");
  if (node == nullptr || !node->is_array()) {
    options.modules = table.choice("modules", reconstruct::parse_module_kind);
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
  using reconstruct::BiasCorrection;
  using reconstruct::ColumnOrder;
  using reconstruct::Equalization;
  using reconstruct::QuadraticLoss;
  using reconstruct::RegularizationUnit;
  using reconstruct::Weighting;
  options.iterations = *table.integer("iterations");
  options.batch = *table.integer("batch");
  options.learning_rate = *table.number("learning_rate");
  options.regularization = *table.number("regularization");
  options.regularization_unit = one_of<RegularizationUnit>(
      table, "regularization_unit", {{"loss", RegularizationUnit::loss}, {"absolute", RegularizationUnit::absolute}});
  options.warm_up = *table.number("warm_up");
  options.drop = *table.number("drop");
  options.damping = *table.number("damping");
  options.order = one_of<ColumnOrder>(
      table, "order", {{"natural", ColumnOrder::natural}, {"activations", ColumnOrder::descending_diagonal}});
  const auto beta = table.numbers("beta");
  if (beta.size() != 2 || beta[0] < beta[1]) {
    table.fail("beta", "`beta` is [first, last], the exponent of the regularizer: falling, within 1 to 1000");
  }
  options.beta_first = beta[0];
  options.beta_last = beta[1];
  options.weighting = one_of<Weighting>(table, "weighting", {{"none", Weighting::none}, {"fisher", Weighting::fisher}});
  options.quadratic = one_of<QuadraticLoss>(table, "quadratic",
                                            {{"moments", QuadraticLoss::moments}, {"batches", QuadraticLoss::batches}});
  options.equalization = one_of<Equalization>(
      table, "equalize", {{"none", Equalization::none}, {"cross_layer", Equalization::cross_layer}});
  options.bias_absorption = table.number("bias_absorption");
  options.bias_correction = one_of<BiasCorrection>(
      table, "bias_correction", {{"none", BiasCorrection::none}, {"empirical", BiasCorrection::empirical}});
}

/// runs = [1, 2, 1], or "random".
void parse_runs(Table& table, reconstruct::Options& options) {
  const auto* node = table.find("runs");
  if (node != nullptr && node->is_string()) {
    if (node->as_string()->get() != "random")
      table.fail("runs", "`runs` is how many modules each become one, [1, 2, 1], or \"random\"");
    options.joining = reconstruct::Joining::random;
    return;
  }
  for (const auto run : table.integers("runs")) options.runs.push_back(run);
}

/// Which modules mrecg and mrecg_loss join, and what they fit then.
void parse_joining(Table& table, reconstruct::Options& options) {
  using reconstruct::Method;
  options.joint = one_of<Method>(table, "joint", {{"brecq", Method::brecq}, {"qdrop", Method::qdrop}});
  options.capacity.stride_factor = *table.number("stride_factor");
  options.homogeneity = table.choice("homogeneity", reconstruct::parse_homogeneity);
  options.joins = table.integer("joins").value_or(options.joins);
  options.join_penalty = *table.number("join_penalty");
  options.longest_run = table.integer("longest_run").value_or(options.longest_run);
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
  reconstruct::Options options;
  parse_training(table, options);
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
      require_calibration_set(study, samples, table->where("samples"));
    }
    study.reconstruct = parse_options(*table);
    table->finish();
  }
  for (auto& network : study.networks) {
    if (network.calibration.empty()) network.calibration = samples;
    if (network.calibration.empty()) {
      throw InputError(fmt::format("calibration samples are needed for {}: name a set of role = \"calibration\" as "
                                   "`samples` of [reconstruct]",
                                   axis_names(study)),
                       table ? table->where() : network.where);
    }
    require_calibration_set(study, network.calibration, network.where);
  }
}

}  // namespace quantbound::sweep::detail
