/// The options of reconstruction methods for one network (docs/design.md 7): which method, the samples it is fitted to,
/// how long it works; and its run, with a line of progress, a checkpoint, and signals that end it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "quantbound/reconstruct/reconstruct.hpp"

#include "verb.hpp"

namespace quantbound::apps {

/// What --quantizer may be, in words.
inline constexpr const char* quantizer_words =
    "floor, round, truncate, stochastic, cle_round, gptq, adaround, brecq, qdrop, mrecg or mrecg_loss; cle_round is "
    "round after cross-layer equalization; those from gptq on are fitted to --samples";

void add_reconstruction_options(options::options_description& all);

/// How the weights are chosen.
struct WeightChoice {
  std::string label;                      ///< "brecq/channel/4"
  quantize::Configuration configuration;  ///< of methods: round to nearest
  reconstruct::Equalization equalization = reconstruct::Equalization::none;
  std::optional<reconstruct::Method> method;  ///< none: a rounding rule, weight by weight
};

/// Throws core::InputError for what is not known, and for options that the choice would not read.
WeightChoice read_weight_choice(const options::variables_map& values);

struct ReconstructionSettings {
  reconstruct::Options options;
  std::optional<std::filesystem::path> checkpoint;
  bool resume = false;
};
/// @pre choice.method
ReconstructionSettings read_reconstruction(const options::variables_map& values, const WeightChoice& choice);

/// Fits the method to --samples. A signal ends it early: result.stopped, and the checkpoint has the state.
/// @pre choice.method
reconstruct::Reconstruction run_reconstruction(const network::Network& network, const WeightChoice& choice,
                                               const options::variables_map& values,
                                               const ReconstructionSettings& settings);

}  // namespace quantbound::apps
