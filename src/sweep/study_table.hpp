/// A TOML table that is read key by key: every read says what type it wants, and what nobody read is an unknown key.
/// Errors carry file, line and column. Used by study.cpp only.
#pragma once

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "quantbound/core/nearest.hpp"

namespace quantbound::sweep::detail {

/// "study.toml:12:5"
std::string place(const toml::source_region& source);

class Table {
 public:
  /// `name` is how errors call the table: "[quantization]".
  Table(const toml::table& table, std::string name) : table_(&table), name_(std::move(name)) {}

  bool has(std::string_view key) { return find(key) != nullptr; }
  const toml::node* find(std::string_view key);
  /// The node of a key that must be there.
  const toml::node& require(std::string_view key);

  std::optional<std::string> text(std::string_view key);
  std::optional<double> number(std::string_view key);
  std::optional<std::int64_t> integer(std::string_view key, std::int64_t lowest, std::int64_t highest);
  std::optional<bool> flag(std::string_view key);
  /// A value or a list of values; an empty list is an error.
  std::vector<std::string> texts(std::string_view key);
  std::vector<double> numbers(std::string_view key);
  std::vector<std::int64_t> integers(std::string_view key, std::int64_t lowest, std::int64_t highest);
  std::optional<Table> table(std::string_view key);

  /// Throws for the first key that nobody asked for, naming the nearest known one.
  void finish() const;
  [[noreturn]] void fail(std::string_view key, const std::string& message) const;
  std::string where() const { return place(table_->source()); }
  const std::string& name() const { return name_; }

 private:
  const toml::table* table_;
  std::string name_;
  std::vector<std::string> known_;
};

using core::nearest;

/// Parses a name of a closed set; the error lists the set.
template <class Parse>
auto choice(const Table& table, std::string_view key, const std::string& word, const std::vector<std::string>& known,
            const Parse& parse) {
  if (const auto value = parse(word)) return *value;
  const auto suggestion = nearest(word, known);
  table.fail(key, suggestion
                      ? fmt::format("`{}` = '{}' is not known; did you mean '{}'?", key, word, *suggestion)
                      : fmt::format("`{}` = '{}' is not known; choose from: {}", key, word, fmt::join(known, ", ")));
}

template <class Value>
void require_distinct(const Table& table, std::string_view key, const std::vector<Value>& values) {
  if (std::set<Value>(values.begin(), values.end()).size() != values.size()) {
    table.fail(key, fmt::format("`{}` names a value twice", key));
  }
}

}  // namespace quantbound::sweep::detail
