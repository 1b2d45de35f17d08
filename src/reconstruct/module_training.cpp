#include "module_training.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/network/float_gradient.hpp"

#include "evaluate.hpp"
#include "parallel_for.hpp"

namespace quantbound::reconstruct::detail {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// Where the rows of a matrix lie; nothing for an empty matrix.
std::vector<const float*> rows_of(std::span<const float> matrix, std::span<const Index> rows, Index samples) {
  std::vector<const float*> result;
  if (matrix.empty()) return result;
  const std::size_t width = matrix.size() / at(samples);
  for (const Index row : rows) result.push_back(matrix.data() + at(row) * width);
  return result;
}

/// Samples that one engine takes: so many threads can share a batch, and values stay in the cache.
constexpr Index largest_part = 8;

Index part_of(Index batch) {
  Index part = std::min(batch, largest_part);
  while (batch % part != 0) --part;
  return part;
}

}  // namespace

class ModuleTraining::Objective {
 public:
  Objective(const Graph& graph, Index batch) : part_(part_of(batch)), layers_(graph.weight_layers().size()) {
    for (Index i = 0; i < batch / part_; ++i) engines_.emplace_back(graph, part_, network::Derivatives::weights);
    weights_ = engines_.front().make_weights();
    for (auto& engine : engines_) engine.use(weights_);
    area_ = positions(graph.output_shape());
    gradients_.resize(layers_);
  }

  void set(Index layer, std::span<const float> weights, std::span<const float> bias) {
    weights_->set(layer, weights, bias);
  }

  double evaluate(const network::FitSamples& samples) {
    const Index parts = std::ssize(engines_);
    const double factor = 1.0 / static_cast<double>(part_ * parts * area_);
    std::vector<double> losses(engines_.size());
    parallel_for(parts, [&](Index part, std::size_t) {
      const auto cut = [&](std::span<const float* const> all) {
        return all.empty() ? all : all.subspan(at(part * part_), at(part_));
      };
      losses[at(part)] =
          engines_[at(part)].fit({cut(samples.inputs), cut(samples.targets), cut(samples.weights)}, factor);
    });
    for (Index layer = 0; layer < static_cast<Index>(layers_); ++layer) sum_gradients(layer);
    double total = 0.0;
    for (const double loss : losses) total += loss;
    return total * factor;
  }

  std::span<const float> gradient(Index layer) const { return gradients_[at(layer)]; }

 private:
  void sum_gradients(Index layer) {
    const auto first = engines_.front().weight_gradient(layer);
    auto& sum = gradients_[at(layer)];
    sum.assign(first.begin(), first.end());
    for (std::size_t part = 1; part < engines_.size(); ++part) {
      const auto more = engines_[part].weight_gradient(layer);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += more[i];
    }
  }

  Index part_, area_ = 1;
  std::size_t layers_;
  std::vector<network::FloatGradient> engines_;
  std::shared_ptr<network::FloatWeights> weights_;
  std::vector<std::vector<float>> gradients_;
};

ModuleTraining::ModuleTraining(const ModuleProblem& problem, std::span<const float> fisher,
                               const TrainingOptions& options)
    : problem_(problem),
      fisher_(fisher),
      options_(options),
      batches_(options.seed, problem.module.layers.front(), problem.samples, options.batch),
      objective_(std::make_unique<Objective>(problem.graph, options.batch)) {
  for (std::size_t i = 0; i < problem.original.size(); ++i) {
    layers_.emplace_back(problem.original[i].weights, problem.grids[i].weights, options.rounding);
  }
  if (options.drop) mixed_.resize(at(options.batch) * (problem.quantized_input.size() / at(problem.samples)));
}

ModuleTraining::~ModuleTraining() = default;

Index ModuleTraining::iteration() const { return layers_.front().iteration(); }

double ModuleTraining::advance() {
  const auto rows = batches_.of(iteration());
  std::vector<const float*> inputs = rows_of(problem_.quantized_input, rows, problem_.samples);
  if (options_.drop) {
    const Mixing mixing{options_.seed, problem_.module.layers.front(), *options_.drop};
    gather_mixed(problem_.original_input, problem_.quantized_input, rows, mixing, iteration(), mixed_);
    const std::size_t width = mixed_.size() / rows.size();
    for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] = mixed_.data() + i * width;
  }
  const auto targets = rows_of(problem_.target, rows, problem_.samples);
  const auto weights = rows_of(fisher_, rows, problem_.samples);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const auto& bias = problem_.original[i].bias;
    objective_->set(static_cast<Index>(i), layers_[i].weights(), std::vector<float>(bias.begin(), bias.end()));
  }
  const double loss = objective_->evaluate({inputs, targets, weights});
  if (!std::isfinite(loss)) {
    throw core::NumericalError(fmt::format("the loss of iteration {} is not finite; lower the learning rate or scale "
                                           "the network",
                                           iteration()),
                               problem_.module.name);
  }
  for (std::size_t i = 0; i < layers_.size(); ++i) layers_[i].update(objective_->gradient(static_cast<Index>(i)));
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
