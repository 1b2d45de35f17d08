#include "merge_provenance.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "axes.hpp"
#include "merge_values.hpp"

namespace quantbound::sweep::detail {

namespace {

using Texts = std::vector<std::string>;
using Integers = std::vector<std::int64_t>;
using Reals = std::vector<double>;

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

void add_axis(Group& group, Place place, std::string_view name, Labels labels) {
  group.add_axis(make_axis(place, name, std::move(labels)));
}

void add(Group& group, Place place, std::string_view name, Data data) {
  group.add_variable(make_variable(place, name, std::move(data)));
}

// ---- the sources

/// A source as its variables: name -> text or number.
using Source = std::map<std::string, AttributeValue>;

/// What a source says of its study; the rest are attributes of a run's /provenance.
constexpr std::array about_study{"source_file", "source_study_hash", "source_study_toml"};

Source source_of_run(const ResultPart& part) {
  const Attributes& root = part.dataset.root.attributes;
  Source source{{"source_file", part.file},
                {"source_study_hash", text_attribute(root, "study_hash").value_or("")},
                {"source_study_toml", text_attribute(root, "study_toml").value_or("")}};
  const Group* provenance = provenance_of(part.dataset);
  if (provenance == nullptr) return source;
  for (const auto& [name, value] : provenance->attributes) {
    source.emplace("source_" + name, value);
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
      if (const auto* reals = std::get_if<Reals>(&variable.data)) sources[i].emplace(variable.name, (*reals)[i]);
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

/// A column in the type of the value that the first source with it has.
Data column_like(const AttributeValue& value, const std::vector<Source>& sources, const std::string& name) {
  if (std::holds_alternative<std::string>(value)) return column<std::string>(sources, name);
  if (std::holds_alternative<double>(value)) return column<double>(sources, name);
  return column<std::int64_t>(sources, name);
}

void add_sources(Group& group, const std::vector<Source>& sources) {
  add_axis(group, Place::sources, "source", counting(sources.size()));
  for (const auto* name : about_study) add(group, Place::sources, name, column<std::string>(sources, name));
  Source others;
  for (const Source& source : sources) others.insert(source.begin(), source.end());
  for (const auto* name : about_study) others.erase(name);
  for (const auto& [name, value] : others) {
    const std::string meaning = fmt::format("`{}` of the run", name.substr(std::string_view("source_").size()));
    group.add_variable({.name = name,
                        .dimensions = {"source"},
                        .data = column_like(value, sources, name),
                        .attributes = {{"long_name", meaning}, {"units", std::string("1")}},
                        .fill = {}});
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
  add_axis(group, Place::provenance, "task", counting(seconds.size()));
  add(group, Place::provenance, "wall_time", std::move(seconds));
  add(group, Place::sources, "task_source", source_of_each(parts, provenance_of, "task", "task_source"));
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
  add_axis(group, Place::provenance, "stage", order);
  add(group, Place::provenance, "stage_time", collect(order, [&](const auto& stage) { return sum.at(stage); }));
}

void add_ranks(Group& group, std::span<const ResultPart> parts) {
  auto hosts = joined<Texts>(parts, provenance_of, "rank", "host");
  add_axis(group, Place::provenance, "rank", counting(hosts.size()));
  add(group, Place::provenance, "host", std::move(hosts));
  add(group, Place::provenance, "threads", joined<Integers>(parts, provenance_of, "rank", "threads"));
  add(group, Place::sources, "rank_source", source_of_each(parts, provenance_of, "rank", "rank_source"));
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
  add_axis(failures, Place::failures, "failure", counting(tasks.size()));
  add(failures, Place::failures, "failure_task", std::move(tasks));
  for (const auto* name : {"failure_network", "failure_stage", "failure_message"})
    add(failures, Place::failures, name, joined<Texts>(parts, failures_of, "failure", name));
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
  add(group, Place::sources, "failure_source", source_of_each(parts, failures_of, "failure", "failure_source"));
  return group;
}

}  // namespace quantbound::sweep::detail
