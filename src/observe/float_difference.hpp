/// The difference of two networks and its gradients at many points in float: the points are cut into batches of a size
/// that the graph alone decides, the batches are shared over the caller's OpenMP threads, one pair of engines per
/// thread. Bits do not depend on the number of threads. What is found here is to be evaluated in double.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "quantbound/network/float_gradient.hpp"
#include "quantbound/observe/attack.hpp"

#include "attack_climb.hpp"

namespace quantbound::observe::detail {

class FloatDifference {
 public:
  FloatDifference(const Graph& graph, std::span<const LayerParameters> f, std::span<const LayerParameters> fq);

  Index inputs() const { return inputs_; }
  Index outputs() const { return outputs_; }

  /// f_q - f: points x outputs.
  std::vector<double> values(std::span<const double> points);

  /// At the points of the climbs.
  Slopes slopes(std::span<const double> points, std::span<const Climb> climbs);

 private:
  struct Engines {
    network::FloatGradient f, fq;
    std::vector<float> samples, weights;
  };

  template <class Evaluate>
  void for_each_batch(Index points, const Evaluate& evaluate);
  Engines& engines_of_thread();
  void run(Engines& engines, std::span<const double> points, Index first, Index count, double* difference);

  const Graph& graph_;
  Index inputs_, outputs_, batch_;
  std::vector<std::unique_ptr<Engines>> engines_;  ///< of every thread, made when it first works
  std::shared_ptr<const network::FloatWeights> f_, fq_;
};

}  // namespace quantbound::observe::detail
