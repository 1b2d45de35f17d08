// VNN-LIB 2.0 properties of two networks: the second is isomorphic (or equal) to the first, both read one input, and
// the assertions bound that input and the difference of the outputs. Every comparison is brought to
// `terms + constant <= 0`; what is left must be one input, two equal inputs, or an output of g minus the same one of f.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>

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

enum class Side { input, output };

/// A tensor that the file declares.
struct Variable {
  std::string name;
  Side side = Side::input;
  std::size_t network = 0;  ///< 0: f, 1: g
  Shape shape;
};

/// One element of a variable, as a flat index.
struct Element {
  Side side;
  std::size_t network;
  std::size_t index;
  bool operator<(const Element& other) const {
    return std::tie(side, network, index) < std::tie(other.side, other.network, other.index);
  }
  bool operator==(const Element&) const = default;
};

/// A sum of elements and one number.
struct Linear {
  std::map<Element, int> terms;
  double constant = 0.0;
  int constants = 0;  ///< numbers in it: a second one would have to be rounded into the first
};

/// What one comparison says: low <= element <= high, or of the difference g - f; or that an input is the same for both.
struct Statement {
  enum class Kind { input, difference, same_input } kind = Kind::input;
  std::size_t index = 0;
  double low = -infinity, high = infinity;
};

std::string text_of(const Expression& term) {
  return term.is_list() ? fmt::format("({} ...)", term.head()) : std::string(term.atom);
}

/// The numbers in "[1, 5]".
std::optional<Shape> bracketed(std::string_view text) {
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') return std::nullopt;
  text = text.substr(1, text.size() - 2);
  Shape numbers;
  while (true) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view digits = detail::trimmed(text.substr(0, comma));
    Index number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc() || end != digits.data() + digits.size() || number < 0) return std::nullopt;
    numbers.push_back(number);
    if (comma == text.size()) return numbers;
    text.remove_prefix(comma + 1);
  }
}

// ---- declarations --------------------------------------------------------------------------------------------------

class Declarations {
 public:
  explicit Declarations(const Parser& parser) : parser_(parser) {}

  void add(const Expression& statement) {
    if (networks_.size() == 2) parser_.fail(statement.line, "a third network; properties of two networks are read");
    if (statement.items.size() < 2 || statement.items[1].is_list()) {
      parser_.fail(statement.line, "a network needs a name: (declare-network f ...)");
    }
    networks_.emplace_back(statement.items[1].atom);
    bool is_related = false;
    for (std::size_t i = 2; i < statement.items.size(); ++i) {
      const Expression& item = statement.items[i];
      if (item.head() == "isomorphic-to" || item.head() == "equal-to") {
        check_relation(item);
        is_related = true;
      } else {
        add_variable(item);
      }
    }
    check_complete(statement, is_related);
  }

  std::size_t networks() const { return networks_.size(); }

  const Variable* find(std::string_view name) const {
    const auto found =
        std::find_if(variables_.begin(), variables_.end(), [&](const Variable& v) { return v.name == name; });
    return found == variables_.end() ? nullptr : &*found;
  }
  const Variable& variable(std::size_t network, Side side) const {
    return *std::find_if(variables_.begin(), variables_.end(),
                         [&](const Variable& v) { return v.network == network && v.side == side; });
  }

 private:
  void check_relation(const Expression& item) {
    const bool names_first = networks_.size() == 2 && item.items.size() == 2 && item.items[1].atom == networks_.front();
    if (names_first) return;
    parser_.fail(item.line, networks_.size() == 2
                                ? fmt::format("({} {}) must name the first network", item.head(), networks_.front())
                                : fmt::format("'{}' belongs to the second network", item.head()));
  }

