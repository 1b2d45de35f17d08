#include "module_training.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"

namespace quantbound::reconstruct::detail {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

}  // namespace

ModuleTraining::ModuleTraining(const ModuleProblem& problem, std::span<const float> fisher,
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

Index ModuleTraining::iteration() const { return layers_.front().iteration(); }

double ModuleTraining::evaluate() {
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

double ModuleTraining::advance() {
  const double loss = evaluate();
  if (!std::isfinite(loss)) {
    throw core::NumericalError(
        fmt::format("the loss of iteration {} is not finite; lower the learning rate or scale the network",
                    iteration()),
        problem_.module.name);
  }
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    layers_[i].update(objective_.weight_gradient(static_cast<Index>(i)));
  }
  return loss;
}

std::vector<std::vector<double>> ModuleTraining::rounded() const {
  std::vector<std::vector<double>> result;
  for (const SoftRounding& layer : layers_) result.push_back(layer.rounded());
  return result;
}

double ModuleTraining::fraction_settled() const {
  Index settled = 0, all = 0;
  for (const SoftRounding& layer : layers_) {
    settled += layer.settled_weights();
    all += layer.free_weights();
  }
  return all == 0 ? 1.0 : static_cast<double>(settled) / static_cast<double>(all);
}

core::Bytes ModuleTraining::state() const {
  core::ByteWriter out;
  for (const SoftRounding& layer : layers_) out.values(layer.state());
  return out.take();
}

void ModuleTraining::restore(std::span<const std::byte> state) {
  core::ByteReader in(state);
  for (SoftRounding& layer : layers_) layer.restore(in.values<std::byte>());
  if (!in.at_end()) throw core::Error("a stored state of a training belongs to another module", problem_.module.name);
}

}  // namespace quantbound::reconstruct::detail
