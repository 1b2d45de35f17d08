/// The variables of a result file (docs/design.md section 6) as one table: name, dimensions, meaning, unit, what stands
/// behind the number, and the equation. Whoever fills a dataset takes the attributes from here.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantbound::sweep {

inline constexpr std::string_view schema_version = "1.3.0";

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
};

/// In the order of the file.
std::span<const VariableSpec> variable_specs();
/// @pre the name is in the table
const VariableSpec& variable_spec(std::string_view name);
/// Whether only the files of studies that reconstruct have it.
bool is_about_reconstruction(const VariableSpec& spec);
/// The dimensions with "C" written out.
std::vector<std::string> dimensions_of(const VariableSpec& spec);

}  // namespace quantbound::sweep