  void add_variable(const Expression& item) {
    const bool is_input = item.head() == "declare-input";
    if (!is_input && item.head() != "declare-output") {
      parser_.fail(item.line, fmt::format("'{}' is not read in a network; only isomorphic-to, equal-to, declare-input "
                                          "and declare-output are",
                                          text_of(item)));
    }
    const auto shape = item.items.size() == 4 ? bracketed(item.items[3].atom) : std::nullopt;
    if (!shape || item.items[1].is_list() || item.items[2].is_list()) {
      parser_.fail(item.line, fmt::format("a declaration has name, type and shape: ({} X real [5])", item.head()));
    }
    constexpr std::string_view types[] = {"real", "Real", "float16", "bfloat16", "float32", "float64"};
    if (std::find(std::begin(types), std::end(types), item.items[2].atom) == std::end(types)) {
      parser_.fail(item.line, fmt::format("type '{}' is not read; only real and float types are", item.items[2].atom));
    }
    const std::string name(item.items[1].atom);
    if (find(name) != nullptr) parser_.fail(item.line, fmt::format("'{}' is declared twice", name));
    const std::size_t network = networks_.size() - 1;
    const Side side = is_input ? Side::input : Side::output;
    if (std::any_of(variables_.begin(), variables_.end(),
                    [&](const Variable& v) { return v.network == network && v.side == side; })) {
      parser_.fail(item.line, fmt::format("network '{}' has a second {}; only one is read", networks_.back(),
                                          is_input ? "input" : "output"));
    }
    variables_.push_back({name, side, network, *shape});
  }

  void check_complete(const Expression& statement, bool is_related) const {
    const auto declared = std::count_if(variables_.begin(), variables_.end(),
                                        [&](const Variable& v) { return v.network + 1 == networks_.size(); });
    if (declared != 2) {
      parser_.fail(statement.line,
                   fmt::format("network '{}' needs a declare-input and a declare-output", networks_.back()));
    }
    if (networks_.size() == 2 && !is_related) {
      parser_.fail(statement.line, fmt::format("network '{}' must be (isomorphic-to {}): only such pairs are read",
                                               networks_.back(), networks_.front()));
    }
  }

  const Parser& parser_;
  std::vector<std::string> networks_;
  std::vector<Variable> variables_;
};

// ---- comparisons ---------------------------------------------------------------------------------------------------

class Comparisons {
 public:
  Comparisons(const Parser& parser, const Declarations& declarations) : parser_(parser), declarations_(declarations) {}

  Statement read(const Expression& formula) const {
    const Relation relation = relation_of(formula);
    if (formula.items.size() != 3) parser_.fail(formula.line, "a comparison needs two sides");
    Linear sum;
    add(formula.items[1], 1, sum);
    add(formula.items[2], -1, sum);
    std::erase_if(sum.terms, [](const auto& term) { return term.second == 0; });
    const std::string_view head = formula.head();
    const bool is_strict = head == "<" || head == ">";
    if (sum.terms.size() == 1) return input_bound(formula, sum, relation);
    if (sum.terms.size() == 2) return pair_bound(formula, sum, relation, is_strict);
    reject(formula);
  }

 private:
  [[noreturn]] void reject(const Expression& formula) const {
    parser_.fail(
        formula.line,
        "only bounds of inputs (<= X_f[0] 1.5), equal inputs (== X_f[0] X_g[0]) and bounds of the difference of "
        "outputs (<= Y_g[0] (+ Y_f[0] 0.05)) are read");
  }

  Relation relation_of(const Expression& formula) const {
    const std::string_view head = formula.head();
    if (head == "<=" || head == "<") return Relation::less;
    if (head == ">=" || head == ">") return Relation::greater;
    if (head == "==" || head == "=") return Relation::equal;
    parser_.fail(formula.line, fmt::format("'{}' is not read; only and, or, <=, >=, <, >, == are", text_of(formula)));
  }

  void add(const Expression& term, int sign, Linear& sum) const {
    if (term.is_list()) return add_list(term, sign, sum);
    if (const auto number = detail::parse_number(term.atom)) {
      if (*number != 0.0) ++sum.constants;
      sum.constant += sign * *number;
      return;
    }
    sum.terms[element(term)] += sign;
  }

  void add_list(const Expression& term, int sign, Linear& sum) const {
    const std::string_view head = term.head();
    if ((head != "+" && head != "-") || term.items.size() < 2) {
      parser_.fail(term.line, fmt::format("'{}' is not read; only sums and differences are", text_of(term)));
    }
    const bool negates = head == "-";
    for (std::size_t i = 1; i < term.items.size(); ++i) {
      const bool flips = negates && (i > 1 || term.items.size() == 2);  // (- x) is -x, (- x y) is x - y
      add(term.items[i], flips ? -sign : sign, sum);
    }
  }

