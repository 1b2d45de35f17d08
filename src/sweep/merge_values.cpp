#include "merge_values.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

namespace quantbound::sweep::detail {

namespace {

/// What `status` says where no part was asked: CF flag `skipped`.
constexpr std::int8_t skipped = 4;
/// The others from the least to the most that is known: pending, failed, timed_out, done.
constexpr std::array<std::int8_t, 5> by_knowledge{skipped, 0, 2, 3, 1};

std::ptrdiff_t knowledge(std::int8_t status) { return std::ranges::find(by_knowledge, status) - by_knowledge.begin(); }

/// How the values of one variable are brought together.
struct Rule {
  bool is_status = false;
  bool is_coordinate = false;
  Agreement agreement = Agreement::required;

  /// The value that says that nothing was computed. A coordinate always says something.
  template <class Value>
  bool is_nothing(const Value& value) const {
    if (is_coordinate) return false;
    if constexpr (std::is_same_v<Value, double>) return std::isnan(value);
    return value == Value();
  }

  template <class Value>
  static bool same(const Value& a, const Value& b) {
    if constexpr (std::is_same_v<Value, double>)
      return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
    return a == b;
  }

  /// Whether both may stand for one thing: the same, or one of them says nothing.
  template <class Value>
  bool agree(const Value& a, const Value& b) const {
    if (agreement == Agreement::kept || is_status || is_nothing(a) || is_nothing(b) || same(a, b)) return true;
    if constexpr (std::is_same_v<Value, double>)
      return agreement == Agreement::measured && std::abs(a - b) <= std::max(std::abs(a), std::abs(b)) / 8.0;
    return false;
  }

  /// Of two values that agree, the one that says more; the first where both do.
  template <class Value>
  const Value& more(const Value& a, const Value& b) const {
    if constexpr (std::is_same_v<Value, std::int8_t>) {
      if (is_status) return knowledge(b) > knowledge(a) ? b : a;
    }
    return is_nothing(a) ? b : a;
  }
};

const std::vector<std::size_t>& places_of(const MergedAxes& axes, const std::string& dimension, std::size_t part) {
  return axes.find(dimension)->places[part];
}

/// Where the elements of a part's variable go, in their order.
std::vector<std::size_t> targets(const Variable& variable, const MergedAxes& axes, std::size_t part) {
  std::vector<std::size_t> all{0};
  for (const auto& dimension : variable.dimensions) {
    const auto& places = places_of(axes, dimension, part);
    const std::size_t size = axes.find(dimension)->names.size();
    std::vector<std::size_t> next;
    next.reserve(all.size() * places.size());
    for (const std::size_t at : all) {
      for (const std::size_t place : places) next.push_back(at * size + place);
    }
    all = std::move(next);
  }
  return all;
}

/// "network digits_mlp_5, quantizer round, bits 4".
std::string describe(const std::vector<std::string>& dimensions, const MergedAxes& axes, std::size_t at) {
  std::string text;
  for (auto dimension = dimensions.rbegin(); dimension != dimensions.rend(); ++dimension) {
    const auto& names = axes.find(*dimension)->names;
    text = fmt::format("{} {}{}{}", *dimension, names[at % names.size()], text.empty() ? "" : ", ", text);
    at /= names.size();
  }
  return text;
}

/// A variable of the parts that have it; what they have in common is checked here.
class Merger {
 public:
  Merger(std::span<const ResultPart> parts, const std::string& name, const MergedAxes& axes, Agreement agreement,
         const Group* (*group_of)(const Dataset&))
      : parts_(parts), axes_(axes) {
    for (const ResultPart& part : parts) {
      const Group* group = group_of(part.dataset);
      variables_.push_back(group == nullptr ? nullptr : group->find_variable(name));
    }
    const auto first = std::ranges::find_if(variables_, [](const Variable* variable) { return variable != nullptr; });
    QUANTBOUND_ASSERT(first != variables_.end(), name);
    first_ = *first;
    rule_ = {.is_status = name == "status", .is_coordinate = first_->role == Role::coordinate, .agreement = agreement};
    for (std::size_t p = 0; p < parts.size(); ++p) {
      if (variables_[p] == nullptr) continue;
      if (variables_[p]->dimensions == first_->dimensions && variables_[p]->data.index() == first_->data.index())
        continue;
      throw core::InputError(fmt::format("`{}` has other dimensions or another type than in {}", name,
                                         parts[static_cast<std::size_t>(first - variables_.begin())].file),
                             parts[p].file);
    }
  }

