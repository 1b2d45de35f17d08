#include "merge_axes.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "quantbound/core/error.hpp"

#include "axes.hpp"

namespace quantbound::sweep::detail {

namespace {

using Texts = std::vector<std::string>;

/// An axis that counts the pieces of the labels of another one.
struct Pieces {
  std::string_view axis;
  std::string_view of;                   ///< the axis whose labels it divides
  std::string_view owner;                ///< coordinate: the label that a position belongs to
  std::array<std::string_view, 2> keys;  ///< coordinates that tell the pieces of one label apart; none: their order
  bool same_everywhere;                  ///< a label has the same pieces in all parts
};

/// In the order of the file: what `of` names comes before. Modules of several kinds may be asked for in several
/// studies.
constexpr std::array pieces{Pieces{"layer", "network", "layer_network", {"layer_position"}, true},
                            Pieces{"region", "network", "region_network", {}, true},
                            Pieces{"region_output", "region", "region_output_region", {"region_output_index"}, true},
                            Pieces{"module", "network", "module_network", {"module_kind", "module_position"}, false},
                            Pieces{"sample", "samples", "sample_set", {"sample_row"}, true}};

const Pieces* pieces_on(std::string_view axis) {
  const auto* found = std::ranges::find(pieces, axis, &Pieces::axis);
  return found == pieces.end() ? nullptr : found;
}

template <class Values>
Texts to_texts(const Values& values) {
  return collect(values, [](const auto& value) { return fmt::format("{}", value); });
}

Texts to_texts(const Labels& labels) {
  return std::visit([](const auto& values) { return to_texts(values); }, labels);
}

/// A coordinate of the part as text, one per position of its axis.
Texts coordinate(const ResultPart& part, std::string_view name) {
  const Variable* variable = part.dataset.root.find_variable(name);
  if (variable == nullptr) {
    throw core::InputError(fmt::format("this is no result of quantbound: it has no `{}`", name), part.file);
  }
  return std::visit([](const auto& values) { return to_texts(values); }, variable->data);
}

/// Names of the axes of all parts, in the order of the file.
Texts axis_names(std::span<const ResultPart> parts) {
  const auto lists = collect(parts, [](const ResultPart& part) {
    return collect(part.dataset.root.axes, [](const Axis& axis) { return axis.name; });
  });
  Texts names = merge_orders(lists);
  const auto rank = [](const std::string& name) { return name == "module" ? 1 : name == "sample" ? 2 : 0; };
  std::ranges::stable_sort(names, std::less<>(), rank);  // optional ones stand last, in this order
  return names;
}

MergedAxis merge_labelled(std::span<const ResultPart> parts, const std::string& name) {
  std::vector<Labels> lists;
  MergedAxis merged;
  for (const ResultPart& part : parts) {
    const Axis* axis = part.dataset.root.find_axis(name);
    if (axis == nullptr) continue;
    if (lists.empty()) merged.axis = {.name = name, .labels = {}, .attributes = axis->attributes};
    if (!lists.empty() && axis->labels.index() != lists.front().index()) {
      throw core::InputError(fmt::format("the labels of `{}` are of another type than in {}", name, parts.front().file),
                             part.file);
    }
    lists.push_back(axis->labels);
  }
  merged.axis.labels = merge_labels(lists);
  merged.names = to_texts(merged.axis.labels);
  std::map<std::string, std::size_t> place;
  for (std::size_t i = 0; i < merged.names.size(); ++i) place.emplace(merged.names[i], i);
  for (const ResultPart& part : parts) {
    const Axis* axis = part.dataset.root.find_axis(name);
    merged.places.push_back(axis == nullptr
                                ? std::vector<std::size_t>()
                                : collect(to_texts(axis->labels), [&](const auto& label) { return place.at(label); }));
  }
  return merged;
}

/// One position of a counting axis in one part: whose piece it is, and which.
struct Piece {
  std::size_t owner = 0;  ///< position on the merged axis `of`
  std::string key;
};

std::vector<Piece> read_pieces(const ResultPart& part, const Pieces& spec, const MergedAxis& owners,
                               const std::vector<std::size_t>& owner_places) {
  const Axis* divided = part.dataset.root.find_axis(spec.of);
  if (divided == nullptr) {
    throw core::InputError(fmt::format("this is no result of quantbound: it has no axis `{}`", spec.of), part.file);
  }
  const Texts labels = to_texts(divided->labels);
  std::map<std::string, std::size_t> position;  // of an owner's label in this part
  for (std::size_t i = 0; i < labels.size(); ++i) position.emplace(labels[i], owner_places[i]);
  std::vector<Piece> found;
  std::vector<std::size_t> count(owners.names.size(), 0);
  for (const auto& owner : coordinate(part, spec.owner)) {
    const auto at = position.find(owner);
    if (at == position.end()) {
      throw core::InputError(fmt::format("`{}` names '{}', which is no label of `{}`", spec.owner, owner, spec.of),
                             part.file);
    }
    found.push_back({.owner = at->second, .key = fmt::format("{}", count[at->second]++)});
  }
  Texts keys(found.size());
  for (const auto name : spec.keys) {
    if (name.empty()) continue;
    const Texts values = coordinate(part, name);
    for (std::size_t i = 0; i < keys.size(); ++i) keys[i] += (keys[i].empty() ? "" : " ") + values.at(i);
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (!keys[i].empty()) found[i].key = keys[i];
  }
  return found;
}

[[noreturn]] void refuse_other_pieces(const Pieces& spec, const std::string& owner, const std::string& first,
                                      std::size_t first_count, const std::string& second, std::size_t second_count) {
  const char* remedy = spec.of == "samples" ? "these are different sample sets; give one of them another `name`"
                                            : "these are different networks or domains; give one of them a `suffix`";
  throw core::InputError(fmt::format("{} '{}' has {} positions on the axis `{}` here, and {} in {}: {} in its study",
                                     spec.of, owner, second_count, spec.axis, first_count, first, remedy),
                         second);
}

MergedAxis merge_pieces(std::span<const ResultPart> parts, const Pieces& spec, const MergedAxis& owners) {
  MergedAxis merged;
  std::vector<std::vector<Piece>> found;
  std::vector<std::vector<Texts>> keys(owners.names.size());           // by owner, of the parts that have it
  std::vector<std::vector<std::size_t>> holders(owners.names.size());  // those parts
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const Axis* axis = parts[p].dataset.root.find_axis(spec.axis);
    found.emplace_back();
    if (axis == nullptr) continue;
    if (merged.axis.name.empty()) merged.axis = {.name = axis->name, .labels = {}, .attributes = axis->attributes};
    found.back() = read_pieces(parts[p], spec, owners, owners.places[p]);
    for (const std::size_t owner : owners.places[p]) {
      keys[owner].emplace_back();
      holders[owner].push_back(p);
    }
    for (const Piece& piece : found.back()) keys[piece.owner].back().push_back(piece.key);
  }
  std::vector<std::map<std::string, std::size_t>> place(owners.names.size());
  for (std::size_t owner = 0; owner < keys.size(); ++owner) {
    for (std::size_t i = 1; spec.same_everywhere && i < keys[owner].size(); ++i) {
      if (keys[owner][i] == keys[owner][0]) continue;
      refuse_other_pieces(spec, owners.names[owner], parts[holders[owner][0]].file, keys[owner][0].size(),
                          parts[holders[owner][i]].file, keys[owner][i].size());
    }
    for (const auto& key : merge_orders(keys[owner])) {
      place[owner].emplace(key, merged.names.size());
      merged.names.push_back(fmt::format("{} of {}", key, owners.names[owner]));
    }
  }
  merged.axis.labels = counting(merged.names.size());
  for (const auto& part : found) {
    merged.places.push_back(collect(part, [&](const Piece& piece) { return place[piece.owner].at(piece.key); }));
  }
  return merged;
}

/// Whether all lists go the way of `before`.
template <class Number, class Before>
bool all_sorted(const std::vector<std::vector<Number>>& lists, Before before) {
  return std::ranges::all_of(lists, [&](const auto& list) { return std::ranges::is_sorted(list, before); });
}

template <class Number>
std::vector<Number> merge_numbers(const std::vector<std::vector<Number>>& lists) {
  std::vector<Number> all;
  for (const auto& list : lists) {
    for (const Number number : list) {
      if (std::ranges::find(all, number) == all.end()) all.push_back(number);
    }
  }
  const std::vector<std::vector<Number>> appearance{all};
  if (all_sorted(appearance, std::less<>()) || all_sorted(appearance, std::greater<>())) return all;
  if (all_sorted(lists, std::less<>())) {
    std::ranges::sort(all);
    return all;
  }
  if (all_sorted(lists, std::greater<>())) {
    std::ranges::sort(all, std::greater<>());
    return all;
  }
  std::map<std::string, Number> number;
  for (const Number value : all) number.emplace(fmt::format("{}", value), value);
  const auto texts = collect(lists, [](const auto& list) { return to_texts(list); });
  return collect(merge_orders(texts), [&](const auto& text) { return number.at(text); });
}

}  // namespace

