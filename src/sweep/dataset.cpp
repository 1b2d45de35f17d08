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

template <class Named>
void check_distinct(const std::vector<Named>& items) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) QUANTBOUND_ASSERT(items[i].name != items[j].name, items[i].name);
  }
}

void check_name(const std::string& name) {
  QUANTBOUND_ASSERT(!name.empty() && name.find('/') == std::string::npos && name.find('\0') == std::string::npos, name);
}

void check_attributes(const Attributes& attributes) {
  for (const Attribute& attribute : attributes) check_name(attribute.name);
  check_distinct(attributes);
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

void check_axis(const Axis& axis) {
  check_name(axis.name);
  check_attributes(axis.attributes);
}

void check_variable(const Variable& variable, const Group& group, const Group& outer) {
  check_name(variable.name);
  check_attributes(variable.attributes);
  for (std::size_t i = 0; i < variable.dimensions.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      QUANTBOUND_ASSERT(variable.dimensions[i] != variable.dimensions[j], variable.name, variable.dimensions[i]);
    }
  }
  const std::size_t expected = element_count(shape_of(variable.dimensions, group, outer));
  QUANTBOUND_ASSERT(element_count(variable.data) == expected, variable.name, element_count(variable.data), expected);
  QUANTBOUND_ASSERT(fits(variable.fill, variable.data), variable.name);
}

bool is_taken(const Group& group, std::string_view name) {
  return group.find_axis(name) != nullptr || group.find_variable(name) != nullptr;
}

void check_group(const Group& group, const Group& outer) {
  check_attributes(group.attributes);
  for (const Axis& axis : group.axes) check_axis(axis);
  for (const Variable& variable : group.variables) {
    check_variable(variable, group, outer);
    QUANTBOUND_ASSERT(group.find_axis(variable.name) == nullptr, variable.name);
  }
  check_distinct(group.axes);
  check_distinct(group.variables);
}

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
  check_axis(axis);
  QUANTBOUND_ASSERT(!is_taken(*this, axis.name), axis.name);
  axes.push_back(std::move(axis));
}

void Group::add_variable(Variable variable) { add_variable(std::move(variable), *this); }

void Group::add_variable(Variable variable, const Group& outer) {
  check_variable(variable, *this, outer);
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
    const Axis* axis = group.find_axis(name);
    if (axis == nullptr) axis = outer.find_axis(name);
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
  check_name(name);
  QUANTBOUND_ASSERT(!is_taken(root, name), name);
  groups.push_back({name, {}});
  return groups.back().group;
}

const Group* Dataset::find_group(std::string_view name) const {
  const NamedGroup* found = find_named(groups, name);
  return found == nullptr ? nullptr : &found->group;
}

void check(const Dataset& dataset) {
  check_group(dataset.root, dataset.root);
  check_distinct(dataset.groups);
  for (const NamedGroup& named : dataset.groups) {
    check_name(named.name);
    QUANTBOUND_ASSERT(!is_taken(dataset.root, named.name), named.name);
    check_group(named.group, dataset.root);
  }
}

}  // namespace quantbound::sweep
