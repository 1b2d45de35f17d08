#include "merge_observations.hpp"

#include <algorithm>
#include <utility>

#include "quantbound/core/assert.hpp"

namespace quantbound::sweep::detail {

namespace {

using observe::Index;

/// Rows of equal length, from the parts to their places.
template <class Value, class Field>
std::vector<Value> rows(const std::vector<ObservedPart>& parts, std::size_t configurations, const Field& field) {
  std::vector<Value> result;
  for (const auto& part : parts) {
    const std::vector<Value>& values = field(part.observation);
    QUANTBOUND_ASSERT(values.size() % part.positions.size() == 0, values.size(), part.positions.size());
    const std::size_t length = values.size() / part.positions.size();
    result.resize(length * configurations);
    for (std::size_t i = 0; i < part.positions.size(); ++i) {
      const auto row = values.begin() + static_cast<Index>(i * length);
      std::copy_n(row, length, result.begin() + part.positions[i] * static_cast<Index>(length));
    }
  }
  return result;
}

}  // namespace

observe::BlockObservation merge(std::vector<ObservedPart> parts) {
  QUANTBOUND_ASSERT(!parts.empty());
  if (parts.size() == 1) return std::move(parts.front().observation);
  using observe::BlockObservation;
  using observe::LayerObservation;
  std::size_t configurations = 0;
  for (const auto& part : parts) configurations += part.positions.size();
  const auto& first = parts.front().observation;
  BlockObservation result{.samples = first.samples,
                          .correct_reference = first.correct_reference,
                          .correct_top5_reference = first.correct_top5_reference};
  result.layers.samples = first.layers.samples;
  for (const auto member : {&BlockObservation::deviation, &BlockObservation::deviation_2, &BlockObservation::relative,
                            &BlockObservation::error}) {
    result.*member = rows<double>(
        parts, configurations, [&](const auto& o) -> const auto& { return o.*member; });
  }
  for (const auto member : {&LayerObservation::deviation, &LayerObservation::input, &LayerObservation::input_deviation,
                            &LayerObservation::carried, &LayerObservation::local}) {
    result.layers.*member = rows<double>(
        parts, configurations, [&](const auto& o) -> const auto& { return o.layers.*member; });
  }
  result.in_double = rows<Index>(
      parts, configurations, [](const auto& o) -> const auto& { return o.in_double; });
  result.counts = rows<observe::RankingCounts>(
      parts, configurations, [](const auto& o) -> const auto& { return o.counts; });
  return result;
}

}  // namespace quantbound::sweep::detail
