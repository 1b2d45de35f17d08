#include "../../../src/reconstruct/fisher.hpp"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "quantbound/core/random.hpp"
#include "quantbound/network/families.hpp"
#include "quantbound/network/forward.hpp"
#include "quantbound/network/segments.hpp"

namespace quantbound::reconstruct::detail {
namespace {

template <class Values>
double log_probability(const Values& values, std::size_t y) {
  double total = 0.0;
  for (const auto value : values) total += std::exp(static_cast<double>(value));
  return static_cast<double>(values[y]) - std::log(total);
}

TEST(LabelGradient, IsThatOfTheNegativeLogProbability) {
  const std::vector<float> values{0.5F, -1.0F, 2.0F, 0.25F};
  const auto p = [&](std::size_t y) { return std::exp(log_probability(values, y)); };
  // In the middle of the interval that draws class 2.
  const auto gradient = label_gradient(values, p(0) + p(1) + 0.5 * p(2));
  for (std::size_t i = 0; i < values.size(); ++i) {
    auto up = values, down = values;
    up[i] += 0.01F;
    down[i] -= 0.01F;
    const double slope = -(log_probability(up, 2) - log_probability(down, 2)) /
                         (static_cast<double>(up[i]) - static_cast<double>(down[i]));
    EXPECT_NEAR(static_cast<double>(gradient[i]), slope, 1e-4) << i;
  }
}

/// Over many draws the mean square is the diagonal of the Fisher information: p (1 - p) at the outputs of a softmax.
TEST(LabelGradient, MeanSquareIsTheFisherDiagonal) {
  const std::vector<float> values{0.5F, -1.0F, 2.0F, 0.25F};
  const core::RandomStream stream(1, "fisher test");
  std::vector<double> mean(values.size());
  const int draws = 20000;
  for (int d = 0; d < draws; ++d) {
    const auto gradient = label_gradient(values, stream.uniform(static_cast<std::uint64_t>(d)));
    for (std::size_t i = 0; i < values.size(); ++i) mean[i] += std::pow(static_cast<double>(gradient[i]), 2) / draws;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double p = std::exp(log_probability(values, i));
    EXPECT_NEAR(mean[i], p * (1.0 - p), 0.01) << i;
  }
}

TEST(LabelGradient, OneOutputIsTheMeanOfANormalDistribution) {
  EXPECT_EQ(label_gradient(std::vector<float>{3.0F}, 0.5), std::vector<float>{1.0F});
}

/// Against finite differences of -log p(y) through the layers behind the module.
TEST(FisherWeights, AreSquaredGradientsThroughTheRest) {
  const auto network = network::make_network({.depth = 4, .width = 9, .inputs = 6, .outputs = 4});
  const auto modules = find_modules(network.graph, ModuleKind::layer);
  const Module& module = modules[1];
  const auto rest = network::between(network.graph, module.output, network.graph.output);
  const Index samples = 11;
  const core::RandomStream stream(2, "fisher test");
  std::vector<float> values(static_cast<std::size_t>(samples) * 9);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(std::fabs(stream.normal(i))) + 0.1F;
  const auto weights = fisher_weights(network.graph, network.layers, module, values, samples, 77);
  const std::vector<network::LayerParameters> behind(network.layers.begin() + 2, network.layers.end());
  const auto outputs = [&](const std::vector<double>& x) { return network::forward(rest, behind, x, 1); };
  const core::RandomStream labels(77, "labels drawn from the network");
  for (const Index s : {Index{0}, Index{10}}) {
    const std::vector<double> x(values.begin() + s * 9, values.begin() + (s + 1) * 9);
    const auto f = outputs(x);
    const auto own =
        label_gradient(std::vector<float>(f.begin(), f.end()), labels.uniform(static_cast<std::uint64_t>(s)));
    const auto drawn = static_cast<std::size_t>(std::ranges::min_element(own) - own.begin());
    for (std::size_t i = 0; i < 9; ++i) {
      auto up = x, down = x;
      up[i] += 1e-6;
      down[i] -= 1e-6;
      const double slope = (log_probability(outputs(up), drawn) - log_probability(outputs(down), drawn)) / 2e-6;
      const double expected = std::pow(std::fabs(slope) + 1.0, 2);
      EXPECT_NEAR(static_cast<double>(weights[static_cast<std::size_t>(s) * 9 + i]), expected, 2e-3 * expected);
    }
  }
}

TEST(FisherWeights, AtTheOutputNeedNoNetwork) {
  const auto network = network::make_network({.depth = 2, .width = 9, .inputs = 6, .outputs = 4});
  const auto modules = find_modules(network.graph, ModuleKind::layer);
  const std::vector<float> values{1, 2, 3, 4, 0, 0, 0, 0};
  const auto weights = fisher_weights(network.graph, network.layers, modules[1], values, 2, 3);
  const core::RandomStream labels(3, "labels drawn from the network");
  const auto gradient = label_gradient(std::span(values).first(4), labels.uniform(0));
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_FLOAT_EQ(weights[i], std::pow(std::fabs(gradient[i]) + 1.0F, 2.0F));
  }
}

}  // namespace
}  // namespace quantbound::reconstruct::detail
