#include "comparison.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quantbound/core/assert.hpp"

#include "threads.hpp"

namespace quantbound::observe::detail {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// 2-norm by numbers that neither overflow nor vanish. `scale` is the largest magnitude.
template <class Term>
double norm_2(std::size_t count, double scale, const Term& term) {
  if (scale == 0.0) return 0.0;
  double squares = 0.0;
  for (std::size_t i = 0; i < count; ++i) squares += (term(i) / scale) * (term(i) / scale);
  return scale * std::sqrt(squares);
}

}  // namespace

Index rank_of(std::span<const double> outputs, Index label) {
  if (label < 0 || label >= std::ssize(outputs)) return std::ssize(outputs);
  const double value = outputs[static_cast<std::size_t>(label)];
  Index before = 0;
  for (Index i = 0; i < std::ssize(outputs); ++i) {
    const double other = outputs[static_cast<std::size_t>(i)];
    before += other > value || (other == value && i < label) ? 1 : 0;
  }
  return before;
}

Winner winner(std::span<const double> outputs) {
  Winner result{.margin = infinity};
  for (Index i = 1; i < std::ssize(outputs); ++i) {
    const double ahead = outputs[static_cast<std::size_t>(result.output)] - outputs[static_cast<std::size_t>(i)];
    if (ahead < 0.0) {
      result = {.output = i, .margin = -ahead};  // all others are behind the one before
    } else {
      result.margin = std::min(result.margin, ahead);
    }
  }
  return result;
}

Comparison compare(std::span<const double> f, std::span<const double> f_q, Index label) {
  QUANTBOUND_ASSERT(f.size() == f_q.size(), f.size(), f_q.size());
  double largest = 0.0, size = 0.0;
  for (std::size_t i = 0; i < f.size(); ++i) {
    largest = std::max(largest, std::abs(f_q[i] - f[i]));
    size = std::max(size, std::abs(f[i]));
  }
  Comparison result{.deviation = largest};
  result.deviation_2 = norm_2(f.size(), largest, [&](std::size_t i) { return f_q[i] - f[i]; });
  const double norm = norm_2(f.size(), size, [&](std::size_t i) { return f[i]; });
  if (largest > 0.0) result.relative = norm > 0.0 ? result.deviation_2 / norm : infinity;
  const Winner first = winner(f);
  const Index rank = rank_of(f_q, label);
  result.correct = rank == 0;
  result.correct_top5 = rank < std::min<Index>(5, std::ssize(f_q));
  result.agree = first.output == winner(f_q).output;
  result.margin_exceeded = 2.0 * result.deviation >= first.margin;
  return result;
}

Comparisons::Comparisons(const SamplesView& samples, Index configurations)
    : samples_(samples),
      configurations_(configurations),
      comparisons_(static_cast<std::size_t>(configurations * samples.count())) {}

std::span<const double> Comparisons::part(std::span<const double> outputs, Index sample) const {
  return outputs.subspan(static_cast<std::size_t>(sample * output_size_), static_cast<std::size_t>(output_size_));
}

void Comparisons::set_reference(std::vector<double> outputs) {
  reference_ = std::move(outputs);
  output_size_ = std::ssize(reference_) / samples_.count();
  for (Index i = 0; i < samples_.count(); ++i) right_.push_back(rank_of(reference(i), samples_.label(i)) == 0);
}

void Comparisons::set(Index configuration, std::span<const double> outputs) {
  QUANTBOUND_ASSERT(outputs.size() == reference_.size(), outputs.size(), reference_.size());
  constexpr Index at_once = 64;
  const auto first = comparisons_.begin() + configuration * samples_.count();
  parallel_for((samples_.count() + at_once - 1) / at_once, [&](Index piece, std::size_t) {
    const Index end = std::min((piece + 1) * at_once, samples_.count());
    for (Index i = piece * at_once; i < end; ++i) first[i] = compare(reference(i), part(outputs, i), samples_.label(i));
  });
}

void Comparisons::replace(Index configuration, Index sample, std::span<const double> f, std::span<const double> f_q) {
  comparisons_[static_cast<std::size_t>(configuration * samples_.count() + sample)] =
      compare(f, f_q, samples_.label(sample));
}

RankingCounts Comparisons::count(Index configuration) const {
  RankingCounts counts;
  for (Index i = 0; i < samples_.count(); ++i) {
    const Comparison& comparison = at(configuration, i);
    const bool right = right_[static_cast<std::size_t>(i)];
    counts.correct += comparison.correct ? 1 : 0;
    counts.correct_top5 += comparison.correct_top5 ? 1 : 0;
    counts.agree += comparison.agree ? 1 : 0;
    counts.lost += right && !comparison.correct ? 1 : 0;
    counts.won += !right && comparison.correct ? 1 : 0;
    counts.margin_exceeded += comparison.margin_exceeded ? 1 : 0;
  }
  return counts;
}

void Comparisons::write(BlockObservation& result) const {
  for (const Comparison& comparison : comparisons_) {
    result.deviation.push_back(comparison.deviation);
    result.deviation_2.push_back(comparison.deviation_2);
    result.relative.push_back(comparison.relative);
  }
  for (Index c = 0; c < configurations_; ++c) result.counts.push_back(count(c));
  for (Index i = 0; i < samples_.count(); ++i) {
    const Index rank = rank_of(reference(i), samples_.label(i));
    result.correct_reference += rank == 0 ? 1 : 0;
    result.correct_top5_reference += rank < std::min<Index>(5, output_size_) ? 1 : 0;
  }
}

}  // namespace quantbound::observe::detail
