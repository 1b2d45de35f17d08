#include "study_table.hpp"

#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/nearest.hpp"

namespace quantbound::sweep::detail {

using core::InputError;
using core::nearest;

namespace {

std::string_view type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a number";
    case toml::node_type::boolean:
      return "a boolean";
    default:
      return "a date or time";
  }
}

[[noreturn]] void wrong_type(const toml::node& node, const StudyKey& key, std::string_view wanted) {
  throw InputError(fmt::format("`{}` must be {}, not {}", key.name, wanted, type_name(node)), place(node.source()));
}

std::string as_text(const toml::node& node, const StudyKey& key) {
  if (const auto* value = node.as_string()) return value->get();
  wrong_type(node, key, "a string");
}

std::string limits_broken(const StudyKey& key, double value) {
  const Limits& limits = key.limits;
  const bool bounded = std::isfinite(limits.highest);
  if (bounded && !limits.without_lowest && !limits.without_highest)
    return fmt::format("`{}` = {} is outside {} to {}", key.name, value, limits.lowest, limits.highest);
  std::string text =
      bounded ? fmt::format("`{}` = {} must be within {}{}, {}{}", key.name, value, limits.without_lowest ? '(' : '[',
                            limits.lowest, limits.highest, limits.without_highest ? ')' : ']')
              : fmt::format("`{}` must {}", key.name, limits.without_lowest ? "be positive" : "not be negative");
  if (bounded && !key.unit.empty()) text += ' ' + key.unit;
  return limits.reason.empty() ? text : text + ": " + limits.reason;
}

double as_number(const toml::node& node, const StudyKey& key) {
  double result = 0.0;
  if (const auto* real = node.as_floating_point()) {
    result = real->get();
  } else if (const auto* whole = node.as_integer()) {
    result = static_cast<double>(whole->get());
  } else {
    wrong_type(node, key, "a number");
  }
  if (!std::isfinite(result)) throw InputError(fmt::format("`{}` must be finite", key.name), place(node.source()));
  if (!key.limits.contain(result)) throw InputError(limits_broken(key, result), place(node.source()));
  return result;
}

std::int64_t as_integer(const toml::node& node, const StudyKey& key) {
  const auto* value = node.as_integer();
  if (value == nullptr) wrong_type(node, key, "an integer");
  const auto lowest = static_cast<std::int64_t>(key.limits.lowest);
  const auto highest = static_cast<std::int64_t>(key.limits.highest);
  if (value->get() < lowest || value->get() > highest) {
    throw InputError(fmt::format("`{}` = {} is outside {} to {}", key.name, value->get(), lowest, highest),
                     place(node.source()));
  }
  return value->get();
}

bool as_flag(const toml::node& node, const StudyKey& key) {
  if (const auto* value = node.as_boolean()) return value->get();
  wrong_type(node, key, "true or false");
}

/// Applies `convert` to a single value or to every element of a list.
template <class Convert>
auto one_or_many(const toml::node& node, const StudyKey& key, const Convert& convert) {
  std::vector<std::remove_cvref_t<std::invoke_result_t<Convert, const toml::node&, const StudyKey&>>> values;
  const auto* list = node.as_array();
  if (list == nullptr) {
    values.push_back(convert(node, key));
    return values;
  }
  if (list->empty())
    throw InputError(fmt::format("`{}` is an empty list; give at least one value", key.name), place(node.source()));
  for (const auto& element : *list) values.push_back(convert(element, key));
  return values;
}

/// What stands in the file, or the declared default, or nothing.
template <class Convert>
auto value_or_default(const toml::node* node, const StudyKey& key, const Convert& convert) {
  using Value = std::remove_cvref_t<std::invoke_result_t<Convert, const toml::node&, const StudyKey&>>;
  QUANTBOUND_ASSERT(key.count == Count::one, key.name);
  if (node != nullptr) return std::optional<Value>(convert(*node, key));
  if (std::holds_alternative<std::monostate>(key.fallback)) return std::optional<Value>();
  QUANTBOUND_ASSERT(std::holds_alternative<Value>(key.fallback), key.name);
  return std::optional<Value>(std::get<Value>(key.fallback));
}

template <class Convert>
auto values_or_default(const toml::node* node, const StudyKey& key, const Convert& convert) {
  using Values = decltype(one_or_many(*node, key, convert));
  QUANTBOUND_ASSERT(key.count != Count::one, key.name);
  if (node != nullptr) return one_or_many(*node, key, convert);
  if (std::holds_alternative<std::monostate>(key.fallback)) return Values();
  QUANTBOUND_ASSERT(std::holds_alternative<Values>(key.fallback), key.name);
  return std::get<Values>(key.fallback);
}

bool is_text(const StudyKey& key) { return key.type == KeyType::text || key.type == KeyType::word; }

/// How the file writes a table of this key: "[certify]", "[[network]]".
std::string header(const StudyKey& key) {
  return key.type == KeyType::tables ? "[[" + key.name + "]]" : "[" + key.name + "]";
}

}  // namespace

