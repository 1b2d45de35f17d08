/// A labelled dataset in memory: axes with labels, variables over them, attributes, groups; the data model of netCDF
/// and xarray as plain values. Whoever fills one (the sweep, the provenance) knows the schema of docs/design.md section
/// 6; store/result_file.hpp writes any of them and knows no schema. Everything keeps its order, and that order is the
/// order in the file. Data are row-major: the last dimension varies fastest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace quantbound::sweep {

using AttributeValue = std::variant<std::string, double, std::int64_t, std::vector<std::int8_t>,
                                    std::vector<std::int64_t>, std::vector<double>>;

struct Attribute {
  std::string name;
  AttributeValue value;
};

/// Names are unique; `set_attribute` keeps them so.
using Attributes = std::vector<Attribute>;

/// Replaces the value of `name`, or appends it.
void set_attribute(Attributes& attributes, std::string name, AttributeValue value);
const AttributeValue* find_attribute(const Attributes& attributes, std::string_view name);
/// The attribute as text or as a whole number; nothing where it is absent or of another type.
std::optional<std::string> text_attribute(const Attributes& attributes, std::string_view name);
std::optional<std::int64_t> integer_attribute(const Attributes& attributes, std::string_view name);

using Labels = std::variant<std::vector<std::string>, std::vector<std::int64_t>, std::vector<double>>;

/// A dimension and its coordinate: one label per position. Size 0 is allowed.
struct Axis {
  std::string name;
  Labels labels;
  Attributes attributes;

  std::size_t size() const;
};

using Data = std::variant<std::vector<double>, std::vector<std::int8_t>, std::vector<std::int64_t>,
                          std::vector<std::uint64_t>, std::vector<std::string>>;

/// The value that means "nothing here", of the type of the data; monostate: there is none (text has none, ever).
using Fill = std::variant<std::monostate, double, std::int8_t, std::int64_t, std::uint64_t>;

/// `coordinate`: describes positions of its axes (layer_name over layer) and travels with every variable that has them.
enum class Role { data, coordinate };

/// Values over axes, row-major. No dimensions: one value (a scalar). Truth values are int8 with
/// flag_values/flag_meanings.
struct Variable {
  std::string name;
  std::vector<std::string> dimensions;
  Data data;
  Attributes attributes;
  Fill fill;
  Role role = Role::data;
};

/// Axes and variables under one name. Axis names and variable names share one namespace.
struct Group {
  Attributes attributes;
  std::vector<Axis> axes;
  std::vector<Variable> variables;

  /// @pre the name is not empty, has no '/' and is not taken; attribute names are unique
  void add_axis(Axis axis);
  /// The dimensions name axes of this group, or of `outer` where this group has none of that name.
  /// @pre the name is not empty, has no '/' and is not taken; the axes exist and are distinct; the data have as many
  /// elements as the product of the axes' sizes; a fill has the type of the data
  void add_variable(Variable variable);
  void add_variable(Variable variable, const Group& outer);
  const Axis* find_axis(std::string_view name) const;
  const Variable* find_variable(std::string_view name) const;
  Variable* find_variable(std::string_view name);
};

/// Sizes of the named axes, looked up in `group` first and in `outer` then. @pre all exist
std::vector<std::size_t> shape_of(const std::vector<std::string>& dimensions, const Group& group, const Group& outer);
/// Product of the sizes; 1 for none.
std::size_t element_count(const std::vector<std::size_t>& shape);
std::size_t element_count(const Data& data);

struct NamedGroup {
  std::string name;
  Group group;
};

/// The root group (one xarray Dataset) and groups beside it ("provenance", "failures").
struct Dataset {
  Group root;
  std::vector<NamedGroup> groups;

  /// The group of that name, made if there is none. The reference lives until the next call.
  /// @pre the name is not empty, has no '/' and is no axis or variable of the root
  Group& group(const std::string& name);
  const Group* find_group(std::string_view name) const;
};

/// What is wrong with the dataset as a whole, for those whose members were filled directly: the first of the
/// preconditions above that does not hold, in words. Nothing when all is well.
std::optional<std::string> inconsistency(const Dataset& dataset);

}  // namespace quantbound::sweep
