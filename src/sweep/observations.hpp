/// What the blocks of samples say of one network, put together in the order of the samples, whoever measured them:
/// order statistics, means, counts, what the layers did. Used by assemble.cpp only.
#pragma once

#include <optional>
#include <vector>

#include "quantbound/observe/order_statistics.hpp"
#include "quantbound/sweep/plan.hpp"
#include "quantbound/sweep/record.hpp"

namespace quantbound::sweep::detail {

/// Largest, mean and the quantiles of the study of one kind of deviation.
struct Distribution {
  double max = 0.0, mean = 0.0;
  std::vector<double> quantiles;
};

/// Of one weight layer, over the layer samples; NaN where the graph has no rule (docs/theory.md 1.6).
struct LayerSummary {
  double max = 0.0, mean = 0.0;                          ///< of the inf-norm deviation after the layer
  double amplification = 0.0, ratio = 0.0, local = 0.0;  ///< means of X_l, Y_l and of the local term
  double share = 0.0;                                    ///< mean part of the propagated error that the layer causes
};

/// What one configuration did on one sample set.
struct ObservationSummary {
  Distribution deviation, deviation_2, relative;  ///< of the samples inside the domain
  std::vector<double> quantiles_upper;            ///< NaN: too few samples
  double error = 0.0;
  Index in_double = 0;
  observe::RankingCounts counts;  ///< of all samples
  std::vector<LayerSummary> layers;
  double cantelli_global = 0.0, cantelli_layerwise = 0.0;  ///< NaN: none
  std::vector<double> per_sample;                          ///< of the set, NaN outside the domain; empty unless wanted
};

/// What is the same for all configurations.
struct SetSummary {
  Index inside = 0;                     ///< samples in the domain
  Index layer_samples = 0;              ///< those among them that were measured layer by layer
  Index correct = 0, correct_top5 = 0;  ///< by f, of all samples
};

/// One sample set on one network.
class Observations {
 public:
  /// Keeps deviations in memory up to `memory_bytes`, beyond in a temporary file. The plan must outlive it.
  Observations(const Plan& plan, Index network, Index samples, Index memory_bytes);
  /// The units of every range of configurations come in the order of their samples; where one is missing, because it
  /// failed, the range stays incomplete.
  void add(const Unit& unit, ObserveResult result);

  /// What does not depend on the configuration; nothing where no range is complete.
  std::optional<SetSummary> set() const;
  /// Whether all units of the configuration were added.
  bool complete(Index configuration) const;
  /// @pre complete(configuration)
  ObservationSummary summarize(Index configuration) const;

 private:
  /// Configurations that were measured together.
  struct Range {
    Index first = 0, count = 0;
    Index samples = 0;  ///< seen so far, without gaps
    SetSummary set;
    std::vector<Index> outside;  ///< positions in the set
    observe::SpillTable deviation, deviation_2, relative;
    std::vector<double> error;
    std::vector<Index> in_double;
    std::vector<observe::RankingCounts> counts;
    std::vector<observe::LayerObservation> layers;  ///< block after block
  };
  Range& range_of(const Unit& unit);
  const Range* find_range(Index configuration) const;
  std::vector<LayerSummary> summarize_layers(const Range& range, Index row, ObservationSummary& summary) const;

  const Plan* plan_;
  const PlannedNetwork* network_;
  Index count_, memory_bytes_;  ///< samples of the set; bytes for all tables
  std::vector<Range> ranges_;
};

}  // namespace quantbound::sweep::detail
