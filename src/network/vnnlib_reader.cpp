// Input boxes of VNN-LIB 1.0 properties. The assertions are read as a region of inputs: a bound is a half-space, `and`
// an intersection, `or` the hull of a union; what speaks of outputs alone restricts no input. The box is the region's
// hull.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/readers.hpp"

#include "text_file.hpp"

namespace quantbound::network {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr int max_depth = 64;

struct Expression {
  std::string_view atom;  ///< empty for a list
  std::vector<Expression> items;
  std::size_t line = 1;

  bool is_list() const { return atom.empty(); }
  std::string_view head() const { return !items.empty() ? items.front().atom : std::string_view{}; }
};

class Parser {
 public:
  Parser(std::string_view text, std::string file) : text_(text), file_(std::move(file)) {}

  std::vector<Expression> all() {
    std::vector<Expression> expressions;
    while (skip_blanks()) expressions.push_back(expression(0));
    return expressions;
  }

  [[noreturn]] void fail(std::size_t line, const std::string& message) const {
    throw core::InputError(message, fmt::format("{}:{}", file_, line));
  }

 private:
  /// Whether anything follows blanks and comments (; to the end of the line).
  bool skip_blanks() {
    while (position_ < text_.size()) {
      const char c = text_[position_];
      if (c == ';') {
        position_ = std::min(text_.find('\n', position_), text_.size());
        continue;
      }
      if (c != ' ' && c != '\t' && c != '\r' && c != '\n') return true;
      line_ += c == '\n' ? 1 : 0;
      ++position_;
    }
    return false;
  }

  Expression expression(int depth) {
    if (depth > max_depth) fail(line_, "parentheses are nested too deeply");
    if (text_[position_] == ')') fail(line_, "a ')' without its '('");
    if (text_[position_] != '(') return atom();
    Expression list;
    list.line = line_;
    ++position_;
    while (skip_blanks() && text_[position_] != ')') list.items.push_back(expression(depth + 1));
    if (position_ >= text_.size()) fail(list.line, "a '(' without its ')'; the file is cut off");
    ++position_;
    return list;
  }

  Expression atom() {
    const std::size_t end = std::min(text_.find_first_of(" \t\r\n();", position_), text_.size());
    Expression result{text_.substr(position_, end - position_), {}, line_};
    position_ = end;
    return result;
  }

  std::string_view text_;
  std::string file_;
  std::size_t position_ = 0, line_ = 1;
};

enum class Relation { less, greater, equal };

class Region {
 public:
  Region(const Parser& parser, Index inputs) : parser_(parser), inputs_(static_cast<std::size_t>(inputs)) {}

  Box everything() const { return {std::vector(inputs_, -infinity), std::vector(inputs_, infinity)}; }

  static bool is_empty(const Box& box) {
    for (std::size_t i = 0; i < box.low.size(); ++i) {
      if (box.low[i] > box.high[i]) return true;
    }
    return false;
  }

  static void intersect(Box& box, const Box& other) {
    for (std::size_t i = 0; i < box.low.size(); ++i) {
      box.low[i] = std::max(box.low[i], other.low[i]);
      box.high[i] = std::min(box.high[i], other.high[i]);
    }
  }

  /// The hull of the inputs for which a formula can hold.
  Box hull(const Expression& formula) const {
    const std::string_view head = formula.head();
    if (head == "and") return conjunction(formula);
    if (head == "or") return disjunction(formula);
    if (head == "<=" || head == "<") return bound(formula, Relation::less);
    if (head == ">=" || head == ">") return bound(formula, Relation::greater);
    if (head == "=") return bound(formula, Relation::equal);
    parser_.fail(formula.line, fmt::format("'{}' is not read; only and, or, <=, >=, <, >, = are", head));
  }

 private:
  Box conjunction(const Expression& formula) const {
    Box box = everything();
    for (std::size_t i = 1; i < formula.items.size(); ++i) intersect(box, hull(formula.items[i]));
    return box;
  }

  Box disjunction(const Expression& formula) const {
    Box box{std::vector(inputs_, infinity), std::vector(inputs_, -infinity)};
    for (std::size_t i = 1; i < formula.items.size(); ++i) {
      const Box part = hull(formula.items[i]);
      if (is_empty(part)) continue;
      for (std::size_t j = 0; j < inputs_; ++j) {
        box.low[j] = std::min(box.low[j], part.low[j]);
        box.high[j] = std::max(box.high[j], part.high[j]);
      }
    }
    return box;
  }

