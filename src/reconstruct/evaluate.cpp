#include "evaluate.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/error.hpp"
#include "quantbound/network/float_forward.hpp"

#include "parallel_for.hpp"

namespace quantbound::reconstruct::detail {

namespace {

/// Bits must not depend on how a compiler vectorises, so the order of this sum is written down: eight lanes, then
/// their sum from the first to the last. `term` gives the summand of an element.
template <class Term>
double lane_sum(std::size_t count, const Term& term) {
  constexpr std::size_t lanes = 8;
  std::array<double, lanes> sums{};
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    for (std::size_t lane = 0; lane < lanes; ++lane) sums[lane] += term(i + lane);
  }
  for (; i < count; ++i) sums[i % lanes] += term(i);
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace

std::vector<float> evaluate(const Graph& graph, std::span<const LayerParameters> layers, std::span<const float> inputs,
                            Index count) {
  const auto in = static_cast<std::size_t>(tensor::elements(graph.input_shape()));
  const auto out = static_cast<std::size_t>(tensor::elements(graph.output_shape()));
  QUANTBOUND_ASSERT(inputs.size() == static_cast<std::size_t>(count) * in, inputs.size(), count, in);
  std::vector<std::optional<network::FloatForward>> engines(static_cast<std::size_t>(omp_get_max_threads()));
  engines.front().emplace(graph, evaluation_batch);
  const auto weights = engines.front()->make_weights(layers);
  std::vector<float> result(static_cast<std::size_t>(count) * out);
  parallel_for((count + evaluation_batch - 1) / evaluation_batch, [&](Index batch, std::size_t thread) {
    auto& engine = engines[thread];
    if (!engine) engine.emplace(graph, evaluation_batch);
    engine->use(weights);
    const auto first = static_cast<std::size_t>(batch * evaluation_batch);
    const auto size = std::min(static_cast<std::size_t>(evaluation_batch), static_cast<std::size_t>(count) - first);
    auto samples = inputs.subspan(first * in, size * in);
    std::vector<float> filled;
    if (size < static_cast<std::size_t>(evaluation_batch)) {
      filled.assign(static_cast<std::size_t>(evaluation_batch) * in, 0.0F);
      std::ranges::copy(samples, filled.begin());
      samples = filled;
    }
    std::ranges::copy(engine->run(samples).first(size * out), result.begin() + static_cast<Index>(first * out));
  });
  return result;
}

Index positions(const tensor::Shape& shape) { return shape.size() == 3 ? tensor::elements(shape) / shape.front() : 1; }

double mean_loss(const tensor::Shape& shape, std::span<const float> a, std::span<const float> b,
                 std::span<const float> weights, Index count, const std::string& where) {
  QUANTBOUND_ASSERT(a.size() == b.size() && count > 0, a.size(), b.size(), count);
  QUANTBOUND_ASSERT(weights.empty() || weights.size() == a.size(), weights.size(), a.size());
  const std::size_t size = a.size() / static_cast<std::size_t>(count);
  std::vector<double> distances(static_cast<std::size_t>(count));
#pragma omp parallel for schedule(static)
  for (Index s = 0; s < count; ++s) {
    const std::size_t first = static_cast<std::size_t>(s) * size;
    const auto squared = [&](std::size_t i) {
      const double difference = static_cast<double>(a[first + i]) - static_cast<double>(b[first + i]);
      return difference * difference;
    };
    distances[static_cast<std::size_t>(s)] =
        weights.empty()
            ? lane_sum(size, squared)
            : lane_sum(size, [&](std::size_t i) { return static_cast<double>(weights[first + i]) * squared(i); });
  }
  double total = 0.0;
  for (const double distance : distances) total += distance;
  const double loss = total / static_cast<double>(count * positions(shape));
  if (!std::isfinite(loss)) throw core::NumericalError("a reconstruction loss is not finite; scale the network", where);
  return loss;
}

}  // namespace quantbound::reconstruct::detail
