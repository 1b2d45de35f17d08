/// A table for people: columns as wide as they need, numbers to the right, text to the left.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace quantbound::apps {

class TextTable {
 public:
  explicit TextTable(std::vector<std::string> head) : rows_{std::move(head)} {}
  /// @pre as many cells as the head
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string str() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// "3.21e-05", "12.4", "-" for NaN: four significant digits.
std::string short_number(double value);
/// "1 task", "7 tasks".
std::string counted(std::size_t count, std::string_view noun);
/// A base-10 logarithm as people read it: "10^12.3", "-" for NaN, "0" for -inf.
std::string power_of_ten(double log10);

}  // namespace quantbound::apps
