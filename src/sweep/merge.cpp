#include "quantbound/sweep/merge.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/core/hash.hpp"
#include "quantbound/sweep/dataset_schema.hpp"

#include "axes.hpp"
#include "merge_axes.hpp"
#include "merge_provenance.hpp"
#include "merge_settings.hpp"
#include "merge_values.hpp"

namespace quantbound::sweep {

namespace {

using detail::collect;

/// Attributes of the root of which a file can say one thing only.
constexpr std::array<const char*, 6> of_the_whole_file{"step",      "grid",      "bias_bits",
                                                       "edge_bits", "precision", "confidence"};

const Group* root_of(const Dataset& dataset) { return &dataset.root; }

std::string text_of(const AttributeValue* value) {
  if (value == nullptr) return "missing";
  if (const auto* text = std::get_if<std::string>(value)) return *text;
  if (const auto* whole = std::get_if<std::int64_t>(value)) return fmt::format("{}", *whole);
  if (const auto* number = std::get_if<double>(value)) return fmt::format("{}", *number);
  return "a list";
}

void require_result(const ResultPart& part) {
  const Attributes& attributes = part.dataset.root.attributes;
  if (text_attribute(attributes, "schema") != "quantbound-results") {
    throw core::InputError("this is no result of quantbound sweep", part.file);
  }
  const std::string version = text_attribute(attributes, "schema_version").value_or("unknown");
  if (version != schema_version) {
    throw core::InputError(
        fmt::format("its schema has version {}, this quantbound writes {}: run the study again, or merge "
                    "with the version that made it",
                    version, schema_version),
        part.file);
  }
}

void require_one_setting(std::span<const ResultPart> parts) {
  const ResultPart& first = parts.front();
  for (const ResultPart& part : parts) {
    for (const char* name : of_the_whole_file) {
      const auto* here = find_attribute(part.dataset.root.attributes, name);
      const auto* there = find_attribute(first.dataset.root.attributes, name);
      if (text_of(here) == text_of(there)) continue;
      throw core::InputError(fmt::format("`{}` is {} here and {} in {}: a result file has one; keep them apart", name,
                                         text_of(here), text_of(there), first.file),
                             part.file);
    }
  }
}

/// Coordinates that hold positions of `region` get those of the merged axis.
void move_references(std::vector<ResultPart>& parts, const detail::MergedAxes& axes) {
  const detail::MergedAxis* regions = axes.find("region");
  for (std::size_t p = 0; p < parts.size(); ++p) {
    Variable* variable = parts[p].dataset.root.find_variable("region_output_region");
    auto* values = variable == nullptr ? nullptr : std::get_if<std::vector<std::int64_t>>(&variable->data);
    if (values == nullptr || regions == nullptr) continue;
    for (auto& value : *values) {
      value = static_cast<std::int64_t>(regions->places[p].at(static_cast<std::size_t>(value)));
    }
  }
}

/// "study depth", "studies depth, width", or how many there are.
std::string studies_of(std::span<const ResultPart> parts) {
  std::vector<std::string> names;
  for (const ResultPart& part : parts) {
    const std::string title = text_attribute(part.dataset.root.attributes, "title").value_or("");
    const std::string studies = title.substr(0, title.rfind(": "));
    const std::size_t head = studies.find("quantbound study ") == 0 ? std::string_view("quantbound study ").size() : 0;
    if (std::ranges::find(names, studies.substr(head)) == names.end()) names.push_back(studies.substr(head));
  }
  if (names.size() == 1) return "study " + names.front();
  if (names.size() <= 3) return fmt::format("studies {}", fmt::join(names, ", "));
  return fmt::format("{} studies", names.size());
}

std::string title_of(std::span<const ResultPart> parts, const detail::MergedAxes& axes) {
  const auto size = [&](const char* name) { return axes.find(name) == nullptr ? 0 : axes.find(name)->names.size(); };
  return fmt::format(
      "quantbound {}: {}", studies_of(parts),
      detail::size_in_words(size("network"), size("quantizer") * size("granularity") * size("bits") * size("seed")));
}

/// That of the study where there is one; else of all of them, in their order.
std::string hash_of(std::span<const ResultPart> parts) {
  std::vector<std::string> hashes;
  for (const ResultPart& part : parts) {
    const std::string hash = text_attribute(part.dataset.root.attributes, "study_hash").value_or("");
    if (std::ranges::find(hashes, hash) == hashes.end()) hashes.push_back(hash);
  }
  return hashes.size() == 1 ? hashes.front() : core::hash128_hex(fmt::format("{}", fmt::join(hashes, "\n")));
}

/// What is not about the numbers may differ: where a file lay, why a method said nothing. So may the stated error of
/// float measurements, and what it is part of: it is taken from samples that depend on how a study's work was cut.
constexpr std::array<std::string_view, 5> free_to_differ{"network_source", "method_note", "observed_error",
                                                         "observed_in_double", "observed_quantile_upper"};
constexpr std::array<std::string_view, 7> measured{"observed_max",      "observed_mean",      "observed_quantile",
                                                   "observed_norm_max", "observed_norm_mean", "observed_norm_quantile",
                                                   "observed_sample"};

detail::Agreement agreement_on(const std::string& name) {
  if (std::ranges::count(free_to_differ, name) != 0) return detail::Agreement::kept;
  return std::ranges::count(measured, name) != 0 ? detail::Agreement::measured : detail::Agreement::required;
}

Group merge_root(std::span<const ResultPart> parts, const detail::MergedAxes& axes, const std::string& toml) {
  Group root;
  root.attributes = parts.front().dataset.root.attributes;
  set_attribute(root.attributes, "title", title_of(parts, axes));
  set_attribute(root.attributes, "study_toml", toml);
  set_attribute(root.attributes, "study_hash", hash_of(parts));
  for (const auto& merged : axes.axes) root.add_axis(merged.axis);
  const auto orders = collect(parts, [](const ResultPart& part) {
    return collect(part.dataset.root.variables, [](const Variable& variable) { return variable.name; });
  });
  for (const auto& name : detail::merge_orders(orders)) {
    root.add_variable(detail::merge_variable(parts, name, axes, agreement_on(name), root_of));
  }
  return root;
}

}  // namespace

MergedResult merge_results(std::vector<ResultPart> parts) {
  QUANTBOUND_ASSERT(!parts.empty());
  std::ranges::for_each(parts, require_result);
  require_one_setting(parts);
  detail::require_same_inputs(parts);
  const detail::MergedAxes axes = detail::merge_axes(parts);
  move_references(parts, axes);
  detail::CommonSettings settings = detail::common_settings(parts);
  MergedResult merged;
  merged.notes = std::move(settings.notes);
  merged.dataset.root = merge_root(parts, axes, settings.toml);
  Group failures = detail::merge_failures(parts);
  Group provenance = detail::merge_provenance(parts, axes, failures);
  merged.dataset.group("failures") = std::move(failures);
  merged.dataset.group("provenance") = std::move(provenance);
  return merged;
}

}  // namespace quantbound::sweep
