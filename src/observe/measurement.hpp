/// One block of samples measured: all variants in one arithmetic, the error that this may have made, and in double what
/// it does not resolve.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "comparison.hpp"
#include "evaluation.hpp"
#include "samples_view.hpp"
#include "shared_prefixes.hpp"
#include "variants.hpp"

namespace quantbound::observe::detail {

class Measurement {
 public:
  /// All arguments must outlive the object. @pre there are samples
  Measurement(const Graph& graph, const Variants& variants, const SamplesView& samples, Arithmetic arithmetic);

  /// Evaluates all variants.
  void run();
  /// Compares a few passes with passes in the other arithmetic.
  void estimate_error();
  /// Measures in double what float does not resolve.
  void refine();
  BlockObservation result() const;

  // Receiver of a SharedEvaluation.
  void alarm(Index variant, Index batch) const;
  template <class Real>
  void outputs(std::span<const Index> variants, std::span<const Real> values);

 private:
  template <class Evaluation>
  void run_in(std::span<const typename Evaluation::Real> inputs);

  void take(Index variant, std::vector<double> outputs);
  bool is_probed(Index variant) const;
  /// Outputs at the probed samples.
  std::vector<double> gather(std::span<const double> outputs) const;
  std::vector<double> probe_in_float(Index variant) const;
  std::vector<double> probe_in_double(Index variant) const;
  /// Outputs in double with these weights.
  std::vector<double> output(std::span<const LayerParameters> layers, Index sample) const;
  /// The weights of a variant in double, for as long as `use` runs.
  template <class Use>
  void with_weights(Index variant, const Use& use) const;
  double error(Index configuration, Arithmetic arithmetic) const;

  const Graph& graph_;
  const Variants& variants_;
  const SamplesView& samples_;
  Arithmetic arithmetic_;
  SharedPrefixes prefixes_;
  Batches batches_;
  Comparisons comparisons_;
  std::vector<double> largest_;  ///< output of each variant
  std::vector<Index> probed_samples_;
  std::map<Index, std::vector<double>> probed_outputs_;  ///< by variant, in the arithmetic of the measurement
  double kappa_ = 0.0;
  std::vector<Index> in_double_;  ///< per configuration
};

}  // namespace quantbound::observe::detail