Texts merge_orders(std::span<const Texts> lists) {
  Texts names;                               // by appearance
  std::map<std::string, std::size_t> index;  // in it
  for (const auto& list : lists) {
    for (const auto& name : list) {
      if (index.emplace(name, names.size()).second) names.push_back(name);
    }
  }
  std::vector<std::set<std::size_t>> before(names.size()), after(names.size());
  for (const auto& list : lists) {
    for (std::size_t i = 1; i < list.size(); ++i) {
      const std::size_t earlier = index.at(list[i - 1]), later = index.at(list[i]);
      before[later].insert(earlier);
      after[earlier].insert(later);
    }
  }
  std::set<std::size_t> ready, waiting;
  for (std::size_t i = 0; i < names.size(); ++i) (before[i].empty() ? ready : waiting).insert(i);
  Texts order;
  while (!ready.empty() || !waiting.empty()) {
    auto& from = ready.empty() ? waiting : ready;  // waiting alone: the lists contradict each other
    const std::size_t next = *from.begin();
    from.erase(from.begin());
    order.push_back(names[next]);
    for (const std::size_t later : after[next]) {
      before[later].erase(next);
      if (before[later].empty() && waiting.erase(later) > 0) ready.insert(later);
    }
  }
  return order;
}

Labels merge_labels(std::span<const Labels> lists) {
  return std::visit(
      [&](const auto& first) -> Labels {
        using List = std::decay_t<decltype(first)>;
        const auto all = collect(lists, [](const Labels& labels) { return std::get<List>(labels); });
        if constexpr (std::is_same_v<List, Texts>) {
          return merge_orders(all);
        } else {
          return merge_numbers(all);
        }
      },
      lists.front());
}

const MergedAxis* MergedAxes::find(std::string_view name) const {
  const auto found = std::ranges::find(axes, name, [](const MergedAxis& merged) { return merged.axis.name; });
  return found == axes.end() ? nullptr : &*found;
}

MergedAxes merge_axes(std::span<const ResultPart> parts) {
  MergedAxes all;
  std::map<std::string, MergedAxis, std::less<>> merged;
  const Texts names = axis_names(parts);
  for (const auto& name : names) {
    if (pieces_on(name) == nullptr) merged.emplace(name, merge_labelled(parts, name));
  }
  for (const Pieces& spec : pieces) {
    if (std::ranges::find(names, spec.axis) == names.end()) continue;
    const auto owners = merged.find(spec.of);
    if (owners == merged.end()) {
      throw core::InputError(fmt::format("this is no result of quantbound: it has no axis `{}`", spec.of),
                             parts.front().file);
    }
    merged.emplace(std::string(spec.axis), merge_pieces(parts, spec, owners->second));
  }
  for (const auto& name : names) all.axes.push_back(std::move(merged.at(name)));
  return all;
}

}  // namespace quantbound::sweep::detail
