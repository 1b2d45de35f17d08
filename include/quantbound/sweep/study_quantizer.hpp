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

/// By which method the modules are measured: its own, or of the rule "round", the baseline of all, the method round.
/// None: the rule has no modules.
std::optional<reconstruct::Method> module_method(const StudyQuantizer& quantizer);
/// What that method works with in a configuration with this seed: of what all methods of a study share, what it reads.
/// @pre module_method(quantizer)
reconstruct::Options options_of(const StudyQuantizer& quantizer, const reconstruct::Options& shared,
                                std::uint64_t seed);

}  // namespace quantbound::sweep
