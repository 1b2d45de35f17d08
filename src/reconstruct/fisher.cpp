#include "fisher.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "quantbound/core/assert.hpp"
#include "quantbound/core/random.hpp"
#include "quantbound/network/float_gradient.hpp"
#include "quantbound/network/segments.hpp"

#include "parallel_for.hpp"

namespace quantbound::reconstruct::detail {

namespace {

/// Gradient engines keep every value of a batch, so it is small.
constexpr Index gradient_batch = 8;

float weight_of(float gradient) { return (std::fabs(gradient) + 1.0F) * (std::fabs(gradient) + 1.0F); }

/// The gradients of the samples of one batch with respect to the Input of the graph behind the module.
class Rest {
 public:
  Rest(const Graph& rest, const core::RandomStream& stream) : stream_(stream), engine_(rest, gradient_batch) {
    outputs_ = static_cast<std::size_t>(tensor::elements(rest.output_shape()));
  }
  network::FloatGradient& engine() { return engine_; }

  std::span<const float> gradients(std::span<const float> values, Index first) {
    const auto outputs = engine_.run(values);
    std::vector<float> seeds;
    for (std::size_t s = 0; s < static_cast<std::size_t>(gradient_batch); ++s) {
      const auto one = label_gradient(outputs.subspan(s * outputs_, outputs_),
                                      stream_.uniform(static_cast<std::uint64_t>(first) + s));
      seeds.insert(seeds.end(), one.begin(), one.end());
    }
    return engine_.pull_back(seeds);
  }

 private:
  core::RandomStream stream_;
  network::FloatGradient engine_;
  std::size_t outputs_ = 0;
};

/// At the network's own output no engine is needed.
std::vector<float> at_the_output(std::span<const float> output, Index samples, const core::RandomStream& stream) {
  const std::size_t width = output.size() / static_cast<std::size_t>(samples);
  std::vector<float> weights;
  weights.reserve(output.size());
  for (std::size_t s = 0; s < static_cast<std::size_t>(samples); ++s) {
    for (const float g : label_gradient(output.subspan(s * width, width), stream.uniform(s))) {
      weights.push_back(weight_of(g));
    }
  }
  return weights;
}

std::vector<network::LayerParameters> layers_behind(const Module& module,
                                                    std::span<const network::LayerParameters> layers) {
  const auto behind = layers.subspan(static_cast<std::size_t>(module.layers.back()) + 1);
  return {behind.begin(), behind.end()};
}

}  // namespace

std::vector<float> label_gradient(std::span<const float> values, double uniform) {
  if (values.size() == 1) return {1.0F};
  const double most = static_cast<double>(std::ranges::max(values));
  std::vector<double> p;
  double total = 0.0;
  for (const float value : values) total += p.emplace_back(std::exp(static_cast<double>(value) - most));
  std::vector<float> gradient;
  double below = 0.0;
  std::size_t drawn = p.size();
  for (std::size_t i = 0; i < p.size(); ++i) {
    p[i] /= total;
    below += p[i];
    if (drawn == p.size() && uniform < below) drawn = i;
    gradient.push_back(static_cast<float>(p[i]));
  }
  gradient[std::min(drawn, p.size() - 1)] -= 1.0F;
  return gradient;
}

std::vector<float> fisher_weights(const Graph& graph, std::span<const network::LayerParameters> layers,
                                  const Module& module, std::span<const float> output, Index samples,
                                  std::uint64_t seed) {
  // The same label for every module: it belongs to the sample.
  const core::RandomStream stream(seed, "labels drawn from the network");
  if (module.output == graph.output) return at_the_output(output, samples, stream);
  const Graph rest = network::between(graph, module.output, graph.output);
  const auto behind = layers_behind(module, layers);
  QUANTBOUND_ASSERT(rest.weight_layers().size() == behind.size(), module.output, behind.size());
  std::vector<std::optional<Rest>> engines(static_cast<std::size_t>(omp_get_max_threads()));
  engines.front().emplace(rest, stream);
  const auto weights = engines.front()->engine().make_weights(behind);
  std::vector<float> result(output.size());
  const std::size_t width = output.size() / static_cast<std::size_t>(samples);
  parallel_for((samples + gradient_batch - 1) / gradient_batch, [&](Index batch, std::size_t thread) {
    auto& engine = engines[thread];
    if (!engine) engine.emplace(rest, stream);
    engine->engine().use(weights);
    const Index first = batch * gradient_batch;
    const std::size_t size = static_cast<std::size_t>(std::min(gradient_batch, samples - first)) * width;
    std::vector<float> values(static_cast<std::size_t>(gradient_batch) * width, 0.0F);
    std::ranges::copy(output.subspan(static_cast<std::size_t>(first) * width, size), values.begin());
    std::ranges::transform(engine->gradients(values, first).first(size),
                           result.begin() + first * static_cast<Index>(width), weight_of);
  });
  return result;
}

}  // namespace quantbound::reconstruct::detail
