/// The loops over many weights on one grid: their levels, the error of rounding to them, and the range of the weights.
/// Once for every instruction set of this processor, with the same bits each time. The plain versions are
/// quantize_value (quantize.hpp), std::pow, std::min and std::max. Random numbers come from outside.
#pragma once

#include <array>
#include <span>

#include "quantbound/quantize/quantize.hpp"

namespace quantbound::quantize::detail {

/// A row's grid as a loop reads it: the levels k * step for whole numbers k from lowest to highest. @pre step > 0
struct Levels {
  double step = 1.0, lowest = 0.0, highest = 0.0;
};

/// result[i] = the level of weights[i], and whether all of them are finite. `uniforms`, one per weight, are read by
/// stochastic rounding alone. The arrays do not overlap.
using RoundingLoop = bool (*)(std::span<const double> weights, const double* uniforms, Levels levels, double* result);

/// Sum over the weights of |level - weight|^2.4, in units of step^2.4; anything above `limit` where it exceeds that.
/// Stochastic rounding counts as round to nearest. The order of summation is the same for every instruction set.
using ErrorLoop = double (*)(std::span<const double> weights, Levels levels, double limit);

/// Smallest and largest of the weights and zero; what is not a number does not count.
using RangeLoop = Range (*)(std::span<const double> weights);

struct InstructionSet {
  const char* name;
  std::array<RoundingLoop, 4> rounding;  ///< by Quantizer
  std::array<ErrorLoop, 4> error;        ///< by Quantizer
  RangeLoop range;

  RoundingLoop rounding_of(Quantizer quantizer) const { return rounding[static_cast<std::size_t>(quantizer)]; }
  ErrorLoop error_of(Quantizer quantizer) const { return error[static_cast<std::size_t>(quantizer)]; }
};

/// x^2.4 to about 1e-14 relative for x = 0 or x in [1e-100, 1e100], by operations whose bits do not depend on the
/// machine.
double power_2_4(double x);

/// Those of this processor, the fastest first.
std::span<const InstructionSet> instruction_sets();

}  // namespace quantbound::quantize::detail
