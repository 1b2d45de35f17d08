/// One position of the axis `quantizer` (docs/design.md 2): a rounding rule, which works on every weight alone, or a
/// reconstruction method, which is fitted to calibration samples (docs/theory.md 7).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quantbound/quantize/configuration.hpp"
#include "quantbound/reconstruct/reconstruct.hpp"

namespace quantbound::sweep {

struct StudyQuantizer {
  std::string name;  ///< the label on the axis
  /// Of a rounding rule the rule itself. Methods start from round to nearest, and round quantized biases so.
  quantize::Quantizer rounding = quantize::Quantizer::round;
  std::optional<reconstruct::Method> method;  ///< none: a rounding rule
  bool operator==(const StudyQuantizer&) const = default;
};

/// Every name that the axis may have: the rounding rules, the methods, and "cle_round": round to nearest after
/// cross-layer equalization.
std::vector<std::string> quantizer_names();
std::optional<StudyQuantizer> parse_study_quantizer(std::string_view name);

/// What the method of a configuration with this seed works with, of what all share. @pre quantizer.method
reconstruct::Options options_of(const StudyQuantizer& quantizer, const reconstruct::Options& shared,
                                std::uint64_t seed);

}  // namespace quantbound::sweep
