#include "merge_provenance.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"

#include "axes.hpp"
#include "merge_values.hpp"

namespace quantbound::sweep::detail {

namespace {

using Texts = std::vector<std::string>;
using Integers = std::vector<std::int64_t>;

const Group* provenance_of(const Dataset& dataset) { return dataset.find_group("provenance"); }
const Group* failures_of(const Dataset& dataset) { return dataset.find_group("failures"); }

std::size_t axis_size(const Group* group, std::string_view name) {
  const Axis* axis = group == nullptr ? nullptr : group->find_axis(name);
  return axis == nullptr ? 0 : axis->size();
}

/// Values of a variable over one axis; `size` empty ones where the part has none.
template <class Values>
Values values_of(const Group* group, const std::string& name, std::size_t size) {
  const Variable* variable = group == nullptr ? nullptr : group->find_variable(name);
  const Values* values = variable == nullptr ? nullptr : std::get_if<Values>(&variable->data);
  return values != nullptr && values->size() == size ? *values : Values(size);
}

/// The parts' values of a variable over a counting axis, one after the other.
template <class Values>
Values joined(std::span<const ResultPart> parts, const Group* (*group_of)(const Dataset&), std::string_view axis,
              const std::string& name) {
  Values all;
  for (const ResultPart& part : parts) {
    const Group* group = group_of(part.dataset);
    std::ranges::move(values_of<Values>(group, name, axis_size(group, axis)), std::back_inserter(all));
  }
  return all;
}

Attributes meaning_of(std::string_view long_name) {
  return {{"long_name", std::string(long_name)}, {"units", std::string("1")}};
}

void add(Group& group, std::string name, std::string axis, Data data, std::string_view long_name) {
  group.add_variable({.name = std::move(name),
                      .dimensions = {std::move(axis)},
                      .data = std::move(data),
                      .attributes = meaning_of(long_name),
                      .fill = {}});
}

// ---- the sources

/// A source as its variables: name -> text or number.
using Source = std::map<std::string, AttributeValue>;

/// Names of what a source says of itself, with the meaning; the rest are attributes of a run's /provenance.
constexpr std::array<std::pair<const char*, const char*>, 3> about_study{
    {{"source_file", "file that was merged"},
     {"source_study_hash", "study_hash of the source"},
     {"source_study_toml", "the study of the source, as resolved"}}};

Source source_of_run(const ResultPart& part) {
  const Attributes& root = part.dataset.root.attributes;
  Source source{{"source_file", part.file},
                {"source_study_hash", text_attribute(root, "study_hash").value_or("")},
                {"source_study_toml", text_attribute(root, "study_toml").value_or("")}};
  const Group* provenance = provenance_of(part.dataset);
  if (provenance == nullptr) return source;
  for (const auto& [name, value] : provenance->attributes) {
    if (std::holds_alternative<std::string>(value) || std::holds_alternative<std::int64_t>(value)) {
      source.emplace("source_" + name, value);
    }
  }
  return source;
}

/// The sources of a merged part: the rows of its variables over `source`.
std::vector<Source> sources_of_merged(const Group& provenance) {
  std::vector<Source> sources(axis_size(&provenance, "source"));
  for (const Variable& variable : provenance.variables) {
    if (variable.dimensions != Texts{"source"}) continue;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (const auto* texts = std::get_if<Texts>(&variable.data)) sources[i].emplace(variable.name, (*texts)[i]);
      if (const auto* numbers = std::get_if<Integers>(&variable.data)) sources[i].emplace(variable.name, (*numbers)[i]);
    }
  }
  return sources;
}

std::vector<Source> sources_of(const ResultPart& part) {
  const Group* provenance = provenance_of(part.dataset);
  if (provenance != nullptr && provenance->find_axis("source") != nullptr) return sources_of_merged(*provenance);
  return {source_of_run(part)};
}

template <class Value>
std::vector<Value> column(const std::vector<Source>& sources, const std::string& name) {
  return collect(sources, [&](const Source& source) {
    const auto found = source.find(name);
    const Value* value = found == source.end() ? nullptr : std::get_if<Value>(&found->second);
    return value == nullptr ? Value() : *value;
  });
}

void add_sources(Group& group, const std::vector<Source>& sources) {
  group.add_axis(
      {.name = "source", .labels = counting(sources.size()), .attributes = meaning_of("result file that was merged")});
  for (const auto& [name, meaning] : about_study)
    add(group, name, "source", column<std::string>(sources, name), meaning);
  std::map<std::string, bool> others;  // whether it is text
  for (const Source& source : sources) {
    for (const auto& [name, value] : source) others.emplace(name, std::holds_alternative<std::string>(value));
  }
  for (const auto& [name, meaning] : about_study) others.erase(name);
  for (const auto& [name, is_text] : others) {
    const std::string meaning = fmt::format("`{}` of the run", name.substr(std::string("source_").size()));
    Data data = is_text ? Data(column<std::string>(sources, name)) : Data(column<std::int64_t>(sources, name));
    add(group, name, "source", std::move(data), meaning);
  }
}

/// For every position of an axis of all parts, the source it belongs to. `group_of` has the axis; a merged part knows
/// the source of each position from `name` in its /provenance.
Integers source_of_each(std::span<const ResultPart> parts, const Group* (*group_of)(const Dataset&),
                        std::string_view axis, const std::string& name) {
  Integers all;
  std::int64_t first = 0;
  for (const ResultPart& part : parts) {
    const std::size_t size = axis_size(group_of(part.dataset), axis);
    const bool merged = sources_of(part).size() != 1;
    const Integers own = merged ? values_of<Integers>(provenance_of(part.dataset), name, size) : Integers(size);
    std::ranges::transform(own, std::back_inserter(all), [&](std::int64_t source) { return first + source; });
    first += std::ssize(sources_of(part));
  }
  return all;
}

// ---- times and ranks

void add_tasks(Group& group, std::span<const ResultPart> parts) {
  auto seconds = joined<std::vector<double>>(parts, provenance_of, "task", "wall_time");
  group.add_axis(
      {.name = "task", .labels = counting(seconds.size()), .attributes = meaning_of("tasks of all sources")});
  group.add_variable({.name = "wall_time",
                      .dimensions = {"task"},
                      .data = std::move(seconds),
                      .attributes = {{"long_name", std::string("seconds of the task")}, {"units", std::string("s")}},
                      .fill = std::numeric_limits<double>::quiet_NaN()});
  add(group, "task_source", "task", source_of_each(parts, provenance_of, "task", "task_source"), "source of the task");
}

void add_certify_times(Group& group, std::span<const ResultPart> parts, const MergedAxes& axes) {
  const bool any = std::ranges::any_of(parts, [](const ResultPart& part) {
    const Group* provenance = provenance_of(part.dataset);
    return provenance != nullptr && provenance->find_variable("certify_time") != nullptr;
  });
  if (!any) return;
  Variable time = merge_variable(parts, "certify_time", axes, Agreement::kept, provenance_of);
  for (const auto& name : time.dimensions) group.add_axis(axes.find(name)->axis);
  group.add_variable(std::move(time));
}

/// Seconds of every stage, over all parts.
void add_stages(Group& group, std::span<const ResultPart> parts) {
  std::vector<Texts> orders;
  std::map<std::string, double> sum;
  for (const ResultPart& part : parts) {
    const Group* provenance = provenance_of(part.dataset);
    const Axis* axis = provenance == nullptr ? nullptr : provenance->find_axis("stage");
    const Texts* stages = axis == nullptr ? nullptr : std::get_if<Texts>(&axis->labels);
    if (stages == nullptr) continue;
    const auto seconds = values_of<std::vector<double>>(provenance, "stage_time", stages->size());
    for (std::size_t i = 0; i < stages->size(); ++i) sum[(*stages)[i]] += seconds[i];
    orders.push_back(*stages);
  }
  const Texts order = merge_orders(orders);
  group.add_axis({.name = "stage", .labels = order, .attributes = meaning_of("stage")});
  group.add_variable(
      {.name = "stage_time",
       .dimensions = {"stage"},
       .data = collect(order, [&](const auto& stage) { return sum.at(stage); }),
       .attributes = {{"long_name", std::string("seconds of the stage, over all tasks")}, {"units", std::string("s")}},
       .fill = std::numeric_limits<double>::quiet_NaN()});
}

void add_ranks(Group& group, std::span<const ResultPart> parts) {
  auto hosts = joined<Texts>(parts, provenance_of, "rank", "host");
  group.add_axis({.name = "rank", .labels = counting(hosts.size()), .attributes = meaning_of("ranks of all sources")});
  add(group, "host", "rank", std::move(hosts), "host of the rank");
  add(group, "threads", "rank", joined<Integers>(parts, provenance_of, "rank", "threads"), "threads of the rank");
  add(group, "rank_source", "rank", source_of_each(parts, provenance_of, "rank", "rank_source"), "source of the rank");
}

}  // namespace

