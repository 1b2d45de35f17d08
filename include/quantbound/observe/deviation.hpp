/// Deviations measured on samples: f_q(x) - f(x) in three norms, for every configuration, with one pass of f per block;
/// what quantization does to rankings; and, on some samples, what every layer adds and carries on: the terms of
///     Delta_l = W_l Delta_{l-1} + (W_l - W'_l) S'_{l-1} + b_l - b'_l     (docs/theory.md 1.6, arXiv 2610.09877).
/// A lower bound of the supremum over the domain, never more. What float arithmetic can do to a deviation is estimated
/// by comparing some passes with double ones: an estimate, not a bound.
#pragma once

#include <functional>
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

/// Arithmetic of the forward passes. automatic: double where the network is small; else float, and samples whose
/// deviation is near the float error are measured again in double.
enum class Precision { automatic, float32, float64 };
/// "auto", "float", "double"
std::string_view to_string(Precision precision);

/// W' and b' of a weight layer of f_q, equal ones at every call; called by several threads at once.
using LayerSource = std::function<LayerParameters(Index layer)>;
/// Of every configuration: the layers rounded as it says. The layers must outlive the sources.
std::vector<LayerSource> rounding_sources(std::span<const LayerParameters> layers,
                                          std::span<const Configuration> configurations);

struct ObserveOptions {
  Precision precision = Precision::automatic;
  Index layer_samples = 0;  ///< so many first samples of the block are measured layer by layer, too
};

/// What layers did on the layer samples: configuration x weight layer x layer sample. All are 2-norms but `deviation`.
struct LayerObservation {
  Index samples = 0;
  std::vector<double> deviation;        ///< inf-norm of f_q - f at Graph::measured_output
  std::vector<double> input;            ///< ||S'_{l-1}||: the layer's input in f_q
  std::vector<double> input_deviation;  ///< ||Delta_{l-1}|| = ||S_{l-1} - S'_{l-1}||
  std::vector<double> carried;          ///< ||W_l Delta_{l-1}||
  std::vector<double> local;            ///< ||(W_l - W'_l) S'_{l-1} + b_l - b'_l||
};

/// Counts of samples. Equal outputs rank in their order.
struct RankingCounts {
  Index correct = 0;          ///< f_q ranks the label first
  Index correct_top5 = 0;     ///< f_q ranks the label among the first five
  Index agree = 0;            ///< f and f_q rank the same output first
  Index lost = 0, won = 0;    ///< f is right and f_q wrong; the other way round
  Index margin_exceeded = 0;  ///< the deviation is at least half of f's margin (largest minus second largest output):
                              ///< only there a deviation of its size can change the class
  bool operator==(const RankingCounts&) const = default;
};

/// What one block of samples says.
struct BlockObservation {
  Index samples = 0;
  std::vector<double> deviation;      ///< configuration x sample: inf-norm of f_q - f
  std::vector<double> deviation_2;    ///< the same in the 2-norm
  std::vector<double> relative;       ///< 2-norm over that of f; 0 where both are 0, +inf where f alone is 0
  std::vector<double> error;          ///< per configuration: how far rounding may have moved a deviation (estimate); 0
                                      ///< where all weights of f_q are those of f
  std::vector<Index> in_double;       ///< per configuration: samples measured in double
  std::vector<RankingCounts> counts;  ///< per configuration
  Index correct_reference = 0, correct_top5_reference = 0;  ///< of f
  LayerObservation layers;
};

/// Measures `inputs` (samples x input elements) on the networks whose weights the sources give: what is said above of a
/// configuration holds for a source. `labels` is empty or one per sample. Uses the OpenMP threads of the caller; the
/// result does not depend on their number. Throws core::NumericalError where a value overflows.
BlockObservation observe(const Graph& graph, std::span<const LayerParameters> layers,
                         std::span<const LayerSource> quantized, std::span<const double> inputs,
                         std::span<const Index> labels, const ObserveOptions& options);
/// The same of configurations.
BlockObservation observe(const Graph& graph, std::span<const LayerParameters> layers,
                         std::span<const Configuration> configurations, std::span<const double> inputs,
                         std::span<const Index> labels, const ObserveOptions& options);

/// Whether observe() measures this graph in double throughout.
bool runs_in_double(const Graph& graph, Precision precision);

/// Samples that one engine takes at once: chosen from the graph alone, so that bits never depend on threads.
Index micro_batch(const Graph& graph);

/// Bytes that observe() takes besides its arguments and its result.
struct ObserveMemory {
  Index per_thread = 0, shared = 0;
};
ObserveMemory observe_memory(const Graph& graph, Index configurations, Index samples, const ObserveOptions& options);

}  // namespace quantbound::observe
