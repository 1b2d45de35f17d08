/// A result file, addressed by name: axes, variables and failures, each checked when it is asked for. Reads, never
/// writes.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"
#include "quantbound/store/result_file.hpp"

namespace quantbound::apps {

class StoredResult {
 public:
  explicit StoredResult(const std::string& path) : path_(path), data_(store::read_result(path)) {}

  const sweep::Group& root() const { return data_.root; }
  const std::vector<std::string>& texts(const char* axis) const { return labels<std::string>(axis); }
  const std::vector<std::int64_t>& integers(const char* axis) const { return labels<std::int64_t>(axis); }
  const std::vector<double>& values(const char* name) const {
    const auto* variable = data_.root.find_variable(name);
    const auto* numbers = variable == nullptr ? nullptr : std::get_if<std::vector<double>>(&variable->data);
    if (numbers == nullptr)
      throw core::InputError(fmt::format("no variable `{}` in the file; it is no result of quantbound", name), path_);
    return *numbers;
  }
  std::vector<std::int64_t> whole(const char* name) const {
    const auto* variable = data_.root.find_variable(name);
    if (variable == nullptr)
      throw core::InputError(fmt::format("no variable `{}` in the file; it is no result of quantbound", name), path_);
    const auto* numbers = std::get_if<std::vector<std::int64_t>>(&variable->data);
    if (numbers == nullptr)
      throw core::InputError(fmt::format("variable `{}` has another type than expected", name), path_);
    return *numbers;
  }
  /// A variable of small numbers with meanings.
  const std::vector<std::int8_t>& flags(const char* name) const {
    const auto* variable = data_.root.find_variable(name);
    const auto* found = variable == nullptr ? nullptr : std::get_if<std::vector<std::int8_t>>(&variable->data);
    if (found == nullptr)
      throw core::InputError(fmt::format("no variable `{}` in the file; it is no result of quantbound", name), path_);
    return *found;
  }
  /// A text variable.
  const std::vector<std::string>& labels_of(const char* name) const {
    const auto* variable = data_.root.find_variable(name);
    const auto* found = variable == nullptr ? nullptr : std::get_if<std::vector<std::string>>(&variable->data);
    if (found == nullptr)
      throw core::InputError(fmt::format("no variable `{}` in the file; it is no result of quantbound", name), path_);
    return *found;
  }
  bool has(const char* name) const { return data_.root.find_variable(name) != nullptr; }
  /// A text variable of group /failures: one entry per piece of work that failed.
  std::vector<std::string> failures(const char* name) const {
    const auto* group = data_.find_group("failures");
    const auto* variable = group == nullptr ? nullptr : group->find_variable(name);
    const auto* texts = variable == nullptr ? nullptr : std::get_if<std::vector<std::string>>(&variable->data);
    if (texts == nullptr)
      throw core::InputError(fmt::format("no variable `failures/{}` in the file; it is no result of quantbound", name),
                             path_);
    return *texts;
  }

 private:
  template <class T>
  const std::vector<T>& labels(const char* name) const {
    const auto* axis = data_.root.find_axis(name);
    const auto* found = axis == nullptr ? nullptr : std::get_if<std::vector<T>>(&axis->labels);
    if (found == nullptr)
      throw core::InputError(fmt::format("no axis `{}` in the file; it is no result of quantbound", name), path_);
    return *found;
  }

  std::string path_;
  sweep::Dataset data_;
};

}  // namespace quantbound::apps