  /// (relation a b) with an input and a number, in either order; anything over outputs restricts no input.
  Box bound(const Expression& formula, Relation relation) const {
    if (formula.items.size() != 3) parser_.fail(formula.line, "a comparison needs two sides");
    const Expression *left = &formula.items[1], *right = &formula.items[2];
    if (mentions_output(*left) || mentions_output(*right)) {
      if (mentions_input(*left) || mentions_input(*right)) {
        parser_.fail(formula.line, "a comparison between inputs and outputs is no bound of an input");
      }
      return everything();
    }
    if (!is_input(*left)) {
      std::swap(left, right);
      if (relation != Relation::equal) relation = relation == Relation::less ? Relation::greater : Relation::less;
    }
    if (!is_input(*left) || mentions_input(*right)) {
      parser_.fail(formula.line, "only bounds of single inputs are read: (<= X_0 1.5)");
    }
    const std::size_t input = index_of(*left);
    const double value = number(*right);
    Box box = everything();
    if (relation != Relation::less) box.low[input] = value;
    if (relation != Relation::greater) box.high[input] = value;
    return box;
  }

  static bool is_input(const Expression& term) { return term.atom.starts_with("X_"); }
  static bool mentions(const Expression& term, std::string_view prefix) {
    return term.atom.starts_with(prefix) ||
           std::any_of(term.items.begin(), term.items.end(), [&](const auto& item) { return mentions(item, prefix); });
  }
  static bool mentions_input(const Expression& term) { return mentions(term, "X_"); }
  static bool mentions_output(const Expression& term) { return mentions(term, "Y_"); }

  std::size_t index_of(const Expression& term) const {
    const std::string_view digits = term.atom.substr(2);
    std::size_t index = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error != std::errc() || end != digits.data() + digits.size() || index >= inputs_) {
      parser_.fail(term.line,
                   fmt::format("'{}' is not an input of this network, which has X_0 to X_{}", term.atom, inputs_ - 1));
    }
    return index;
  }

  /// A number; (- x) is SMT-LIB's way to write a negative one.
  double number(const Expression& term) const {
    if (term.is_list() && term.items.size() == 2 && term.head() == "-") return -number(term.items[1]);
    const auto value = detail::parse_number(term.atom);
    if (!value) parser_.fail(term.line, fmt::format("'{}' is not a number", term.is_list() ? "(...)" : term.atom));
    return *value;
  }

  const Parser& parser_;
  std::size_t inputs_;
};

/// Only what VNN-LIB 1.0 knows: declarations and assertions.
void check_statement(const Parser& parser, const Expression& statement) {
  const std::string_view head = statement.head();
  if (head == "vnnlib-version" || head == "declare-network") {
    parser.fail(statement.line, "this is VNN-LIB 2.0; only 1.0 is read (declare-const X_0, assert)");
  }
  if (head != "declare-const" && head != "declare-fun" && head != "assert") {
    parser.fail(statement.line,
                fmt::format("'{}' is not a statement of VNN-LIB 1.0", statement.is_list() ? head : statement.atom));
  }
}

}  // namespace

Box read_vnnlib_box(const std::filesystem::path& path, Index input_count) {
  const std::string text = detail::read_file(path);
  Parser parser(text, path.string());
  const Region region(parser, input_count);
  Box box = region.everything();
  Index declared = 0;
  for (const Expression& statement : parser.all()) {
    check_statement(parser, statement);
    if (statement.head() != "assert") {
      declared += statement.items.size() > 1 && statement.items[1].atom.starts_with("X_") ? 1 : 0;
      continue;
    }
    if (statement.items.size() != 2) parser.fail(statement.line, "assert takes one formula");
    Region::intersect(box, region.hull(statement.items[1]));
  }
  if (declared != input_count) {
    throw core::InputError(fmt::format("the property declares {} inputs, the network has {}", declared, input_count),
                           path.string());
  }
  for (std::size_t i = 0; i < box.low.size(); ++i) {
    const bool bounded = std::isfinite(box.low[i]) && std::isfinite(box.high[i]);
    if (!bounded && box.low[i] <= box.high[i]) {
      throw core::InputError(
          fmt::format("input X_{} has no {} bound; a box needs both", i, std::isfinite(box.low[i]) ? "upper" : "lower"),
          path.string());
    }
    if (box.low[i] > box.high[i]) {
      throw core::InputError(fmt::format("no value of input X_{} satisfies the property", i), path.string());
    }
  }
  return box;
}

}  // namespace quantbound::network
