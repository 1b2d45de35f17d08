// Input boxes of VNN-LIB 1.0 properties. The assertions are read as a region of inputs: a bound is a half-space, `and`
// an intersection, `or` the hull of a union; what speaks of outputs alone restricts no input. The box is the region's
// hull.
#include <algorithm>
#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/network/readers.hpp"

#include "text_file.hpp"
#include "vnnlib_syntax.hpp"

namespace quantbound::network {

namespace {

using detail::Expression;
using detail::Relation;
using Parser = detail::VnnlibParser;

constexpr double infinity = std::numeric_limits<double>::infinity();

class Region {
 public:
  Region(const Parser& parser, Index inputs) : parser_(parser), inputs_(static_cast<std::size_t>(inputs)) {}

  Box everything() const { return {std::vector(inputs_, -infinity), std::vector(inputs_, infinity)}; }

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
    for (std::size_t i = 1; i < formula.items.size(); ++i) detail::intersect(box, hull(formula.items[i]));
    return box;
  }

  Box disjunction(const Expression& formula) const {
    Box box{std::vector(inputs_, infinity), std::vector(inputs_, -infinity)};
    for (std::size_t i = 1; i < formula.items.size(); ++i) detail::extend(box, hull(formula.items[i]));
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
    parser.fail(statement.line,
                "this is VNN-LIB 2.0, which is read for two networks only: certify --against the second network; for "
                "one, give VNN-LIB 1.0 (declare-const X_0, assert)");
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
    detail::intersect(box, region.hull(statement.items[1]));
  }
  if (declared != input_count) {
    throw core::InputError(fmt::format("the property declares {} inputs, the network has {}", declared, input_count),
                           path.string());
  }
  detail::check_bounded(box, "X_", "", path.string());
  return box;
}

}  // namespace quantbound::network