  Element element(const Expression& term) const {
    const std::size_t bracket = std::min(term.atom.find('['), term.atom.size());
    const Variable* variable = declarations_.find(term.atom.substr(0, bracket));
    if (variable == nullptr) {
      parser_.fail(term.line, fmt::format("'{}' is neither a number nor an element of a declared variable", term.atom));
    }
    const auto indices = bracketed(term.atom.substr(bracket));
    if (!indices || indices->size() != variable->shape.size()) {
      parser_.fail(term.line, fmt::format("'{}' needs {} {}, since {} has shape {}", term.atom, variable->shape.size(),
                                          variable->shape.size() == 1 ? "index" : "indices", variable->name,
                                          tensor::to_string(variable->shape)));
    }
    Index flat = 0;
    for (std::size_t i = 0; i < indices->size(); ++i) {
      if ((*indices)[i] >= variable->shape[i]) {
        parser_.fail(term.line, fmt::format("'{}' lies outside {} of shape {}; indices begin at 0", term.atom,
                                            variable->name, tensor::to_string(variable->shape)));
      }
      flat = flat * variable->shape[i] + (*indices)[i];
    }
    return {variable->side, variable->network, static_cast<std::size_t>(flat)};
  }

  /// sign * value + constant (relation) 0.
  Statement bounded(const Expression& formula, const Linear& sum, Relation relation, int sign) const {
    if (sum.constants > 1) parser_.fail(formula.line, "more than one number; write their sum");
    const double value = sum.constant == 0.0 ? 0.0 : -sign * sum.constant;
    const bool is_upper = (relation == Relation::less) == (sign > 0);
    Statement result;
    if (relation == Relation::equal || is_upper) result.high = value;
    if (relation == Relation::equal || !is_upper) result.low = value;
    return result;
  }

  Statement input_bound(const Expression& formula, const Linear& sum, Relation relation) const {
    const auto& [element, sign] = *sum.terms.begin();
    if (element.side != Side::input || std::abs(sign) != 1) reject(formula);
    Statement result = bounded(formula, sum, relation, sign);
    result.index = element.index;
    return result;
  }

  Statement pair_bound(const Expression& formula, const Linear& sum, Relation relation, bool is_strict) const {
    const auto& [f, sign_f] = *sum.terms.begin();  // ordered by side, then by network
    const auto& [g, sign_g] = *sum.terms.rbegin();
    const bool is_difference = f.side == g.side && f.network == 0 && g.network == 1 && f.index == g.index &&
                               sign_f == -sign_g && std::abs(sign_g) == 1;
    if (!is_difference) reject(formula);
    Statement result;
    if (g.side == Side::input) {
      if (relation != Relation::equal || sum.constants > 0) reject(formula);
      result.kind = Statement::Kind::same_input;
    } else {
      if (is_strict) parser_.fail(formula.line, "a strict comparison of outputs cannot be proved here; write <= or >=");
      result = bounded(formula, sum, relation, sign_g);
      result.kind = Statement::Kind::difference;
    }
    result.index = g.index;
    return result;
  }

  const Parser& parser_;
  const Declarations& declarations_;
};

// ---- the property --------------------------------------------------------------------------------------------------

Box everything(Index count) {
  const auto size = static_cast<std::size_t>(count);
  return {std::vector(size, -infinity), std::vector(size, infinity)};
}

class PairReader {
 public:
  PairReader(const Parser& parser, const Declarations& declarations, Index inputs, Index outputs)
      : parser_(parser),
        comparisons_(parser, declarations),
        property_{everything(inputs), everything(outputs)},
        same_(static_cast<std::size_t>(inputs)) {}

  void read_assertion(const Expression& formula) {
    if (formula.head() == "and") {
      for (std::size_t i = 1; i < formula.items.size(); ++i) read_assertion(formula.items[i]);
    } else if (formula.head() == "or") {
      detail::intersect(property_.input, hull(formula));
    } else {
      take(comparisons_.read(formula));
    }
  }

  /// Which inputs the assertions make equal.
  const std::vector<bool>& same() const { return same_; }
  const PairProperty& property() const { return property_; }

 private:
  void take(const Statement& statement) {
    if (statement.kind == Statement::Kind::same_input) {
      same_[statement.index] = true;
      return;
    }
    Box& box = statement.kind == Statement::Kind::input ? property_.input : property_.difference;
    box.low[statement.index] = std::max(box.low[statement.index], statement.low);
    box.high[statement.index] = std::min(box.high[statement.index], statement.high);
  }

