#include "quantbound/reconstruct/selection.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/random.hpp"

namespace quantbound::reconstruct {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

constexpr double impossible = -std::numeric_limits<double>::infinity();

/// What joining modules i and i + 1 is worth; `impossible` where it may not be.
std::vector<double> gains_of(std::span<const double> measure, std::span<const std::uint8_t> may_join) {
  QUANTBOUND_ASSERT(measure.size() == may_join.size() + 1, measure.size(), may_join.size());
  std::vector<double> gains;
  for (std::size_t i = 0; i < may_join.size(); ++i) {
    QUANTBOUND_ASSERT(std::isfinite(measure[i]) && std::isfinite(measure[i + 1]), i, measure[i], measure[i + 1]);
    const double difference = measure[i] - measure[i + 1];
    gains.push_back(may_join[i] != 0 ? difference * difference : impossible);
  }
  return gains;
}

/// lambda (joins - k)^2 for every number of joins.
class Penalty {
 public:
  Penalty(std::span<const double> gains, const SelectionOptions& options)
      : wanted_(options.k > 0 ? options.k : std::max<Index>(std::ssize(gains) / 4, 1)) {
    QUANTBOUND_ASSERT(options.penalty >= 0.0 && options.k >= 0, options.penalty, options.k);
    for (const double gain : gains) lambda_ = std::min(lambda_, -options.penalty * std::max(gain, 0.0));
  }
  double operator()(Index joins) const {
    const auto missing = static_cast<double>(joins - wanted_);
    return lambda_ * missing * missing;
  }

 private:
  Index wanted_;
  double lambda_ = 0.0;
};

/// The largest sum of gains of exactly `joins` joins among modules i, i + 1, ..., where module i ends a run of `length`
/// so far.
class BestSums {
 public:
  BestSums(std::span<const double> gains, Index longest_run)
      : gains_(gains), longest_(longest_run), joins_(std::ssize(gains) + 1) {
    QUANTBOUND_ASSERT(longest_run >= 1, longest_run);
    sums_.assign(at((std::ssize(gains) + 1) * longest_ * joins_), impossible);
    for (Index length = 1; length <= longest_; ++length) sum(std::ssize(gains), length, 0) = 0.0;
    for (Index i = std::ssize(gains) - 1; i >= 0; --i)
      for (Index length = 1; length <= longest_; ++length)
        for (Index joins = 0; joins < joins_; ++joins)
          sum(i, length, joins) = std::max(apart(i, joins), together(i, length, joins));
  }

  double best(Index joins) const { return sums_[place(0, 1, joins)]; }

  /// The runs of best(joins); the earliest joins where several are as good.
  std::vector<Index> runs(Index joins) const {
    std::vector<Index> runs{1};
    for (Index i = 0; i < std::ssize(gains_); ++i) {
      const double joined = together(i, runs.back(), joins);
      if (joined > impossible && joined >= apart(i, joins)) {
        ++runs.back();
        --joins;
      } else {
        runs.push_back(1);
      }
    }
    return runs;
  }

 private:
  double apart(Index i, Index joins) const { return sums_[place(i + 1, 1, joins)]; }
  double together(Index i, Index length, Index joins) const {
    if (length == longest_ || joins == 0 || gains_[at(i)] == impossible) return impossible;
    return gains_[at(i)] + sums_[place(i + 1, length + 1, joins - 1)];
  }
  std::size_t place(Index i, Index length, Index joins) const {
    return at((i * longest_ + length - 1) * joins_ + joins);
  }
  double& sum(Index i, Index length, Index joins) { return sums_[place(i, length, joins)]; }

  std::span<const double> gains_;
  Index longest_, joins_;
  std::vector<double> sums_;
};

}  // namespace

std::vector<Index> select_runs(std::span<const double> measure, std::span<const std::uint8_t> may_join,
                               const SelectionOptions& options) {
  const std::vector<double> gains = gains_of(measure, may_join);
  const BestSums sums(gains, std::min<Index>(options.longest_run, std::ssize(measure)));
  const Penalty penalty(gains, options);
  Index joins = 0;
  double best = sums.best(0) + penalty(0);
  for (Index more = 1; more <= std::ssize(gains); ++more) {
    const double value = sums.best(more) + penalty(more);
    if (value > best) {
      best = value;
      joins = more;
    }
  }
  return sums.runs(joins);
}

double selection_value(std::span<const double> measure, std::span<const std::uint8_t> may_join,
                       std::span<const Index> runs, const SelectionOptions& options) {
  QUANTBOUND_ASSERT(std::accumulate(runs.begin(), runs.end(), Index{0}) == std::ssize(measure), runs.size());
  const std::vector<double> gains = gains_of(measure, may_join);
  double sum = 0.0;
  Index end = std::ssize(measure);
  for (std::size_t run = runs.size(); run > 0; --run) {  // from the back, as the optimum is summed
    QUANTBOUND_ASSERT(runs[run - 1] >= 1 && runs[run - 1] <= options.longest_run, run, runs[run - 1]);
    const Index first = end - runs[run - 1];
    for (Index i = end - 2; i >= first; --i) sum += gains[at(i)];
    end = first;
  }
  return sum + Penalty(gains, options)(std::ssize(measure) - std::ssize(runs));
}

std::vector<Index> random_runs(std::span<const std::uint8_t> may_join, Index longest_run, std::uint64_t seed,
                               Index draw) {
  QUANTBOUND_ASSERT(longest_run >= 1 && draw >= 0, longest_run, draw);
  const Index modules = std::ssize(may_join) + 1;
  const auto fits = [&](Index first, Index length) {
    return length <= longest_run && first + length <= modules && (length == 1 || may_join[at(first + length - 2)] != 0);
  };
  // growth[i]: schemes of modules i, i + 1, ... divided by those of i + 1, ...; the quotients do not overflow.
  std::vector<double> growth(at(modules), 1.0);
  const auto weights = [&](Index first) {  // of the lengths that a run at `first` can have, relative to length 1
    std::vector<double> of_length{1.0};
    while (fits(first, std::ssize(of_length) + 1))
      of_length.push_back(of_length.back() / growth[at(first + std::ssize(of_length))]);
    return of_length;
  };
  for (Index first = modules - 1; first >= 0; --first) {
    const std::vector<double> of_length = weights(first);
    growth[at(first)] = std::accumulate(of_length.begin(), of_length.end(), 0.0);
  }
  const core::RandomStream random(seed, "module runs", static_cast<std::uint64_t>(draw));
  std::vector<Index> runs;
  for (Index first = 0; first < modules; first += runs.back()) {
    const std::vector<double> of_length = weights(first);
    double left = random.uniform(static_cast<std::uint64_t>(first)) * growth[at(first)];
    std::size_t length = 1;
    for (; length < of_length.size() && left >= of_length[length - 1]; ++length) left -= of_length[length - 1];
    runs.push_back(static_cast<Index>(length));
  }
  return runs;
}

}  // namespace quantbound::reconstruct
