#include "quantbound/sweep/study_quantizer.hpp"

#include <array>

namespace quantbound::sweep {

namespace {

using quantize::Quantizer;
using reconstruct::Method;

constexpr std::array rounding_rules{Quantizer::floor, Quantizer::round, Quantizer::truncate, Quantizer::stochastic};
constexpr std::string_view equalized_rounding = "cle_round";

}  // namespace

std::vector<std::string> quantizer_names() {
  std::vector<std::string> names;
  for (const Quantizer rule : rounding_rules) names.emplace_back(to_string(rule));
  names.emplace_back(equalized_rounding);
  return names;
}

std::optional<StudyQuantizer> parse_study_quantizer(std::string_view name) {
  if (const auto rule = quantize::parse_quantizer(name)) {
    return StudyQuantizer{.name = std::string(name), .rounding = *rule, .method = std::nullopt};
  }
  if (name == equalized_rounding) return StudyQuantizer{.name = std::string(name), .method = Method::round};
  return std::nullopt;
}

}  // namespace quantbound::sweep
