/// Spearman's rank correlation of paired values, with an approximate confidence interval: Fisher's z with the variance
/// (1 + rho^2 / 2) / (n - 3) of Bonett and Wright (Psychometrika 65, 2000, 23-28), good for |rho| up to about 0.9 and
/// some ten pairs or more. For exact +-1 the interval shrinks to the point: the approximation knows no better.
#pragma once

#include <optional>
#include <span>
#include <vector>

namespace quantbound::reconstruct {

/// Ranks from 1; equal values share the mean of theirs. @pre no NaN
std::vector<double> mid_ranks(std::span<const double> values);

struct RankCorrelation {
  double rho = 0.0;
  double low = 0.0, high = 0.0;  ///< ends of the interval
};
/// Nothing for fewer than four pairs, or where one side has one value only. @pre no NaN; 0 < confidence < 1
std::optional<RankCorrelation> rank_correlation(std::span<const double> x, std::span<const double> y,
                                                double confidence = 0.95);

}  // namespace quantbound::reconstruct
