#include "reference.hpp"

#include <algorithm>
#include <array>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "quantbound/sweep/dataset_schema.hpp"
#include "quantbound/sweep/study_keys.hpp"

namespace quantbound::apps {

namespace {

using sweep::Place;
using sweep::Presence;

constexpr std::size_t width = 100;

/// What Markdown takes for the beginning of a list where it begins a line.
bool is_list_mark(const std::string& word) { return word == "+" || word == "-" || word == "*"; }

/// Prints words in lines of about `width`, all but the first indented.
void print_wrapped(std::ostream& out, const std::string& text, std::string_view indent = "") {
  std::istringstream words(text);
  std::string line;
  for (std::string word; words >> word;) {
    if (!line.empty() && line.size() + 1 + word.size() > width && !is_list_mark(word)) {
      out << line << '\n';
      line = std::string(indent) + word;
    } else {
      line += (line.empty() ? "" : " ") + word;
    }
  }
  out << line << '\n';
}

void print_item(std::ostream& out, const std::string& text) { print_wrapped(out, "- " + text, "  "); }

// ---------------------------------------------------------------------------------------------------------- study

void print_study(std::ostream& out) {
  out << "# The study file\n\n";
  print_wrapped(
      out,
      "TOML. These are all tables and keys, as `quantbound help study` prints them from the parser's own table. "
      "Unknown keys, wrong types, empty lists and missing files are errors with file, line and column; nothing "
      "is computed then. Where a list may stand, a single value is a list of one. Paths are relative to the "
      "study file, those given by `--set` to the working directory. docs/design.md, section 5, has an example "
      "and says how sample files are read.");
  for (const auto& section : sweep::study_sections()) {
    out << fmt::format("\n## {}\n", section.title);
    if (!section.about.empty()) print_wrapped(out, section.about);
    if (!section.about.empty()) out << '\n';
    for (const auto& key : section.keys)
      print_item(out, fmt::format("`{}` ({}): {}", key.name, sweep::describe(key), key.meaning));
  }
}

// ---------------------------------------------------------------------------------------------------------- result

std::string presence_in_words(Presence presence) {
  switch (presence) {
    case Presence::reconstruction:
      return "only with a reconstruction method";
    case Presence::per_sample:
      return "only with `per_sample = true`";
    case Presence::always:
      break;
  }
  return "";
}

std::string kind_in_words(sweep::Kind kind) {
  switch (kind) {
    case sweep::Kind::count:
      return "whole number";
    case sweep::Kind::flag:
      return "flag";
    case sweep::Kind::real:
      break;
  }
  return "";
}

/// "region C" as "region, C".
std::string listed(std::string_view dimensions) {
  std::string text;
  for (const char c : dimensions) text += c == ' ' ? ", " : std::string(1, c);
  return text;
}

/// A note behind the meaning, where there is one.
std::string behind(const std::string& note) { return note.empty() ? "" : "; " + note; }

void print_variables(std::ostream& out) {
  out << "\n## Variables\n";
  for (const auto& spec : sweep::variable_specs()) {
    std::string notes = std::string(spec.soundness);
    for (const auto& note : {kind_in_words(spec.kind), presence_in_words(spec.presence), std::string(spec.equation)}) {
      if (!note.empty()) notes += (notes.empty() ? "" : "; ") + note;
    }
    print_item(out, fmt::format("`{}` ({}): {}{}", spec.name, listed(spec.dimensions), spec.long_name, behind(notes)));
  }
}

void print_fields(std::ostream& out, std::string_view title, Place place) {
  out << fmt::format("\n## {}\n", title);
  for (const auto& spec : sweep::field_specs()) {
    if (spec.place != place) continue;
    const std::string over = spec.dimensions.empty() ? "" : " (" + listed(spec.dimensions) + ")";
    const std::string unit = spec.units == "1" ? "" : fmt::format("in {}", spec.units);
    print_item(out, fmt::format("`{}`{}: {}{}{}", spec.name, over, spec.long_name, behind(unit),
                                behind(presence_in_words(spec.presence))));
  }
}

void print_result(std::ostream& out) {
  out << "# The result file\n\n";
  print_wrapped(
      out, fmt::format(
               "One HDF5 file per study, a valid netCDF-4 file; `xarray.open_dataset` opens it without options. "
               "This is all it holds, schema {}, as `quantbound help result` prints it from the writer's own tables. "
               "C stands for the four dimensions quantizer, granularity, bits, seed. Every variable has the "
               "attributes `long_name` (the meanings below), `units`, and where it is a number about networks "
               "`soundness`: proved (holds for all inputs of the domain, rounding errors included), observed "
               "(measured), or estimate (neither). NaN, and 0 in whole numbers, mean that nothing was computed; "
               "`status` and `method_note` say why. docs/design.md, section 6, says how ragged axes are read.",
               sweep::schema_version));
  print_fields(out, "Dimensions", Place::axis);
  print_variables(out);
  print_fields(out, "Text", Place::note);
  print_fields(out, "Coordinates", Place::coordinate);
  print_fields(out, "Attributes", Place::attribute);
  print_fields(out, "Group /failures", Place::failures);
  print_fields(out, "Group /provenance", Place::provenance);
  print_fields(out, "Attributes of /provenance", Place::provenance_attribute);
  print_fields(out, "Group /provenance of a merged file, besides", Place::sources);
  print_item(out, "`source_X` (source): every attribute X of its /provenance; those of a merged file are of the merge");
}

constexpr std::array all{Reference{"study", "all keys of a study file", &print_study},
                         Reference{"result", "all that a result file holds", &print_result}};

}  // namespace

std::span<const Reference> references() { return all; }

const Reference* find_reference(std::string_view topic) {
  const auto found = std::ranges::find(all, topic, &Reference::topic);
  return found == all.end() ? nullptr : &*found;
}

}  // namespace quantbound::apps
