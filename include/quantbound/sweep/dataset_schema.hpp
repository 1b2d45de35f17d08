/// What a result file holds (docs/design.md section 6) as tables: of the variables name, dimensions, meaning, unit,
/// what stands behind the number, and the equation; of axes, coordinates, groups and attributes name and meaning.
/// Whoever fills a dataset takes the names and attributes from here, and `quantbound help result` prints it all, of
/// which docs/result.md is a copy.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quantbound/sweep/dataset.hpp"

namespace quantbound::sweep {

inline constexpr std::string_view schema_version = "1.3.0";

/// Which files have it: all, those of studies with a reconstruction method, or those with `per_sample = true`.
enum class Presence { always, reconstruction, per_sample };

/// real: doubles, NaN where nothing was computed. count: whole numbers, 0 there. flag: small numbers with meanings.
enum class Kind { real, count, flag };

struct VariableSpec {
  std::string_view name;
  std::string_view dimensions;  ///< separated by blanks; "C" stands for the four configuration axes
  std::string_view long_name;
  std::string_view units;
  std::string_view soundness;  ///< proved | estimate | observed; empty for bookkeeping
  std::string_view equation;
  Kind kind = Kind::real;
  Presence presence = Presence::always;
};

/// Where a field lies: an axis of the root group, what describes positions of axes, text over axes, the groups, what
/// /provenance of a merged file has besides, or attributes.
enum class Place { axis, coordinate, note, failures, provenance, sources, attribute, provenance_attribute };

/// Everything that is no variable of numbers.
struct FieldSpec {
  Place place;
  std::string_view name;
  std::string_view dimensions;  ///< as of a variable; of an axis and an attribute empty
  std::string_view long_name;
  std::string_view units = "1";
  Presence presence = Presence::always;
};

/// In the order of the file.
std::span<const VariableSpec> variable_specs();
/// @pre the name is in the table
const VariableSpec& variable_spec(std::string_view name);
std::span<const FieldSpec> field_specs();
/// @pre the name is in the table, at this place
const FieldSpec& field_spec(Place place, std::string_view name);
/// An axis, or a variable that is none of variable_specs(), with the dimensions, `long_name` and `units` of the table.
/// Real numbers have NaN as fill, but for coordinates, which always say something. @pre as field_spec
Axis make_axis(Place place, std::string_view name, Labels labels);
Variable make_variable(Place place, std::string_view name, Data data);
/// The dimensions with "C" written out.
std::vector<std::string> dimensions_of(std::string_view dimensions);

}  // namespace quantbound::sweep
