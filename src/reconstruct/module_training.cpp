#include "module_training.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/reconstruct/layer_rounding.hpp"
#include "quantbound/reconstruct/module_objective.hpp"

#include "batches.hpp"

namespace quantbound::reconstruct::detail {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

class BatchTraining final : public ModuleTraining {
 public:
  BatchTraining(const ModuleProblem& problem, std::span<const float> fisher, const TrainingOptions& options);

  Index iteration() const override;
  void advance() override;
  double loss() const override { return loss_; }
  std::vector<std::vector<double>> rounded() const override;
  double fraction_settled() const override;
  core::Bytes state() const override;
  void restore(std::span<const std::byte> state) override;

 private:
  /// Of the batch at hand, with its gradient.
  double evaluate();

  const ModuleProblem& problem_;
  std::span<const float> fisher_;
  TrainingOptions options_;
  Batches batches_;
  std::vector<SoftRounding> layers_;
  std::vector<std::vector<float>> biases_;
  ModuleObjective objective_;
  double loss_ = 0.0;
  std::vector<float> mixed_, targets_, weights_;  ///< batches of qdrop, whose inputs are made anew every time
};

BatchTraining::BatchTraining(const ModuleProblem& problem, std::span<const float> fisher,
                             const TrainingOptions& options)
    : problem_(problem),
      fisher_(fisher),
      options_(options),
      batches_(options.seed, problem.module.layers.front(), problem.samples, options.batch),
      objective_(problem.graph, options.batch) {
  for (std::size_t i = 0; i < problem.original.size(); ++i) {
    const LayerParameters& layer = problem.original[i];
    layers_.emplace_back(layer.weights, problem.grids[i].weights, options.rounding);
    biases_.emplace_back(layer.bias.begin(), layer.bias.end());
  }
  if (!options.drop) return;
  const auto batch_of = [&](std::span<const float> all) {
    return at(options.batch) * (all.size() / at(problem.samples));
  };
  mixed_.resize(batch_of(problem.quantized_input));
  targets_.resize(batch_of(problem.target));
  weights_.resize(batch_of(fisher));
}

Index BatchTraining::iteration() const { return layers_.front().iteration(); }

double BatchTraining::evaluate() {
  std::vector<FloatLayer> layers;
  for (std::size_t i = 0; i < layers_.size(); ++i) layers.push_back({layers_[i].weights(), biases_[i]});
  const auto rows = batches_.of(iteration());
  if (!options_.drop) {
    return objective_.evaluate(layers, {problem_.quantized_input, problem_.target, fisher_, rows});
  }
  const Mixing mixing{options_.seed, problem_.module.layers.front(), *options_.drop};
  gather_mixed(problem_.original_input, problem_.quantized_input, rows, mixing, iteration(), mixed_);
  gather(problem_.target, rows, targets_);
  gather(fisher_, rows, weights_);
  return objective_.evaluate(layers, {mixed_, targets_, weights_, {}});
}

void BatchTraining::advance() {
  loss_ = evaluate();
  if (!std::isfinite(loss_)) {
    throw core::NumericalError(
        fmt::format("the loss of iteration {} is not finite; lower the learning rate or scale the network",
                    iteration()),
        problem_.module.name);
  }
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    layers_[i].update(objective_.weight_gradient(static_cast<Index>(i)));
  }
}

std::vector<std::vector<double>> BatchTraining::rounded() const {
  std::vector<std::vector<double>> result;
  for (const SoftRounding& layer : layers_) result.push_back(layer.rounded());
  return result;
}

double BatchTraining::fraction_settled() const {
  Index settled = 0, all = 0;
  for (const SoftRounding& layer : layers_) {
    settled += layer.settled_weights();
    all += layer.free_weights();
  }
  return all == 0 ? 1.0 : static_cast<double>(settled) / static_cast<double>(all);
}

core::Bytes BatchTraining::state() const {
  core::ByteWriter out;
  for (const SoftRounding& layer : layers_) out.values(layer.state());
  return out.take();
}

void BatchTraining::restore(std::span<const std::byte> state) {
  core::ByteReader in(state);
  for (SoftRounding& layer : layers_) layer.restore(in.values<std::byte>());
  if (!in.at_end()) throw core::Error("a stored state of a training belongs to another module", problem_.module.name);
}

class MomentTraining final : public ModuleTraining {
 public:
  MomentTraining(const ModuleProblem& problem, const TrainingOptions& options)
      : layer_(problem.original.front().weights, moments_of(problem), problem.grids.front().weights, options.rounding) {
  }

  Index iteration() const override { return layer_.rounding().iteration(); }
  void advance() override { layer_.iterate(); }
  double loss() const override { return layer_.loss(); }
  std::vector<std::vector<double>> rounded() const override { return {layer_.finish().weights}; }
  double fraction_settled() const override { return layer_.rounding().fraction_settled(); }
  core::Bytes state() const override { return layer_.rounding().state(); }
  void restore(std::span<const std::byte> state) override { layer_.restore(state); }

 private:
  LayerRounding layer_;
};

}  // namespace

bool is_quadratic(const ModuleProblem& problem) {
  return problem.original.size() == 1 && problem.graph.nodes.size() == 2;
}

std::unique_ptr<ModuleTraining> train_on_batches(const ModuleProblem& problem, std::span<const float> fisher,
                                                 const TrainingOptions& options) {
  return std::make_unique<BatchTraining>(problem, fisher, options);
}

std::unique_ptr<ModuleTraining> train_on_moments(const ModuleProblem& problem, const TrainingOptions& options) {
  QUANTBOUND_ASSERT(is_quadratic(problem) && !options.drop, problem.module.name);
  return std::make_unique<MomentTraining>(problem, options);
}

Gram moments_of(const ModuleProblem& problem) {
  QUANTBOUND_ASSERT(problem.original.size() == 1, problem.module.name);
  const NodeId layer = problem.graph.weight_layers().front();
  GramAccumulator moments(problem.graph.nodes[at(layer)].op, problem.original.front(), problem.original.front().bias);
  moments.add(problem.original_input, problem.quantized_input);
  return moments.finish();
}

}  // namespace quantbound::reconstruct::detail
