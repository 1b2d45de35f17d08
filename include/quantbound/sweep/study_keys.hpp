/// Every key of the study file, declared once: type, limits, words, default and meaning. The parser reads a key through
/// its declaration (study_table.hpp: no other can be read, and each is), and `quantbound help study` prints the
/// declarations, of which docs/study.md is a copy. What keys mean together (exclusions, references to sample sets) is
/// said in words here and checked by the parser.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace quantbound::sweep {

/// The numbers that a key takes.
struct Limits {
  double lowest = -std::numeric_limits<double>::infinity(), highest = std::numeric_limits<double>::infinity();
  bool without_lowest = false, without_highest = false;  ///< an end that does not belong to them
  std::string reason = {};                               ///< for the error
  bool contain(double value) const;
};

/// table: one of its own ([certify], or in braces). tables: an array of them ([[network]]).
enum class KeyType { text, word, number, integer, flag, table, tables };
/// one: a value. list: a value or a list of values. sequence: a list whose places mean something, such as [first,
/// last].
enum class Count { one, list, sequence };

/// What stands for a key that is left out; monostate: nothing does.
using Default = std::variant<std::monostate, bool, std::int64_t, double, std::string, std::vector<std::int64_t>,
                             std::vector<double>, std::vector<std::string>>;

struct StudyKey {
  std::string name;
  KeyType type;
  std::string meaning;
  Count count = Count::one;
  bool required = false;
  Limits limits = {};                   ///< of numbers and integers
  std::string unit = {};                ///< of numbers
  std::vector<std::string> words = {};  ///< those that a word is one of
  std::string also = {};                ///< another form of value, as one would write it: "{ fixed = 0.01 }"
  Default fallback = {};
  std::string when_absent = {};  ///< what holds then, where no value can say it: "those of [observe]"
};

/// The keys of one table of the file, or of one form of it: `{ low, high }` of a domain.
struct StudySection {
  std::string title;  ///< unique: "[certify]", "domain = { low, high }"
  std::string name;   ///< how errors call the table: "[domain]"
  std::string about;
  std::vector<StudyKey> keys;

  const StudyKey* find(std::string_view key) const;
};

/// In the order of the reference.
std::span<const StudySection> study_sections();
/// @pre there is one of this title
const StudySection& study_section(std::string_view title);

/// A value as it would stand in the file: "20000", "[0.5, 0.9]", "\"max\"". @pre not monostate
std::string to_toml(const Default& value);
/// "1 to 2^30", "positive, in GiB", ...; empty where there are no limits.
std::string describe(const StudyKey& key);

}  // namespace quantbound::sweep
