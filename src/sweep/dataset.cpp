#include "quantbound/sweep/dataset.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "quantbound/core/assert.hpp"

namespace quantbound::sweep {

namespace {

template <class Named>
const Named* find_named(const std::vector<Named>& items, std::string_view name) {
  const auto found = std::find_if(items.begin(), items.end(), [&](const Named& item) { return item.name == name; });
  return found == items.end() ? nullptr : &*found;
}

/// The first reason not to accept something; empty: there is none.
using Reason = std::optional<std::string>;

bool is_name(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

template <class Named>
Reason name_problem(const std::vector<Named>& items) {
  for (auto item = items.begin(); item != items.end(); ++item) {
    if (!is_name(item->name)) return "'" + item->name + "' is no name";
    const auto same = [&](const Named& earlier) { return earlier.name == item->name; };
    if (std::any_of(items.begin(), item, same)) return "'" + item->name + "' is there twice";
  }
  return std::nullopt;
}

Reason attribute_problem(const Attributes& attributes) {
  if (Reason reason = name_problem(attributes)) return "attribute " + *reason;
  for (const Attribute& attribute : attributes) {
    const bool is_empty_list = std::visit(
        [](const auto& value) {
          using Value = std::decay_t<decltype(value)>;
          if constexpr (std::is_arithmetic_v<Value> || std::is_same_v<Value, std::string>) {
            return false;
          } else {
            return value.empty();
          }
        },
        attribute.value);
    if (is_empty_list) return "attribute '" + attribute.name + "' is an empty list";
  }
  return std::nullopt;
}

/// A fill is of the type of the elements. Text has none.
bool fits(const Fill& fill, const Data& data) {
  if (std::holds_alternative<std::monostate>(fill)) return true;
  return std::visit(
      [&](const auto& values) {
        using Element = typename std::decay_t<decltype(values)>::value_type;
        if constexpr (std::is_same_v<Element, std::string>) {
          return false;
        } else {
          return std::holds_alternative<Element>(fill);
        }
      },
      data);
}

const Axis* find_axis_in(std::string_view name, const Group& group, const Group& outer) {
  const Axis* axis = group.find_axis(name);
  return axis != nullptr ? axis : outer.find_axis(name);
}

Reason axis_problem(const Axis& axis) {
  if (!is_name(axis.name)) return "'" + axis.name + "' is no name";
  if (Reason reason = attribute_problem(axis.attributes)) return axis.name + ": " + *reason;
  return std::nullopt;
}

Reason variable_problem(const Variable& variable, const Group& group, const Group& outer) {
  const std::string& name = variable.name;
  if (!is_name(name)) return "'" + name + "' is no name";
  if (Reason reason = attribute_problem(variable.attributes)) return name + ": " + *reason;
  std::size_t expected = 1;
  for (auto dimension = variable.dimensions.begin(); dimension != variable.dimensions.end(); ++dimension) {
    const Axis* axis = find_axis_in(*dimension, group, outer);
    if (axis == nullptr) return name + ": there is no axis '" + *dimension + "'";
    if (std::find(variable.dimensions.begin(), dimension, *dimension) != dimension) {
      return name + ": axis '" + *dimension + "' is there twice";
    }
    expected *= axis->size();
  }
  const std::size_t found = element_count(variable.data);
  if (found != expected) return name + ": " + std::to_string(found) + " values, not " + std::to_string(expected);
  if (!fits(variable.fill, variable.data)) return name + ": the fill value is of another type than the data";
  return std::nullopt;
}

Reason group_problem(const Group& group, const Group& outer) {
  if (Reason reason = attribute_problem(group.attributes)) return reason;
  if (Reason reason = name_problem(group.axes)) return reason;
  if (Reason reason = name_problem(group.variables)) return reason;
  for (const Axis& axis : group.axes) {
    if (Reason reason = axis_problem(axis)) return reason;
  }
  for (const Variable& variable : group.variables) {
    if (Reason reason = variable_problem(variable, group, outer)) return reason;
    if (group.find_axis(variable.name) != nullptr) return "'" + variable.name + "' is an axis and a variable";
  }
  return std::nullopt;
}

bool is_taken(const Group& group, std::string_view name) {
  return group.find_axis(name) != nullptr || group.find_variable(name) != nullptr;
}

void require(const Reason& reason) { QUANTBOUND_ASSERT(!reason.has_value(), reason.value_or("")); }

}  // namespace

void set_attribute(Attributes& attributes, std::string name, AttributeValue value) {
  for (Attribute& attribute : attributes) {
    if (attribute.name != name) continue;
    attribute.value = std::move(value);
    return;
  }
  attributes.push_back({std::move(name), std::move(value)});
}

const AttributeValue* find_attribute(const Attributes& attributes, std::string_view name) {
  const Attribute* found = find_named(attributes, name);
  return found == nullptr ? nullptr : &found->value;
}

std::optional<std::string> text_attribute(const Attributes& attributes, std::string_view name) {
  const AttributeValue* value = find_attribute(attributes, name);
  if (value == nullptr || !std::holds_alternative<std::string>(*value)) return std::nullopt;
  return std::get<std::string>(*value);
}

std::optional<std::int64_t> integer_attribute(const Attributes& attributes, std::string_view name) {
  const AttributeValue* value = find_attribute(attributes, name);
  if (value == nullptr || !std::holds_alternative<std::int64_t>(*value)) return std::nullopt;
  return std::get<std::int64_t>(*value);
}

std::size_t Axis::size() const {
  return std::visit([](const auto& values) { return values.size(); }, labels);
}

void Group::add_axis(Axis axis) {
  require(axis_problem(axis));
  QUANTBOUND_ASSERT(!is_taken(*this, axis.name), axis.name);
  axes.push_back(std::move(axis));
}

void Group::add_variable(Variable variable) { add_variable(std::move(variable), *this); }

void Group::add_variable(Variable variable, const Group& outer) {
  require(variable_problem(variable, *this, outer));
  QUANTBOUND_ASSERT(!is_taken(*this, variable.name), variable.name);
  variables.push_back(std::move(variable));
}

const Axis* Group::find_axis(std::string_view name) const { return find_named(axes, name); }

const Variable* Group::find_variable(std::string_view name) const { return find_named(variables, name); }

Variable* Group::find_variable(std::string_view name) {
  return const_cast<Variable*>(std::as_const(*this).find_variable(name));
}

std::vector<std::size_t> shape_of(const std::vector<std::string>& dimensions, const Group& group, const Group& outer) {
  std::vector<std::size_t> shape;
  for (const std::string& name : dimensions) {
    const Axis* axis = find_axis_in(name, group, outer);
    QUANTBOUND_ASSERT(axis != nullptr, name);
    shape.push_back(axis->size());
  }
  return shape;
}

std::size_t element_count(const std::vector<std::size_t>& shape) {
  std::size_t count = 1;
  for (const std::size_t size : shape) count *= size;
  return count;
}

std::size_t element_count(const Data& data) {
  return std::visit([](const auto& values) { return values.size(); }, data);
}

Group& Dataset::group(const std::string& name) {
  for (NamedGroup& named : groups) {
    if (named.name == name) return named.group;
  }
  QUANTBOUND_ASSERT(is_name(name), name);
  QUANTBOUND_ASSERT(!is_taken(root, name), name);
  groups.push_back({name, {}});
  return groups.back().group;
}

const Group* Dataset::find_group(std::string_view name) const {
  const NamedGroup* found = find_named(groups, name);
  return found == nullptr ? nullptr : &found->group;
}

std::optional<std::string> inconsistency(const Dataset& dataset) {
  if (Reason reason = group_problem(dataset.root, dataset.root)) return reason;
  if (Reason reason = name_problem(dataset.groups)) return reason;
  for (const NamedGroup& named : dataset.groups) {
    if (is_taken(dataset.root, named.name)) return "'" + named.name + "' is a group and something else";
    if (Reason reason = group_problem(named.group, dataset.root)) return named.name + ": " + *reason;
  }
  return std::nullopt;
}

}  // namespace quantbound::sweep