  Variable merge() const {
    Variable merged{.name = first_->name,
                    .dimensions = first_->dimensions,
                    .data = {},
                    .attributes = first_->attributes,
                    .fill = first_->fill,
                    .role = first_->role};
    merged.data = std::visit([this](const auto& values) { return Data(this->fill_in(values)); }, first_->data);
    return merged;
  }

 private:
  std::size_t merged_size() const {
    std::size_t size = 1;
    for (const auto& dimension : first_->dimensions) size *= axes_.find(dimension)->names.size();
    return size;
  }

  template <class Values>
  static typename Values::value_type nothing(const Rule& rule) {
    using Value = typename Values::value_type;
    if constexpr (std::is_same_v<Value, double>) return std::numeric_limits<double>::quiet_NaN();
    if constexpr (std::is_same_v<Value, std::int8_t>) return rule.is_status ? skipped : Value();
    return Value();
  }

  template <class Values>
  Values fill_in(const Values& /*type*/) const {
    Values merged(merged_size(), nothing<Values>(rule_));
    std::vector<bool> written(merged.size(), false);
    for (std::size_t p = 0; p < parts_.size(); ++p) {
      if (variables_[p] == nullptr) continue;
      const auto& values = std::get<Values>(variables_[p]->data);
      const auto places = targets(*variables_[p], axes_, p);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::size_t at = places[i];
        if (written[at] && !rule_.agree(merged[at], values[i])) refuse<Values>(at, merged[at], p, values[i]);
        merged[at] = written[at] ? rule_.more(merged[at], values[i]) : values[i];
        written[at] = true;
      }
    }
    return merged;
  }

  /// @param here what an earlier part said, which is looked for now
  template <class Values>
  [[noreturn]] void refuse(std::size_t at, const typename Values::value_type& here, std::size_t part,
                           const typename Values::value_type& there) const {
    std::size_t earlier = 0;
    for (std::size_t p = 0; p < part; ++p) {
      if (variables_[p] == nullptr) continue;
      const auto& values = std::get<Values>(variables_[p]->data);
      const auto places = targets(*variables_[p], axes_, p);
      const auto found = std::ranges::find(places, at);
      if (found == places.end() || !Rule::same(values[static_cast<std::size_t>(found - places.begin())], here))
        continue;
      earlier = p;
      break;
    }
    const char* remedy = rule_.is_coordinate
                             ? "one name stands for different networks, domains or sample sets; tell them apart in the "
                               "studies (`suffix` of "
                               "[[network]], `name` of [[samples]])"
                             : "results of different settings or versions cannot be one; leave one of the files out";
    throw core::InputError(
        fmt::format("`{}` of {} is {} here and {} in {}: {}", first_->name, describe(first_->dimensions, axes_, at),
                    there, here, parts_[earlier].file, remedy),
        parts_[part].file);
  }

  std::span<const ResultPart> parts_;
  const MergedAxes& axes_;
  std::vector<const Variable*> variables_;
  const Variable* first_ = nullptr;
  Rule rule_;
};

}  // namespace

Variable merge_variable(std::span<const ResultPart> parts, const std::string& name, const MergedAxes& axes,
                        Agreement agreement, const Group* (*group_of)(const Dataset&)) {
  return Merger(parts, name, axes, agreement, group_of).merge();
}

}  // namespace quantbound::sweep::detail
