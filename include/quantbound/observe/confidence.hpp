/// What independent samples prove about the distribution they come from, whatever that distribution is: upper
/// confidence bounds of quantiles (order statistics), of the fraction above the largest sample, and of proportions
/// (Clopper and Pearson, Biometrika 26, 1934). docs/statistics.md says for whom they hold.
///
/// Every claim is on the safe side: binomial probabilities are enclosed, with all rounding errors counted and no
/// library function but + * /, and a rank or fraction is returned only where the enclosure proves it. The arguments
/// mean exactly the doubles given. One claim at a time: several at once need their failure probabilities added up.
#pragma once

#include <optional>

#include "quantbound/tensor/shape.hpp"

namespace quantbound::observe {

using tensor::Index;

/// Proved bounds of a probability.
struct Probability {
  double low = 0.0, high = 1.0;
};

/// Enclose P(Bin(n, p) <= k) and P(Bin(n, p) > k). For p of at least 1e-120 and probabilities of at least 1e-300 the
/// relative width is at most 2e-15 (4 + the number of terms that matter): near 1e-10 for n = 1e7, in the tails too.
/// @pre 0 <= n <= 2^31, 0 <= p <= 1
Probability binomial_at_most(Index k, Index n, double p);
Probability binomial_above(Index k, Index n, double p);

/// P(Bin(n, p) <= k): the middle of binomial_at_most. @pre as there
double binomial_cdf(Index k, Index n, double p);

/// 0-based rank, in increasing order of n samples, of the one that is an upper confidence bound of the q-quantile: the
/// smallest k with P(Bin(n, q) <= k) >= confidence. Nothing where not even the largest sample is one: no sample bounds
/// the supremum, q = 1. A probability that equals `confidence` to within the enclosure counts as below it.
/// @pre 0 <= n <= 2^31, 0 <= q <= 1, 0 < confidence < 1
std::optional<Index> quantile_upper_rank(Index n, double q, double confidence);

/// Smallest n for which quantile_upper_rank gives a rank: 1 - q^n >= confidence. (Beyond 2^31 a few parts in 1e9 more.)
/// @pre 0 < q < 1, 0 < confidence < 1
Index samples_needed(double q, double confidence);

/// With this confidence at most this fraction of the population exceeds the largest of n samples:
/// 1 - (1 - confidence)^(1/n), rounded up. 1 without samples.
/// @pre n >= 0, 0 < confidence < 1
double exceedance_upper(Index n, double confidence);

/// Upper confidence bound of a proportion of which n independent trials showed `successes` (Clopper-Pearson): the p
/// with P(Bin(n, p) <= successes) = 1 - confidence, rounded up. 1 where successes == n.
/// @pre 0 <= successes <= n <= 2^31, 0 < confidence < 1
double fraction_upper(Index successes, Index n, double confidence);

}  // namespace quantbound::observe