  /// The hull of the inputs for which a formula over inputs alone can hold.
  Box hull(const Expression& formula) const {
    const auto inputs = static_cast<Index>(same_.size());
    Box box = everything(inputs);
    if (formula.head() == "and") {
      for (std::size_t i = 1; i < formula.items.size(); ++i) detail::intersect(box, hull(formula.items[i]));
    } else if (formula.head() == "or") {
      std::swap(box.low, box.high);
      for (std::size_t i = 1; i < formula.items.size(); ++i) detail::extend(box, hull(formula.items[i]));
    } else {
      const Statement statement = comparisons_.read(formula);
      if (statement.kind != Statement::Kind::input) {
        parser_.fail(formula.line,
                     "inside 'or' only bounds of inputs are read; what else the property says must hold "
                     "always");
      }
      box.low[statement.index] = statement.low;
      box.high[statement.index] = statement.high;
    }
    return box;
  }

  const Parser& parser_;
  Comparisons comparisons_;
  PairProperty property_;
  std::vector<bool> same_;
};

/// Throws where the sizes are not those of the networks.
void check_sizes(const Declarations& declarations, Index inputs, Index outputs, const std::string& file) {
  for (std::size_t network = 0; network < 2; ++network) {
    for (const Side side : {Side::input, Side::output}) {
      const Variable& variable = declarations.variable(network, side);
      const Index wanted = side == Side::input ? inputs : outputs;
      Index count = 1;
      for (const Index extent : variable.shape)
        count = extent > 0 && count > wanted / extent ? wanted + 1 : count * extent;
      if (count == wanted) continue;
      throw core::InputError(
          fmt::format("{} has shape {}, the networks have {} {}; give the property of these networks", variable.name,
                      tensor::to_string(variable.shape), wanted, side == Side::input ? "inputs" : "outputs"),
          file);
    }
  }
}

/// Declarations come first, then assertions; nothing else.
Declarations read_declarations(const Parser& parser, const std::vector<Expression>& statements) {
  Declarations declarations(parser);
  for (const Expression& statement : statements) {
    const std::string_view head = statement.head();
    if (head == "declare-network") {
      declarations.add(statement);
    } else if (head != "vnnlib-version" && head != "assert") {
      parser.fail(statement.line, fmt::format("'{}' is not a statement of VNN-LIB 2.0; only vnnlib-version, "
                                              "declare-network and assert are read",
                                              text_of(statement)));
    }
  }
  return declarations;
}

void check_version(const Parser& parser, const Expression& statement) {
  if (statement.items.size() == 2 && statement.items[1].atom == "<2.0>") return;
  parser.fail(statement.line, "only version 2.0 is read for two networks: (vnnlib-version <2.0>)");
}

}  // namespace

bool is_vnnlib_pair(const std::filesystem::path& path) {
  const std::string text = detail::read_file(path);
  const std::vector<Expression> statements = Parser(text, path.string()).all();
  return std::count_if(statements.begin(), statements.end(),
                       [](const Expression& statement) { return statement.head() == "declare-network"; }) == 2;
}

PairProperty read_vnnlib_pair(const std::filesystem::path& path, Index input_count, Index output_count) {
  const std::string file = path.string(), text = detail::read_file(path);
  Parser parser(text, file);
  const std::vector<Expression> statements = parser.all();
  const Declarations declarations = read_declarations(parser, statements);
  if (declarations.networks() != 2) {
    throw core::InputError(fmt::format("the property declares {} networks; one of two is needed: (declare-network f "
                                       "...) (declare-network g (isomorphic-to f) ...)",
                                       declarations.networks()),
                           file);
  }
  check_sizes(declarations, input_count, output_count, file);
  PairReader reader(parser, declarations, input_count, output_count);
  for (const Expression& statement : statements) {
    if (statement.head() == "vnnlib-version") check_version(parser, statement);
    if (statement.head() != "assert") continue;
    if (statement.items.size() != 2) parser.fail(statement.line, "assert takes one formula");
    reader.read_assertion(statement.items[1]);
  }
  const std::string &f = declarations.variable(0, Side::input).name, &g = declarations.variable(1, Side::input).name;
  for (std::size_t i = 0; i < reader.same().size(); ++i) {
    if (reader.same()[i]) continue;
    throw core::InputError(
        fmt::format("nothing says that both networks read the same input {}: (assert (== {}[...] {}[...])) is missing",
                    i, f, g),
        file);
  }
  detail::check_bounded(reader.property().input, f + "[", "]", file);
  const Box& difference = reader.property().difference;
  for (std::size_t i = 0; i < difference.low.size(); ++i) {
    if (difference.low[i] <= difference.high[i]) continue;
    throw core::InputError(fmt::format("no difference of output {} satisfies the property", i), file);
  }
  return reader.property();
}

}  // namespace quantbound::network