Group merge_failures(std::span<const ResultPart> parts) {
  Integers tasks;
  std::int64_t first = 0;
  for (const ResultPart& part : parts) {
    const Group* group = failures_of(part.dataset);
    for (const auto task : values_of<Integers>(group, "failure_task", axis_size(group, "failure"))) {
      tasks.push_back(first + task);
    }
    first += static_cast<std::int64_t>(axis_size(provenance_of(part.dataset), "task"));
  }
  Group failures;
  const auto bare = [&](const char* name, Data data) {
    failures.add_variable(
        {.name = name, .dimensions = {"failure"}, .data = std::move(data), .attributes = {}, .fill = {}});
  };
  failures.add_axis(
      {.name = "failure", .labels = counting(tasks.size()), .attributes = meaning_of("piece of work that failed")});
  bare("failure_task", std::move(tasks));
  for (const auto* name : {"failure_network", "failure_stage", "failure_message"}) {
    bare(name, joined<Texts>(parts, failures_of, "failure", name));
  }
  return failures;
}

Group merge_provenance(std::span<const ResultPart> parts, const MergedAxes& axes, const Group& failures) {
  std::vector<Source> sources;
  for (const ResultPart& part : parts) std::ranges::move(sources_of(part), std::back_inserter(sources));
  Group group;
  add_sources(group, sources);
  add_tasks(group, parts);
  add_certify_times(group, parts, axes);
  add_stages(group, parts);
  add_ranks(group, parts);
  group.add_axis(*failures.find_axis("failure"));
  add(group, "failure_source", "failure", source_of_each(parts, failures_of, "failure", "failure_source"),
      "source of the failure");
  return group;
}

}  // namespace quantbound::sweep::detail
