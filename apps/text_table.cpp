#include "text_table.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"

namespace quantbound::apps {

namespace {
bool looks_numeric(const std::string& cell) {
  return !cell.empty() &&
         (std::isdigit(static_cast<unsigned char>(cell.front())) != 0 || cell.front() == '-' || cell.front() == '+');
}
}  // namespace

std::string TextTable::str() const {
  const std::size_t columns = rows_.front().size();
  std::vector<std::size_t> width(columns, 0);
  std::vector<bool> numeric(columns, rows_.size() > 1);
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    QUANTBOUND_ASSERT(rows_[r].size() == columns, r, rows_[r].size(), columns);
    for (std::size_t c = 0; c < columns; ++c) {
      width[c] = std::max(width[c], rows_[r][c].size());
      if (r > 0 && !looks_numeric(rows_[r][c])) numeric[c] = false;
    }
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t c = 0; c < columns; ++c) {
      line += fmt::format(fmt::runtime(numeric[c] ? "{:>{}}  " : "{:<{}}  "), row[c], width[c]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::string short_number(double value) { return std::isnan(value) ? "-" : fmt::format("{:.4g}", value); }

std::string counted(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string power_of_ten(double log10) {
  if (std::isnan(log10)) return "-";
  if (std::isinf(log10)) return log10 < 0 ? "0" : "inf";
  return fmt::format("10^{:.2f}", log10);
}

}  // namespace quantbound::apps
