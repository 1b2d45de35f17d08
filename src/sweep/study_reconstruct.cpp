#include "study_reconstruct.hpp"

#include <algorithm>

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
    throw InputError("`calibration` is read only where `quantizer` names a reconstruction method; name one, or remove it",
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

reconstruct::Options parse_options(Table& table) {
  reconstruct::Options options;
  static_cast<void>(table);
  return options;
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
          fmt::format("{} needs calibration samples: name a set of role = \"calibration\" as `samples` of [reconstruct]",
                      axis_names(study)),
          table ? table->where() : network.where);
    }
    require_calibration_set(study, network.calibration, network.where);
  }
}

}  // namespace quantbound::sweep::detail
