#include "merge_settings.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include "quantbound/core/error.hpp"

#include "axes.hpp"

namespace quantbound::sweep::detail {

namespace {

/// What axes tell already, and what only says where a study came from.
constexpr std::array<std::string_view, 9> told_by_axes{
    "study.name",    "quantization.quantizer", "quantization.granularity", "quantization.bits", "quantization.seed",
    "bounds.theory", "certify.method",         "observe.samples",          "observe.quantiles"};

std::string text_of(const toml::node& node) {
  std::ostringstream text;
  text << toml::toml_formatter{node};
  return text.str();
}

std::string text_of(const toml::table& table, std::string_view key) {
  const toml::node* node = table.get(key);
  return node == nullptr ? "not given" : text_of(*node);
}

toml::table study_of(const ResultPart& part) {
  try {
    return toml::parse(text_attribute(part.dataset.root.attributes, "study_toml").value_or(""));
  } catch (const toml::parse_error& error) {
    throw core::InputError(fmt::format("the study in the file is no TOML ({})", error.description()), part.file);
  }
}

bool has(const toml::array& array, const std::string& element) {
  return std::ranges::any_of(array, [&](const toml::node& node) { return text_of(node) == element; });
}

/// Takes from `common` what `other` does not say. An inline table, such as `attack`, is one value.
void keep_common(toml::table& common, const toml::table& other) {
  std::vector<std::string> gone;
  for (auto&& [key, node] : common) {
    const toml::node* there = other.get(key);
    toml::array* tables = node.is_array_of_tables() ? node.as_array() : nullptr;
    const bool is_section = node.is_table() && !node.as_table()->is_inline();
    if (there != nullptr && is_section && there->is_table()) {
      keep_common(*node.as_table(), *there->as_table());
      if (node.as_table()->empty()) gone.emplace_back(key.str());
    } else if (there != nullptr && tables != nullptr && there->is_array_of_tables()) {
      for (std::size_t i = tables->size(); i-- > 0;) {
        if (!has(*there->as_array(), text_of((*tables)[i])))
          tables->erase(tables->begin() + static_cast<std::ptrdiff_t>(i));
      }
      if (tables->empty()) gone.emplace_back(key.str());
    } else if (there == nullptr || text_of(node) != text_of(*there)) {
      gone.emplace_back(key.str());
    }
  }
  for (const auto& key : gone) common.erase(key);
}

/// The tables of an array of tables; none where it is missing.
std::vector<const toml::table*> tables_of(const toml::table& study, std::string_view key) {
  std::vector<const toml::table*> tables;
  const toml::array* array = study.get(key) == nullptr ? nullptr : study.get(key)->as_array();
  if (array == nullptr) return tables;
  for (const toml::node& node : *array) {
    if (node.is_table()) tables.push_back(node.as_table());
  }
  return tables;
}

std::string name_of(const toml::table& samples) { return samples["name"].value_or<std::string>("?"); }

/// "certify.tolerance" -> value, "samples.digits.scale" -> value; networks are left out.
std::map<std::string, std::string> settings_of(const toml::table& study) {
  std::map<std::string, std::string> settings;
  for (auto&& [name, node] : study) {
    if (!node.is_table()) continue;
    for (auto&& [key, value] : *node.as_table()) settings[fmt::format("{}.{}", name.str(), key.str())] = text_of(value);
  }
  for (const toml::table* set : tables_of(study, "samples")) {
    for (auto&& [key, value] : *set) settings[fmt::format("samples.{}.{}", name_of(*set), key.str())] = text_of(value);
  }
  return settings;
}

/// "certify": what a study must have for its silence about a setting to mean the default.
std::string stage_of(const std::string& setting) { return setting.substr(0, setting.rfind('.')); }

/// "0.05 (a.h5), 0.1 (3 files)".
std::string by_value(const std::map<std::string, std::vector<std::string>>& files) {
  const auto each = collect(files, [](const auto& entry) {
    const auto& [value, names] = entry;
    return fmt::format("{} ({})", value, names.size() == 1 ? names.front() : fmt::format("{} files", names.size()));
  });
  return fmt::format("{}", fmt::join(each, ", "));
}

std::vector<std::string> differing_settings(std::span<const ResultPart> parts,
                                            const std::vector<toml::table>& studies) {
  const auto settings = collect(studies, settings_of);
  std::set<std::string> keys;
  for (const auto& study : settings) {
    for (const auto& [key, value] : study) keys.insert(key);
  }
  std::vector<std::string> notes;
  for (const auto& key : keys) {
    if (std::ranges::find(told_by_axes, key) != told_by_axes.end()) continue;
    std::map<std::string, std::vector<std::string>> files;  // by value
    for (std::size_t p = 0; p < parts.size(); ++p) {
      const auto& mine = settings[p];
      const auto found = mine.find(key);
      const auto in_stage = [&](const auto& entry) { return stage_of(entry.first) == stage_of(key); };
      if (found == mine.end() && std::ranges::none_of(mine, in_stage)) continue;
      files[found == mine.end() ? "not given" : found->second].push_back(parts[p].file);
    }
    if (files.size() > 1) notes.push_back(fmt::format("the studies differ in {}: {}", key, by_value(files)));
  }
  return notes;
}

/// Whether two tables [[network]] are about one network: a file of the same name, or a family.
bool share_a_network(const toml::table& a, const toml::table& b) {
  if (text_of(a, "suffix") != text_of(b, "suffix") || text_of(a, "family") != text_of(b, "family")) return false;
  const auto names = [](const toml::table& table) {
    std::set<std::string> found;
    const toml::node* file = table.get("file");
    if (file == nullptr) return found;
    const auto add = [&](const toml::node& node) {
      found.insert(std::filesystem::path(node.value_or<std::string>("")).filename().string());
    };
    if (const toml::array* files = file->as_array()) {
      std::ranges::for_each(*files, add);
    } else {
      add(*file);
    }
    return found;
  };
  const auto first = names(a), second = names(b);
  if (first.empty() && second.empty()) return true;
  return std::ranges::any_of(first, [&](const auto& name) { return second.contains(name); });
}

void require_same_domains(const ResultPart& part, const toml::table& study, const ResultPart& other,
                          const toml::table& other_study) {
  for (const toml::table* mine : tables_of(study, "network")) {
    for (const toml::table* theirs : tables_of(other_study, "network")) {
      if (!share_a_network(*mine, *theirs) || text_of(*mine, "domain") == text_of(*theirs, "domain")) continue;
      throw core::InputError(
          fmt::format("`domain` of {} is {} here and {} in {}: give the network a `suffix` in one study",
                      text_of(*mine, mine->contains("file") ? "file" : "family"), text_of(*mine, "domain"),
                      text_of(*theirs, "domain"), other.file),
          part.file);
    }
  }
}

void require_same_samples(const ResultPart& part, const toml::table& study, const ResultPart& other,
                          const toml::table& other_study) {
  for (const toml::table* mine : tables_of(study, "samples")) {
    for (const toml::table* theirs : tables_of(other_study, "samples")) {
      if (name_of(*mine) != name_of(*theirs)) continue;
      for (const auto* key : {"layout", "mean", "std", "scale", "rows", "label_offset", "role"}) {
        if (text_of(*mine, key) == text_of(*theirs, key)) continue;
        throw core::InputError(
            fmt::format("`{}` of sample set '{}' is {} here and {} in {}: give the set another `name` in one study",
                        key, name_of(*mine), text_of(*mine, key), text_of(*theirs, key), other.file),
            part.file);
      }
    }
  }
}

/// The study of a merged result is silent about what its own parts do not share.
bool tells_its_seed(const ResultPart& part, const toml::table& study) {
  const Group* provenance = part.dataset.find_group("provenance");
  const bool merged = provenance != nullptr && provenance->find_axis("source") != nullptr;
  return !merged || study["study"]["seed"].is_integer();
}

std::vector<std::string> networks_of(const ResultPart& part) {
  const Axis* axis = part.dataset.root.find_axis("network");
  const auto* labels = axis == nullptr ? nullptr : std::get_if<std::vector<std::string>>(&axis->labels);
  if (labels == nullptr) throw core::InputError("this is no result of quantbound: it has no axis `network`", part.file);
  return *labels;
}

}  // namespace

CommonSettings common_settings(std::span<const ResultPart> parts) {
  const auto studies = collect(parts, study_of);
  CommonSettings settings{.toml = text_attribute(parts.front().dataset.root.attributes, "study_toml").value_or(""),
                          .notes = differing_settings(parts, studies)};
  const bool equal = std::ranges::all_of(parts, [&](const ResultPart& part) {
    return text_attribute(part.dataset.root.attributes, "study_toml").value_or("") == settings.toml;
  });
  if (equal) return settings;
  toml::table common = studies.front();
  for (const auto& study : studies) keep_common(common, study);
  std::ostringstream text;
  text << "# What the studies of a merged result have in common; each in whole: source_study_toml in /provenance\n"
       << common << '\n';
  settings.toml = text.str();
  return settings;
}

void require_same_inputs(std::span<const ResultPart> parts) {
  const auto studies = collect(parts, study_of);
  std::map<std::string, std::size_t> holder;  // the first part with the network
  for (std::size_t p = 0; p < parts.size(); ++p) {
    std::map<std::size_t, std::string> others;  // parts before it, by a network they share
    for (const auto& network : networks_of(parts[p])) {
      const auto [first, added] = holder.emplace(network, p);
      if (!added) others.emplace(first->second, network);
    }
    for (const auto& [other, network] : others) {
      const auto seed = [&](std::size_t part) { return studies[part]["study"]["seed"].value_or<std::int64_t>(1); };
      if (tells_its_seed(parts[p], studies[p]) && tells_its_seed(parts[other], studies[other]) &&
          seed(p) != seed(other)) {
        throw core::InputError(
            fmt::format("`seed` of [study] is {} here and {} in {}, and both have network '{}': its uniform points and "
                        "attacks differ; seeds of rounding and of methods are `seed` of [quantization]",
                        seed(p), seed(other), parts[other].file, network),
            parts[p].file);
      }
      require_same_domains(parts[p], studies[p], parts[other], studies[other]);
      require_same_samples(parts[p], studies[p], parts[other], studies[other]);
    }
  }
}

}  // namespace quantbound::sweep::detail
