/// The syntax of VNN-LIB properties, S-expressions with lines, and what both versions do with boxes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "quantbound/network/network.hpp"

namespace quantbound::network::detail {

struct Expression {
  std::string_view atom;  ///< empty for a list
  std::vector<Expression> items;
  std::size_t line = 1;

  bool is_list() const { return atom.empty(); }
  std::string_view head() const { return !items.empty() ? items.front().atom : std::string_view{}; }
};

/// `text` must outlive the parser and its expressions.
class VnnlibParser {
 public:
  VnnlibParser(std::string_view text, std::string file) : text_(text), file_(std::move(file)) {}

  /// All statements. Throws core::InputError with the line.
  std::vector<Expression> all();

  [[noreturn]] void fail(std::size_t line, const std::string& message) const;

 private:
  bool skip_blanks();
  Expression expression(int depth);
  Expression atom();

  std::string_view text_;
  std::string file_;
  std::size_t position_ = 0, line_ = 1;
};

enum class Relation { less, greater, equal };

bool is_empty(const Box& box);
void intersect(Box& box, const Box& other);
/// The hull of both.
void extend(Box& box, const Box& other);
/// Throws core::InputError naming the first input, PREFIXiSUFFIX, that has no bound or no value.
void check_bounded(const Box& box, std::string_view prefix, std::string_view suffix, const std::string& file);

}  // namespace quantbound::network::detail
