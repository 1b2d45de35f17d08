#include "quantbound/sweep/study_quantizer.hpp"

#include <algorithm>
#include <array>

namespace quantbound::sweep {

namespace {

using quantize::Quantizer;
using reconstruct::Method;

constexpr std::array rounding_rules{Quantizer::floor, Quantizer::round, Quantizer::truncate, Quantizer::stochastic};
constexpr std::array methods{Method::gptq,  Method::adaround, Method::brecq,
                             Method::qdrop, Method::mrecg,    Method::mrecg_loss};
constexpr std::string_view equalized_rounding = "cle_round";

}  // namespace

std::vector<std::string> quantizer_names() {
  std::vector<std::string> names;
  for (const Quantizer rule : rounding_rules) names.emplace_back(to_string(rule));
  names.emplace_back(equalized_rounding);
  for (const Method method : methods) names.emplace_back(to_string(method));
  return names;
}

std::optional<StudyQuantizer> parse_study_quantizer(std::string_view name) {
  if (const auto rule = quantize::parse_quantizer(name)) {
    return StudyQuantizer{.name = std::string(name), .rounding = *rule, .method = std::nullopt};
  }
  if (name == equalized_rounding) return StudyQuantizer{.name = std::string(name), .method = Method::round};
  const auto method = std::ranges::find(methods, name, [](Method m) { return to_string(m); });
  if (method == methods.end()) return std::nullopt;
  return StudyQuantizer{.name = std::string(name), .method = *method};
}

std::optional<Method> module_method(const StudyQuantizer& quantizer) {
  if (quantizer.method) return quantizer.method;
  return quantizer.rounding == Quantizer::round ? std::optional(Method::round) : std::nullopt;
}

reconstruct::Options options_of(const StudyQuantizer& quantizer, const reconstruct::Options& shared,
                                std::uint64_t seed) {
  const Method method = *module_method(quantizer);
  const bool by_layers = method == Method::gptq || method == Method::adaround;
  reconstruct::Options options = shared;
  options.seed = seed;
  if (by_layers) options.named.clear();
  if (by_layers || method == Method::round) options.weighting = reconstruct::Weighting::none;
  if (by_layers || method == Method::round || method == Method::mrecg_loss) {
    options.runs.clear();
    options.joining = reconstruct::Joining::by_method;
  }
  if (!quantizer.method) {
    options.equalization = reconstruct::Equalization::none;
    options.bias_absorption.reset();
    options.bias_correction = reconstruct::BiasCorrection::none;
  }
  if (quantizer.name == equalized_rounding) options.equalization = reconstruct::Equalization::cross_layer;
  return options;
}

}  // namespace quantbound::sweep
