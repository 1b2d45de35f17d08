/// Deviations measured on samples: |f_q(x) - f(x)| in the inf-norm over outputs, for every configuration, with one pass
/// of f per block. A lower bound of the supremum over the domain, never more. Layer deviations are taken at
/// Graph::measured_output (after the activation that follows a weight layer).
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "quantbound/network/network.hpp"
#include "quantbound/quantize/configuration.hpp"

namespace quantbound::observe {

using network::Graph;
using network::Index;
using network::LayerParameters;
using quantize::Configuration;

/// Arithmetic of the forward passes. float32 carries errors of about 1e-6 of the largest output.
enum class Precision { float32, float64 };
std::string_view to_string(Precision precision);

/// What one block of samples says, per configuration.
struct BlockObservation {
  Index samples = 0;
  std::vector<double> deviation;  ///< configuration x sample
  std::vector<double> layer_max;  ///< configuration x weight layer
  std::vector<Index> correct;     ///< per configuration: samples where f_q ranks the label first
  std::vector<Index> agree;       ///< per configuration: samples where f and f_q rank the same output first
  Index correct_reference = 0;    ///< samples where f ranks the label first
};

/// Elements of the measured outputs of all weight layers, for one sample: what is compared besides the output.
Index captured_elements(const Graph& graph);
/// Samples that are evaluated together by one engine: chosen from the graph alone, so that bits never depend on
/// threads.
Index micro_batch(const Graph& graph);
/// Samples of one block: as many as keep the stored layer outputs of f near 256 MiB. A multiple of micro_batch.
Index block_size(const Graph& graph);

/// Measures `inputs` (samples x input elements). `labels` is empty or one per sample.
/// Uses the OpenMP threads of the caller; the result does not depend on their number.
BlockObservation observe(const Graph& graph, std::span<const LayerParameters> layers,
                         std::span<const Configuration> configurations, std::span<const double> inputs,
                         std::span<const Index> labels, Precision precision);

}  // namespace quantbound::observe
