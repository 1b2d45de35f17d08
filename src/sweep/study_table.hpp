/// A table of the study file, read through the declarations of its keys (study_keys.hpp): types, limits, words and
/// defaults are checked and filled in here. A key that is not declared cannot be read, and finish() makes sure that
/// every declared one was; what is in the file and not declared is an unknown key. Errors carry file, line and column.
/// Used by study.cpp and study_reconstruct.cpp only.
#pragma once

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/sweep/study_keys.hpp"

namespace quantbound::sweep::detail {

/// "study.toml:12:5"
std::string place(const toml::source_region& source);

class Table {
 public:
  Table(const toml::table& table, const StudySection& section) : table_(&table), section_(&section) {}

  /// What stands in the file; nullptr where nothing does. Throws where the key is required.
  const toml::node* find(std::string_view key);

  /// The value in the file, or the declared default, or nothing where there is neither. @pre declared as this type
  std::optional<std::string> text(std::string_view key);
  std::optional<double> number(std::string_view key);
  std::optional<std::int64_t> integer(std::string_view key);
  bool flag(std::string_view key);
  /// The same for lists; a single value is a list of one, and an empty list is an error.
  std::vector<std::string> texts(std::string_view key);
  std::vector<double> numbers(std::string_view key);
  std::vector<std::int64_t> integers(std::string_view key);

  /// What `parse` makes of the word, or of each; one that is not declared is an error that lists those that are.
  /// @pre parse knows every declared word, and the key has a default or is required
  template <class Parse>
  auto choice(std::string_view key, const Parse& parse) {
    check_words(key, parse);
    return parsed(key, *text(key), parse);
  }
  template <class Parse>
  auto choices(std::string_view key, const Parse& parse) {
    check_words(key, parse);
    std::vector<decltype(parsed(key, {}, parse))> values;
    for (const auto& word : texts(key)) values.push_back(parsed(key, word, parse));
    return values;
  }

  /// An inner table, or those of an array of tables; without a section the one under the table's own header.
  std::optional<Table> table(std::string_view key);
  std::optional<Table> table(std::string_view key, const StudySection& section);
  /// The inner table as it stands, to see which form of a section it has.
  const toml::table* raw_table(std::string_view key);
  std::vector<const toml::table*> raw_tables(std::string_view key);

  /// Throws for the first key that is not declared, naming the nearest one that is. @pre all declared ones were read
  void finish() const;
  [[noreturn]] void fail(std::string_view key, const std::string& message) const;
  std::string where() const { return place(table_->source()); }
  /// Of what stands under the key.
  std::string where(std::string_view key);

 private:
  const StudyKey& declared(std::string_view key) const;
  [[noreturn]] void refuse_word(const StudyKey& key, const std::string& word) const;

  template <class Parse>
  void check_words(std::string_view key, const Parse& parse) const {
    for (const auto& word : declared(key).words) QUANTBOUND_ASSERT(parse(word).has_value(), key, word);
  }
  template <class Parse>
  auto parsed(std::string_view key, const std::string& word, const Parse& parse) const {
    const StudyKey& declaration = declared(key);
    if (std::ranges::find(declaration.words, word) == declaration.words.end()) refuse_word(declaration, word);
    return *parse(word);
  }

  const toml::table* table_;
  const StudySection* section_;
  std::set<std::string, std::less<>> read_;
};

template <class Value>
void require_distinct(const Table& table, std::string_view key, const std::vector<Value>& values) {
  if (std::set<Value>(values.begin(), values.end()).size() != values.size()) {
    table.fail(key, fmt::format("`{}` names a value twice", key));
  }
}

}  // namespace quantbound::sweep::detail
