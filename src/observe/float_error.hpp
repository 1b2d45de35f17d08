/// How far the arithmetic may have moved a measured deviation: an estimate from passes in both arithmetics.
///
/// At a few samples of the block f and a few configurations are evaluated in float and in double. kappa is the largest
/// difference in units of the float rounding 2^-24 times the largest output of the variant on the block. A deviation in
/// arithmetic of unit roundoff u then has the error
///     safety * kappa * u * (max |f| + max |f_q|),      u = 2^-24 or 2^-53:
/// the passes in double are the same sums of the same numbers, rounded by so much less.
#pragma once

#include <span>
#include <vector>

#include "quantbound/observe/deviation.hpp"

namespace quantbound::observe::detail {

/// The outputs of one variant at the probed samples.
struct Probe {
  std::vector<double> in_float, in_double;
  double largest = 0.0;  ///< |output| of the variant on the block
};

/// Factor of errors against the unit roundoff; at least `least_kappa`.
double kappa(std::span<const Probe> probes);

double deviation_error(double kappa, double roundoff, double largest_f, double largest_f_q);

/// A deviation that is not so many times its error is measured again in double.
constexpr double well_resolved = 8.0;

/// Which of so many configurations are probed on a block of so many samples: evenly spread, more of them where the
/// measurement itself takes long.
std::vector<Index> probed_configurations(Index configurations, Index samples);
/// Which samples are probed, given the largest output of f at each: the one where it is largest, and where double costs
/// little some more, evenly spread over the order of that size.
std::vector<Index> probed_samples(std::span<const double> largest, Index multiply_adds);

}  // namespace quantbound::observe::detail
