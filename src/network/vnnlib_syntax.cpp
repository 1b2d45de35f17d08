#include "vnnlib_syntax.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"

namespace quantbound::network::detail {

namespace {

constexpr int max_depth = 64;

}  // namespace

std::vector<Expression> VnnlibParser::all() {
  std::vector<Expression> expressions;
  while (skip_blanks()) expressions.push_back(expression(0));
  return expressions;
}

void VnnlibParser::fail(std::size_t line, const std::string& message) const {
  throw core::InputError(message, fmt::format("{}:{}", file_, line));
}

/// Whether anything follows blanks and comments (; to the end of the line).
bool VnnlibParser::skip_blanks() {
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

Expression VnnlibParser::expression(int depth) {
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

/// Up to a blank or parenthesis; brackets hold together what is between them on their line: X[0, 3].
Expression VnnlibParser::atom() {
  std::size_t end = std::min(text_.find_first_of(" \t\r\n();[", position_), text_.size());
  if (end < text_.size() && text_[end] == '[') {
    const std::size_t close = text_.find_first_of("]();\n", end);
    if (close == std::string_view::npos || text_[close] != ']') fail(line_, "a '[' without its ']'");
    end = close + 1;
  }
  Expression result{text_.substr(position_, end - position_), {}, line_};
  position_ = end;
  return result;
}

bool is_empty(const Box& box) {
  for (std::size_t i = 0; i < box.low.size(); ++i) {
    if (box.low[i] > box.high[i]) return true;
  }
  return false;
}

void intersect(Box& box, const Box& other) {
  for (std::size_t i = 0; i < box.low.size(); ++i) {
    box.low[i] = std::max(box.low[i], other.low[i]);
    box.high[i] = std::min(box.high[i], other.high[i]);
  }
}

void extend(Box& box, const Box& other) {
  if (is_empty(other)) return;
  for (std::size_t i = 0; i < box.low.size(); ++i) {
    box.low[i] = std::min(box.low[i], other.low[i]);
    box.high[i] = std::max(box.high[i], other.high[i]);
  }
}

void check_bounded(const Box& box, std::string_view prefix, std::string_view suffix, const std::string& file) {
  for (std::size_t i = 0; i < box.low.size(); ++i) {
    const std::string name = fmt::format("{}{}{}", prefix, i, suffix);
    if (box.low[i] > box.high[i]) {
      throw core::InputError(fmt::format("no value of input {} satisfies the property", name), file);
    }
    if (!std::isfinite(box.low[i]) || !std::isfinite(box.high[i])) {
      throw core::InputError(fmt::format("input {} has no {} bound; a box needs both", name,
                                         std::isfinite(box.low[i]) ? "upper" : "lower"),
                             file);
    }
  }
}

}  // namespace quantbound::network::detail
