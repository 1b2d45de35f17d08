/// What a method gets to see of one module: its graph, its layers in f, their grids, and the values of all calibration
/// samples before and behind it. And what it gives back: weights on the grids, with what they make of the quantized
/// prefix.
#pragma once

#include <span>
#include <vector>

#include "quantbound/quantize/quantize.hpp"
#include "quantbound/reconstruct/reconstruct.hpp"

namespace quantbound::reconstruct::detail {

struct ModuleProblem {
  Module module;
  Graph graph;                                    ///< of the module
  std::vector<LayerParameters> original;          ///< its layers in f
  std::vector<quantize::Configuration> settings;  ///< of each layer
  std::vector<quantize::LayerGrids> grids;
  Index samples = 0;
  std::span<const float> original_input, quantized_input, target;  ///< samples x elements
};

/// Weights of a module's layers, what the module makes of the quantized prefix with them, and how far that is from f.
struct Candidate {
  std::vector<LayerParameters> layers;
  std::vector<float> output;
  double loss = 0.0;
};

/// Every weight to nearest.
std::vector<std::vector<double>> rounded_weights(const ModuleProblem& problem);

/// Gives the weights their biases, corrected or not and quantized where the configuration says so, and measures.
Candidate make_candidate(const ModuleProblem& problem, std::vector<std::vector<double>> weights,
                         BiasCorrection correction);

}  // namespace quantbound::reconstruct::detail
