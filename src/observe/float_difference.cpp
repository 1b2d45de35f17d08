#include "float_difference.hpp"

#include <algorithm>
#include <exception>

#include <omp.h>

#include "quantbound/core/assert.hpp"

namespace quantbound::observe::detail {

namespace {

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

/// So many points that the values of one batch stay in cache, at most 16: more samples help dense layers alone.
Index batch_of(const Graph& graph) {
  constexpr Index cached_values = Index{1} << 20, most = 16;
  Index values = 1;
  for (const network::Node& node : graph.nodes) values += tensor::elements(node.shape);
  return std::clamp<Index>(cached_values / values, 1, most);
}

}  // namespace

FloatDifference::FloatDifference(const Graph& graph, std::span<const LayerParameters> f,
                                 std::span<const LayerParameters> fq)
    : graph_(graph),
      inputs_(tensor::elements(graph.input_shape())),
      outputs_(tensor::elements(graph.output_shape())),
      batch_(batch_of(graph)),
      engines_(index(omp_get_max_threads())) {
  const network::FloatGradient kind(graph, batch_);
  f_ = kind.make_weights(f);
  fq_ = kind.make_weights(fq);
}

FloatDifference::Engines& FloatDifference::engines_of_thread() {
  auto& engines = engines_.at(index(omp_get_thread_num()));
  if (!engines) {
    engines = std::make_unique<Engines>(
        Engines{network::FloatGradient(graph_, batch_), network::FloatGradient(graph_, batch_),
                std::vector<float>(index(batch_ * inputs_)), std::vector<float>(index(batch_ * outputs_))});
    engines->f.use(f_);
    engines->fq.use(fq_);
  }
  return *engines;
}

template <class Evaluate>
void FloatDifference::for_each_batch(Index points, const Evaluate& evaluate) {
  std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic)
  for (Index first = 0; first < points; first += batch_) {
    try {
      evaluate(engines_of_thread(), first, std::min(batch_, points - first));
    } catch (...) {  // no exception may leave the loop of a thread
#pragma omp critical(quantbound_float_difference_failure)
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

/// f_q - f at points first, ..., first + count - 1; the rest of the batch is filled with the last of them.
void FloatDifference::run(Engines& engines, std::span<const double> points, Index first, Index count,
                          double* difference) {
  for (Index s = 0; s < batch_; ++s) {
    const double* point = points.data() + (first + std::min(s, count - 1)) * inputs_;
    std::transform(point, point + inputs_, engines.samples.data() + s * inputs_,
                   [](double x) { return static_cast<float>(x); });
  }
  const auto f = engines.f.run(engines.samples), fq = engines.fq.run(engines.samples);
  for (std::size_t i = 0; i < index(count * outputs_); ++i)
    difference[i] = static_cast<double>(fq[i]) - static_cast<double>(f[i]);
}

std::vector<double> FloatDifference::values(std::span<const double> points) {
  const Index count = std::ssize(points) / inputs_;
  std::vector<double> result(index(count * outputs_));
  for_each_batch(count, [&](Engines& engines, Index first, Index at_once) {
    run(engines, points, first, at_once, result.data() + first * outputs_);
  });
  return result;
}

Slopes FloatDifference::slopes(std::span<const double> points, std::span<const Climb> climbs) {
  const Index count = std::ssize(climbs);
  QUANTBOUND_ASSERT(std::ssize(points) == count * inputs_, points.size(), count);
  Slopes all{std::vector<double>(index(count * outputs_)), std::vector<double>(points.size())};
  for_each_batch(count, [&](Engines& engines, Index first, Index at_once) {
    run(engines, points, first, at_once, all.values.data() + first * outputs_);
    std::fill(engines.weights.begin(), engines.weights.end(), 0.0F);
    for (Index s = 0; s < at_once; ++s)
      engines.weights[index(s * outputs_ + climbs[index(first + s)].target.output)] = 1.0F;
    const auto f = engines.f.pull_back(engines.weights), fq = engines.fq.pull_back(engines.weights);
    for (Index i = 0; i < at_once * inputs_; ++i)
      all.gradients[index(first * inputs_ + i)] = static_cast<double>(fq[index(i)]) - static_cast<double>(f[index(i)]);
  });
  return all;
}

}  // namespace quantbound::observe::detail
