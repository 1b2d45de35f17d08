#include "observations.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quantbound/core/assert.hpp"
#include "quantbound/observe/confidence.hpp"
#include "quantbound/observe/error_propagation.hpp"

namespace quantbound::sweep::detail {

namespace {

using observe::LayerObservation;
using observe::SpillTable;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

double mean_of(const observe::Replay& values, Index count) {
  double sum = 0.0;
  values([&](std::span<const double> piece) {
    for (const double value : piece) sum += value;
  });
  return sum / static_cast<double>(count);
}

double mean_of(std::span<const double> values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// Ranks of the quantiles, then of the largest value.
std::vector<Index> wanted_ranks(Index count, std::span<const double> quantiles) {
  std::vector<Index> ranks;
  for (const double q : quantiles) ranks.push_back(observe::quantile_rank(count, q));
  ranks.push_back(count - 1);
  return ranks;
}

Distribution distribution(const SpillTable& table, Index row, std::span<const double> quantiles) {
  const observe::Replay values = table.row(row);
  Distribution result;
  result.quantiles = observe::order_statistics(values, table.columns(), wanted_ranks(table.columns(), quantiles));
  result.max = result.quantiles.back();
  result.quantiles.pop_back();
  result.mean = mean_of(values, table.columns());
  return result;
}

/// Upper confidence bounds of the quantiles; the error of the arithmetic is added.
std::vector<double> upper_bounds(const SpillTable& table, Index row, const Study& study, double error) {
  std::vector<double> bounds(study.quantiles.size(), nan);
  std::vector<Index> ranks;
  std::vector<std::size_t> places;
  for (std::size_t q = 0; q < study.quantiles.size(); ++q) {
    const auto rank = observe::quantile_upper_rank(table.columns(), study.quantiles[q], study.confidence);
    if (!rank) continue;
    ranks.push_back(*rank);
    places.push_back(q);
  }
  const auto values = observe::order_statistics(table.row(row), table.columns(), ranks);
  for (std::size_t i = 0; i < places.size(); ++i) bounds[places[i]] = values[i] + error;
  return bounds;
}

/// One field of one configuration over all blocks: layer x sample.
std::vector<double> gather(std::span<const LayerObservation> blocks, std::vector<double> LayerObservation::*field,
                           Index row, Index layers) {
  std::vector<double> values;
  for (Index l = 0; l < layers; ++l) {
    for (const LayerObservation& block : blocks) {
      const auto first = (block.*field).begin() + (row * layers + l) * block.samples;
      values.insert(values.end(), first, first + block.samples);
    }
  }
  return values;
}

double mean_ratio(std::span<const double> over, std::span<const double> under) {
  double sum = 0.0;
  for (std::size_t i = 0; i < over.size(); ++i) sum += under[i] > 0.0 ? over[i] / under[i] : 0.0;
  return sum / static_cast<double>(over.size());
}

/// The values at the positions of the samples inside the domain, NaN at the others.
std::vector<double> spread(const observe::Replay& inside, std::span<const Index> outside, Index count) {
  std::vector<double> all(index(count), 0.0);
  for (const Index position : outside) all[index(position)] = nan;
  auto next = all.begin();
  inside([&](std::span<const double> piece) {
    for (const double value : piece) {
      while (std::isnan(*next)) ++next;
      *next++ = value;
    }
  });
  return all;
}

void add_counts(observe::RankingCounts& sum, const observe::RankingCounts& part) {
  sum.correct += part.correct;
  sum.correct_top5 += part.correct_top5;
  sum.agree += part.agree;
  sum.lost += part.lost;
  sum.won += part.won;
  sum.margin_exceeded += part.margin_exceeded;
}

}  // namespace

Observations::Observations(const Plan& plan, Index network, Index samples, Index memory_bytes)
    : plan_(&plan),
      network_(&plan.networks[index(network)]),
      count_(plan.samples[index(samples)].count),
      memory_bytes_(memory_bytes) {}

Observations::Range& Observations::range_of(const Unit& unit) {
  const auto found = std::ranges::find(ranges_, unit.first, &Range::first);
  if (found != ranges_.end()) return *found;
  // Three tables, of as many rows as all configurations together.
  const Index budget = memory_bytes_ / 3 * unit.count / std::ssize(plan_->configurations);
  ranges_.push_back({.first = unit.first,
                     .count = unit.count,
                     .deviation = SpillTable(unit.count, budget),
                     .deviation_2 = SpillTable(unit.count, budget),
                     .relative = SpillTable(unit.count, budget),
                     .error = std::vector<double>(index(unit.count), 0.0),
                     .in_double = std::vector<Index>(index(unit.count), 0),
                     .counts = std::vector<observe::RankingCounts>(index(unit.count)),
                     .layers = {}});
  return ranges_.back();
}

void Observations::add(const Unit& unit, ObserveResult result) {
  Range& range = range_of(unit);
  if (range.samples != unit.first_sample) return;
  range.samples += unit.sample_count;
  auto& inside = result.inside;
  if (inside.samples > 0) {
    range.deviation.append(inside.deviation);
    range.deviation_2.append(inside.deviation_2);
    range.relative.append(inside.relative);
  }
  for (std::size_t c = 0; c < index(range.count); ++c) {
    range.error[c] = std::max(range.error[c], inside.error[c]);
    range.in_double[c] += inside.in_double[c];
    add_counts(range.counts[c], inside.counts[c]);
    add_counts(range.counts[c], result.outside.counts[c]);
  }
  range.set.inside += inside.samples;
  range.set.layer_samples += inside.layers.samples;
  range.set.correct += inside.correct_reference + result.outside.correct_reference;
  range.set.correct_top5 += inside.correct_top5_reference + result.outside.correct_top5_reference;
  for (const Index position : result.outside_positions) range.outside.push_back(unit.first_sample + position);
  if (inside.layers.samples > 0) range.layers.push_back(std::move(inside.layers));
}

const Observations::Range* Observations::find_range(Index configuration) const {
  const auto found = std::ranges::find_if(ranges_, [&](const Range& range) {
    return configuration >= range.first && configuration < range.first + range.count;
  });
  return found == ranges_.end() ? nullptr : &*found;
}

bool Observations::complete(Index configuration) const {
  const Range* range = find_range(configuration);
  return range != nullptr && range->samples == count_;
}

std::optional<SetSummary> Observations::set() const {
  const auto whole = std::ranges::find(ranges_, count_, &Range::samples);
  return whole == ranges_.end() ? std::nullopt : std::optional(whole->set);
}

std::vector<LayerSummary> Observations::summarize_layers(const Range& range, Index row,
                                                         ObservationSummary& summary) const {
  const Index layers = std::ssize(network_->layers);
  const auto field = [&](std::vector<double> LayerObservation::*member) {
    return gather(range.layers, member, row, layers);
  };
  const auto deviation = field(&LayerObservation::deviation), input = field(&LayerObservation::input);
  const auto input_deviation = field(&LayerObservation::input_deviation);
  const auto carried = field(&LayerObservation::carried), local = field(&LayerObservation::local);
  const std::size_t samples = deviation.size() / index(layers);
  if (samples == 0) return {};
  const observe::LayerTerms terms{.layers = layers,
                                  .samples = static_cast<Index>(samples),
                                  .input = input,
                                  .input_deviation = input_deviation,
                                  .carried = carried,
                                  .local = local};
  const auto propagated = observe::propagate_errors(network_->graph, terms);
  const double confidence = plan_->study.confidence;
  if (propagated) summary.cantelli_global = observe::cantelli_upper(propagated->output, confidence);
  summary.cantelli_layerwise = observe::layerwise_cantelli(network_->graph, terms, confidence).value_or(nan);

  std::vector<LayerSummary> result;
  for (std::size_t l = 0; l < index(layers); ++l) {
    const auto of = [&](const std::vector<double>& values) { return std::span(values).subspan(l * samples, samples); };
    result.push_back({.max = *std::ranges::max_element(of(deviation)),
                      .mean = mean_of(of(deviation)),
                      .amplification = mean_ratio(of(carried), of(input_deviation)),
                      .ratio = mean_ratio(of(local), of(input)),
                      .local = mean_of(of(local)),
                      .share = propagated ? mean_of(of(propagated->share)) : nan});
  }
  return result;
}

ObservationSummary Observations::summarize(Index configuration) const {
  QUANTBOUND_ASSERT(complete(configuration), configuration);
  const Range& range = *find_range(configuration);
  const Index row = configuration - range.first;
  const Study& study = plan_->study;
  ObservationSummary summary{.error = range.error[index(row)],
                             .in_double = range.in_double[index(row)],
                             .counts = range.counts[index(row)],
                             .cantelli_global = nan,
                             .cantelli_layerwise = nan};
  if (range.set.inside == 0) return summary;
  summary.deviation = distribution(range.deviation, row, study.quantiles);
  summary.deviation_2 = distribution(range.deviation_2, row, study.quantiles);
  summary.relative = distribution(range.relative, row, study.quantiles);
  summary.quantiles_upper = upper_bounds(range.deviation, row, study, summary.error);
  summary.layers = summarize_layers(range, row, summary);
  if (study.per_sample) summary.per_sample = spread(range.deviation.row(row), range.outside, count_);
  return summary;
}

}  // namespace quantbound::sweep::detail
