#include "study_table.hpp"

#include <cmath>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"

namespace quantbound::sweep::detail {

using core::InputError;

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

[[noreturn]] void wrong_type(const toml::node& node, std::string_view key, std::string_view wanted) {
  throw InputError(fmt::format("`{}` must be {}, not {}", key, wanted, type_name(node)), place(node.source()));
}

std::string as_text(const toml::node& node, std::string_view key) {
  if (const auto* value = node.as_string()) return value->get();
  wrong_type(node, key, "a string");
}

double as_number(const toml::node& node, std::string_view key) {
  double result = 0.0;
  if (const auto* real = node.as_floating_point()) {
    result = real->get();
  } else if (const auto* whole = node.as_integer()) {
    result = static_cast<double>(whole->get());
  } else {
    wrong_type(node, key, "a number");
  }
  if (!std::isfinite(result)) throw InputError(fmt::format("`{}` must be finite", key), place(node.source()));
  return result;
}

std::int64_t as_integer(const toml::node& node, std::string_view key, std::int64_t lowest, std::int64_t highest) {
  const auto* value = node.as_integer();
  if (value == nullptr) wrong_type(node, key, "an integer");
  if (value->get() < lowest || value->get() > highest) {
    throw InputError(fmt::format("`{}` = {} is outside {} to {}", key, value->get(), lowest, highest),
                     place(node.source()));
  }
  return value->get();
}

/// Applies `convert` to a single value or to every element of a list.
template <class Convert>
auto one_or_many(const toml::node& node, std::string_view key, const Convert& convert) {
  std::vector<decltype(convert(node))> values;
  const auto* list = node.as_array();
  if (list == nullptr) {
    values.push_back(convert(node));
    return values;
  }
  if (list->empty())
    throw InputError(fmt::format("`{}` is an empty list; give at least one value", key), place(node.source()));
  for (const auto& element : *list) values.push_back(convert(element));
  return values;
}

}  // namespace

std::string place(const toml::source_region& source) {
  std::string path = source.path ? *source.path : "study";
  if (source.begin.line == 0 || path.starts_with("--set")) return path;
  return fmt::format("{}:{}:{}", path, source.begin.line, source.begin.column);
}

const toml::node* Table::find(std::string_view key) {
  if (std::ranges::find(known_, key) == known_.end()) known_.emplace_back(key);
  return table_->get(key);
}

const toml::node& Table::require(std::string_view key) {
  const auto* node = find(key);
  if (node == nullptr) throw InputError(fmt::format("{} needs the key `{}`", name_, key), where());
  return *node;
}

std::optional<std::string> Table::text(std::string_view key) {
  const auto* node = find(key);
  return node == nullptr ? std::nullopt : std::optional(as_text(*node, key));
}

std::optional<double> Table::number(std::string_view key) {
  const auto* node = find(key);
  return node == nullptr ? std::nullopt : std::optional(as_number(*node, key));
}

std::optional<std::int64_t> Table::integer(std::string_view key, std::int64_t lowest, std::int64_t highest) {
  const auto* node = find(key);
  return node == nullptr ? std::nullopt : std::optional(as_integer(*node, key, lowest, highest));
}

std::optional<bool> Table::flag(std::string_view key) {
  const auto* node = find(key);
  if (node == nullptr) return std::nullopt;
  if (const auto* value = node->as_boolean()) return value->get();
  wrong_type(*node, key, "true or false");
}

std::vector<std::string> Table::texts(std::string_view key) {
  const auto* node = find(key);
  if (node == nullptr) return {};
  return one_or_many(*node, key, [&](const toml::node& n) { return as_text(n, key); });
}

std::vector<double> Table::numbers(std::string_view key) {
  const auto* node = find(key);
  if (node == nullptr) return {};
  return one_or_many(*node, key, [&](const toml::node& n) { return as_number(n, key); });
}

std::vector<std::int64_t> Table::integers(std::string_view key, std::int64_t lowest, std::int64_t highest) {
  const auto* node = find(key);
  if (node == nullptr) return {};
  return one_or_many(*node, key, [&](const toml::node& n) { return as_integer(n, key, lowest, highest); });
}

std::optional<Table> Table::table(std::string_view key) {
  const auto* node = find(key);
  if (node == nullptr) return std::nullopt;
  const auto* inner = node->as_table();
  if (inner == nullptr) wrong_type(*node, key, "a table");
  return Table(*inner, fmt::format("[{}]", key));
}

void Table::finish() const {
  for (const auto& [key, node] : *table_) {
    const std::string word(key.str());
    if (std::ranges::find(known_, word) != known_.end()) continue;
    const auto suggestion = nearest(word, known_);
    std::string known;
    for (const auto& k : known_) known += (known.empty() ? "" : ", ") + k;
    throw InputError(
        suggestion ? fmt::format("unknown key `{}` in {}; did you mean `{}`?", word, name_, *suggestion)
                   : fmt::format("unknown key `{}` in {}; known keys: {}", word, name_, known),
        place(key.source().path ? key.source() : node.source()));  // a key of --set has no place, its value has
  }
}

void Table::fail(std::string_view key, const std::string& message) const {
  const auto* node = table_->get(key);
  throw InputError(message, place(node == nullptr ? table_->source() : node->source()));
}

}  // namespace quantbound::sweep::detail
