/// The loops over many weights on one grid: their levels and their range, for every instruction set of this processor
/// and with the same bits for each. quantize_value (quantize.hpp) is the plain version of the first, std::min and
/// std::max of the second. Random numbers come from outside.
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

/// Smallest and largest of the weights and zero; what is not a number does not count.
using RangeLoop = Range (*)(std::span<const double> weights);

struct InstructionSet {
  const char* name;
  std::array<RoundingLoop, 4> rounding;  ///< by Quantizer
  RangeLoop range;

  RoundingLoop rounding_of(Quantizer quantizer) const { return rounding[static_cast<std::size_t>(quantizer)]; }
};

/// Those of this processor, the fastest first.
std::span<const InstructionSet> instruction_sets();

}  // namespace quantbound::quantize::detail
