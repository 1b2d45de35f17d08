/// What the outputs of f and f_q say: how far apart they are, and how they rank the labels.
#pragma once

#include <span>
#include <vector>

#include "quantbound/observe/deviation.hpp"

#include "samples_view.hpp"

namespace quantbound::observe::detail {

/// Position of the label when outputs are sorted, largest first and equal ones in their order; the number of outputs
/// where there is no such label.
Index rank_of(std::span<const double> outputs, Index label);

/// The largest output, the first one where several are, and by how much it exceeds all others (+inf for one output).
struct Winner {
  Index output = 0;
  double margin = 0.0;
};
Winner winner(std::span<const double> outputs);

/// f and f_q at one sample.
struct Comparison {
  double deviation = 0.0, deviation_2 = 0.0, relative = 0.0;
  bool correct = false, correct_top5 = false;  ///< of f_q
  bool agree = false, margin_exceeded = false;
};
/// @pre outputs are finite, and so are their differences
Comparison compare(std::span<const double> f, std::span<const double> f_q, Index label);

/// The comparisons of all configurations on one block.
class Comparisons {
 public:
  Comparisons(const SamplesView& samples, Index configurations);

  /// Outputs of f, samples x elements: before those of any f_q.
  void set_reference(std::vector<double> outputs);
  std::span<const double> reference(Index sample) const { return part(reference_, sample); }
  /// Outputs of f_q on the whole block.
  void set(Index configuration, std::span<const double> outputs);
  /// Measures one sample anew: both outputs from better arithmetic.
  void replace(Index configuration, Index sample, std::span<const double> f, std::span<const double> f_q);

  double deviation(Index configuration, Index sample) const { return at(configuration, sample).deviation; }
  /// Fills what only the comparisons decide.
  void write(BlockObservation& result) const;

 private:
  const Comparison& at(Index configuration, Index sample) const {
    return comparisons_[static_cast<std::size_t>(configuration * samples_.count() + sample)];
  }
  std::span<const double> part(std::span<const double> outputs, Index sample) const;
  RankingCounts count(Index configuration) const;

  const SamplesView& samples_;
  Index configurations_;
  Index output_size_ = 0;
  std::vector<double> reference_;
  std::vector<bool> right_;  ///< f, per sample
  std::vector<Comparison> comparisons_;
};

}  // namespace quantbound::observe::detail
