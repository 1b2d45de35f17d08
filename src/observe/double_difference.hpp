/// The difference of two networks and its gradients at batches of points, in double: what a search reports is evaluated
/// here.
#pragma once

#include <span>
#include <vector>

#include "quantbound/observe/attack.hpp"

#include "attack_climb.hpp"

namespace quantbound::observe::detail {

/// Of one forward pass, at least 1.
Index count_multiply_adds(const Graph& graph);

/// A few points at a time where their values take much memory. Bits do not depend on the number of threads.
class Difference {
 public:
  Difference(const Graph& graph, std::span<const LayerParameters> f, std::span<const LayerParameters> fq);

  /// Of one network at one point.
  Index multiply_adds() const { return multiply_adds_; }
  Index inputs() const { return inputs_; }
  Index outputs() const { return outputs_; }

  /// f_q - f: points x outputs.
  std::vector<double> values(std::span<const double> points) const;

  /// The gradients are those of sum_i weights_i (f_q - f)_i.
  Slopes slopes(std::span<const double> points, std::span<const double> weights) const;

 private:
  template <class Evaluate>
  void for_each_part(Index count, const Evaluate& evaluate) const;

  const Graph& graph_;
  std::span<const LayerParameters> f_, fq_;
  Index inputs_, outputs_, multiply_adds_, at_once_ = 1;
};

}  // namespace quantbound::observe::detail