std::string place(const toml::source_region& source) {
  std::string path = source.path ? *source.path : "study";
  if (source.begin.line == 0 || path.starts_with("--set")) return path;
  return fmt::format("{}:{}:{}", path, source.begin.line, source.begin.column);
}

const StudyKey& Table::declared(std::string_view key) const {
  const StudyKey* declaration = section_->find(key);
  QUANTBOUND_ASSERT(declaration != nullptr, section_->title, key);
  return *declaration;
}

const toml::node* Table::find(std::string_view key) {
  const StudyKey& declaration = declared(key);
  read_.emplace(key);
  const auto* node = table_->get(key);
  if (node != nullptr || !declaration.required) return node;
  const bool is_table = declaration.type == KeyType::table && section_->name == "the study";
  throw InputError(is_table || declaration.type == KeyType::tables
                       ? fmt::format("{} has no {}", section_->name, header(declaration))
                       : fmt::format("{} needs the key `{}`", section_->name, key),
                   where());
}

std::optional<std::string> Table::text(std::string_view key) {
  QUANTBOUND_ASSERT(is_text(declared(key)), key);
  return value_or_default(find(key), declared(key), as_text);
}

std::optional<double> Table::number(std::string_view key) {
  QUANTBOUND_ASSERT(declared(key).type == KeyType::number, key);
  return value_or_default(find(key), declared(key), as_number);
}

std::optional<std::int64_t> Table::integer(std::string_view key) {
  QUANTBOUND_ASSERT(declared(key).type == KeyType::integer, key);
  return value_or_default(find(key), declared(key), as_integer);
}

bool Table::flag(std::string_view key) {
  QUANTBOUND_ASSERT(declared(key).type == KeyType::flag, key);
  return *value_or_default(find(key), declared(key), as_flag);
}

std::vector<std::string> Table::texts(std::string_view key) {
  QUANTBOUND_ASSERT(is_text(declared(key)), key);
  return values_or_default(find(key), declared(key), as_text);
}

std::vector<double> Table::numbers(std::string_view key) {
  QUANTBOUND_ASSERT(declared(key).type == KeyType::number, key);
  return values_or_default(find(key), declared(key), as_number);
}

std::vector<std::int64_t> Table::integers(std::string_view key) {
  QUANTBOUND_ASSERT(declared(key).type == KeyType::integer, key);
  return values_or_default(find(key), declared(key), as_integer);
}

std::optional<Table> Table::table(std::string_view key) { return table(key, study_section(header(declared(key)))); }

std::optional<Table> Table::table(std::string_view key, const StudySection& section) {
  const auto* inner = raw_table(key);
  return inner == nullptr ? std::nullopt : std::optional(Table(*inner, section));
}

const toml::table* Table::raw_table(std::string_view key) {
  const auto* node = find(key);
  if (node == nullptr) return nullptr;
  const auto* inner = node->as_table();
  if (inner == nullptr) wrong_type(*node, declared(key), "a table");
  return inner;
}

std::vector<const toml::table*> Table::raw_tables(std::string_view key) {
  const StudyKey& declaration = declared(key);
  QUANTBOUND_ASSERT(declaration.type == KeyType::tables, key);
  const auto* node = find(key);
  if (node == nullptr) return {};
  const std::string wanted = fmt::format("`{}` must be an array of tables: write {}", key, header(declaration));
  const auto* list = node->as_array();
  if (list == nullptr) fail(key, wanted);
  std::vector<const toml::table*> tables;
  for (const auto& element : *list) {
    tables.push_back(element.as_table());
    if (tables.back() == nullptr) fail(key, wanted);
  }
  return tables;
}

void Table::finish() const {
  std::vector<std::string> known;
  for (const auto& key : section_->keys) {
    known.push_back(key.name);
    QUANTBOUND_ASSERT(read_.contains(key.name), section_->title, key.name);  // else it would be accepted and ignored
  }
  for (const auto& [key, node] : *table_) {
    const std::string word(key.str());
    if (std::ranges::find(known, word) != known.end()) continue;
    const auto suggestion = nearest(word, known);
    throw InputError(
        suggestion
            ? fmt::format("unknown key `{}` in {}; did you mean `{}`?", word, section_->name, *suggestion)
            : fmt::format("unknown key `{}` in {}; known keys: {}", word, section_->name, fmt::join(known, ", ")),
        // A key of --set has no place, its value has.
        place(key.source().path ? key.source() : node.source()));
  }
}

std::string Table::where(std::string_view key) {
  const auto* node = find(key);
  return node == nullptr ? where() : place(node->source());
}

void Table::refuse_word(const StudyKey& key, const std::string& word) const {
  const auto suggestion = nearest(word, key.words);
  fail(key.name, suggestion ? fmt::format("`{}` = '{}' is not known; did you mean '{}'?", key.name, word, *suggestion)
                            : fmt::format("`{}` = '{}' is not known; choose from: {}", key.name, word,
                                          fmt::join(key.words, ", ")));
}

void Table::fail(std::string_view key, const std::string& message) const {
  const auto* node = table_->get(key);
  throw InputError(message, place(node == nullptr ? table_->source() : node->source()));
}

}  // namespace quantbound::sweep::detail
